import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

/** Media that really fail: a small file system that fills, and a limit of the kernel on the size of a file. Each in a process of its own. */
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jilian-medium-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function has(command: string, ...args: string[]): boolean {
  return spawnSync(command, args).status === 0;
}

/** Runs a script beside an open outbox; `put(n)` writes n records of 900 bytes and gives how many were taken. */
function script(body: string): string {
  const here = (file: string) => JSON.stringify(join(import.meta.dirname, file));
  return `
    import { openOutbox } from ${here("outbox.ts")};
    import { systemClock } from ${here("../domain/clock.ts")};
    import { execFileSync } from "node:child_process";
    import { existsSync, rmSync, writeFileSync } from "node:fs";
    import { setTimeout as delay } from "node:timers/promises";
    import { pino } from "pino";
    const folder = ${JSON.stringify(folder)};
    const open = () => openOutbox({ path: folder + "/outbox.db", maxBytes: 1e9, fsyncMs: 20, group: "factory-1", node: "gateway-1",
      clock: systemClock, log: pino({ level: "silent" }) });
    const outbox = open();
    let time = 1;
    const put = async (n) => {
      let taken = 0;
      for (let i = 0; i < n; i += 1) {
        time += 1;
        if (outbox.write("press", [{ metricId: 1, value: "x".repeat(900), status: 0, sourceTimeMs: time, gatewayTimeMs: time }])) taken += 1;
        if (i % 100 === 0) await delay(1);
      }
      return taken;
    };
    const tell = (told) => console.log(JSON.stringify({ ...told, ...outbox.stats(), isWritable: outbox.isWritable() }));
    ${body}
    await outbox.close();`;
}

function told(output: string): Record<string, unknown>[] {
  return output
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

const mounts = has("unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt");

describe("a medium that really fails", () => {
  test.skipIf(!mounts)(
    "full, by the outbox itself and by others: the newest go on in the place of the oldest",
    () => {
      const file = script(`
      tell({ taken: await put(15000) });
      try { for (let i = 0; ; i += 1) writeFileSync(folder + "/other-" + i, Buffer.alloc(65536)); } catch {}
      tell({ taken: await put(2000) });
      const [first] = outbox.pending(0, 1);
      const freed = outbox.commit(first.record.epoch, [[0, 1e9]]);
      tell({ freed, hasReserve: existsSync(folder + "/outbox.db-reserve") });
      for (let i = 0; existsSync(folder + "/other-" + i); i += 1) rmSync(folder + "/other-" + i);
      while (!existsSync(folder + "/outbox.db-reserve")) await delay(100);
      tell({ taken: await put(1000) });`);
      const mount = `mount -t tmpfs -o size=12m none ${folder} && exec "$0" --input-type=module -e "$1"`;
      const args = ["-rm", "sh", "-c", mount, process.execPath, file];
      const [own, others, freed, free] = told(
        execFileSync("unshare", args, { cwd: import.meta.dirname, encoding: "utf8" }),
      );
      expect(own).toMatchObject({ taken: 15_000, isWritable: true });
      expect(Number(own?.pendingRecords) + Number(own?.droppedSamples)).toBe(15_000);
      expect(own?.pendingRecords).toBeGreaterThan(3000);
      expect(others).toMatchObject({ taken: 2000, isWritable: true, droppedByReason: { age: 0, unwritable: 0 } });
      expect(freed).toMatchObject({ freed: others?.pendingRecords, pendingRecords: 0, hasReserve: false });
      expect(free).toMatchObject({ taken: 1000, pendingRecords: 1000, droppedSamples: others?.droppedSamples });
    },
    60_000,
  );

  test.skipIf(!mounts)(
    "full by others when nothing is pending: new readings have room of the reserve, then the newest go on",
    () => {
      const file = script(`
      await put(20);
      outbox.commit(outbox.epoch, [[0, 1e9]]);
      for (let size = 65536; size >= 512; size /= 2)
        try { for (let i = 0; ; i += 1) writeFileSync(folder + "/other-" + size + "-" + i, Buffer.alloc(size)); } catch {}
      tell({ taken: await put(700) });
      tell({ taken: await put(5000) });`);
      const mount = `mount -t tmpfs -o size=12m none ${folder} && exec "$0" --input-type=module -e "$1"`;
      const args = ["-rm", "sh", "-c", mount, process.execPath, file];
      const [few, many] = told(execFileSync("unshare", args, { cwd: import.meta.dirname, encoding: "utf8" }));
      expect(few).toMatchObject({ taken: 700, pendingRecords: 700, droppedSamples: 0, isWritable: true });
      expect(many).toMatchObject({ taken: 5000, isWritable: true, droppedByReason: { age: 0, unwritable: 0 } });
      expect(many?.pendingRecords).toBeGreaterThan(700);
    },
    60_000,
  );

  test.skipIf(!has("prlimit", "--version"))(
    "with I/O errors: new readings are held, the backlog stays, and all of them are written when it takes something",
    () => {
      const file = script(`
      await put(50);
      const limit = (bytes) => execFileSync("prlimit", ["--pid", String(process.pid), "--fsize=" + bytes + ":unlimited"]);
      limit(4096);
      tell({ taken: await put(30), pending: outbox.pending(0, 1000).length });
      limit("unlimited");
      tell({ taken: await put(30), pending: outbox.pending(0, 1000).length });`);
      const args = ["--input-type=module", "-e", file];
      const [during, after] = told(
        execFileSync(process.execPath, args, { cwd: import.meta.dirname, encoding: "utf8" }),
      );
      expect(during).toMatchObject({
        taken: 0,
        pending: 50,
        isWritable: false,
        droppedSamples: 0,
      });
      expect(after).toMatchObject({ taken: 30, pending: 110, isWritable: true, droppedSamples: 0 });
    },
    30_000,
  );
});
