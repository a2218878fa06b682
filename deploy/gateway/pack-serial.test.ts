import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test, vi } from "vitest";
import { testBundle } from "./test-box.ts";

/** The packed gateway on a serial port: a pseudo-terminal of socat, at whose other end this test is the meter. */
const available = spawnSync("socat", ["-V"]).status === 0;
const title = available ? "" : " (skipped: socat is not installed)";

/** Frames of unit 1 with their CRC, written out: what is asked for, and what the meter says. */
const answers: Readonly<Record<string, string>> = {
  "010300000001840a": "010302002a399b",
  "012b0e01007077": "01ab019ef0",
};

test.skipIf(!available)(
  `a packed gateway reads a meter on a serial port, without a native package${title}`,
  {
    timeout: 120_000,
  },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "jilian-packed-"));
    const { files } = await testBundle();
    for (const { path, content } of files) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    expect(files.filter(({ path }) => path.endsWith(".node"))).toEqual([]);
    const port = join(folder, "port");
    const config = join(folder, "gateway.yaml");
    writeFileSync(
      config,
      `group: f\nnode: g\nbroker: { host: 127.0.0.1, port: 9 }\noutbox: { path: outbox.sqlite }
lines: [{ id: bus, kind: serial, path: ${port} }]
devices:
  - { id: meter, driver: modbus-rtu, line: bus, unitId: 1, pollIntervalMs: 50, retryMinMs: 50, retryMaxMs: 100,
      tags: [{ name: a, table: holding, address: 0, type: uint16 }] }\n`,
    );
    const wire = spawn("socat", [`pty,raw,echo=0,link=${port}`, "-"], { stdio: ["pipe", "pipe", "ignore"] });
    const unplugged = once(wire, "close");
    wire.stdin.on("error", () => undefined);
    const asked: string[] = [];
    wire.stdout.on("data", (chunk: Buffer) => {
      asked.push(chunk.toString("hex"));
      wire.stdin.write(Buffer.from(answers[chunk.toString("hex")] ?? "", "hex"));
    });
    const gateway = spawn(process.execPath, [join(folder, "main.mjs"), "run", "--config", config], {
      cwd: folder,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(gateway, "close");
    let said = "";
    gateway.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
    });
    try {
      await vi.waitFor(() => expect(said).toContain('"device connected"'), { timeout: 20_000, interval: 50 });
      wire.kill("SIGKILL");
      await vi.waitFor(() => expect(said).toContain('"line lost"'), { timeout: 20_000, interval: 50 });
      gateway.kill("SIGTERM");
      expect((await ended)[0]).toBe(0);
      expect(new Set(asked)).toEqual(new Set(Object.keys(answers)));
    } finally {
      gateway.kill("SIGKILL");
      wire.kill("SIGKILL");
      await Promise.all([ended, unplugged]);
      rmSync(folder, { recursive: true });
    }
  },
);
