import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeSeries, readAll, sample } from "../telemetry-fixtures.ts";
import { openTelemetry } from "./telemetry.ts";

const log = pino({ level: "silent" });
const setting = { memoryLimitMb: 256, threads: 2 };
let folder: string;
let path: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jilian-owner-"));
  path = join(folder, "telemetry.duckdb");
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const open = () => openTelemetry({ path, ...setting, log });

/** Starts the writer of another process and yields the offsets that it has acknowledged. */
function startWriter() {
  const child = spawn(process.execPath, [join(import.meta.dirname, "testing", "writer.ts"), path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  return { child, lines: createInterface({ input: child.stdout }) };
}

describe("one owner", () => {
  it("a second opening in this process is refused", async () => {
    const first = await open();
    await expect(open()).rejects.toMatchObject({ code: "STORE_LOCKED", address: path });
    await first.close();
    await (await open()).close();
  });

  it("a second opening by another process is refused", async () => {
    const { child, lines } = startWriter();
    await once(lines, "line");
    await expect(open()).rejects.toMatchObject({ code: "STORE_LOCKED" });
    child.kill("SIGKILL");
    await once(child, "exit");
    await (await open()).close();
  });

  it("a file that is no database is refused and left alone", async () => {
    writeFileSync(path, "not a database, though long enough to look like one".repeat(400));
    await expect(open()).rejects.toMatchObject({ code: "STORE_UNREADABLE", address: path });
  });
});

describe("the store's thread", () => {
  it("serves other threads over a port", async () => {
    const store = await open();
    const [series] = (await makeSeries(store, ["a"])) as [number];
    const port = await store.port();
    const worker = new Worker(new URL("./testing/user.ts", import.meta.url), {
      workerData: { port, rows: [sample(series, 0, 2n ** 62n), sample(series, 1, "x")] },
      transferList: [port],
    });
    const [seen] = await once(worker, "message");
    expect(seen).toEqual(await readAll(store, series));
    expect(seen).toHaveLength(2);
    await store.close();
  });

  it("says so when it dies, and rejects everything", async () => {
    const store = await open();
    const other = await store.port();
    // No such call: a fault of this product, as any other that nothing catches.
    other.postMessage({ kind: "call", id: 1, method: "none", args: [] });
    const calls = await Promise.allSettled(Array.from({ length: 1000 }, () => store.changedMinutes(0, 1)));
    const codes = calls.filter((call) => call.status === "rejected").map((call) => call.reason.code);
    expect(new Set(codes)).toEqual(new Set(["STORE_FAILED"]));
    expect(await store.failed).toMatchObject({ code: "STORE_FAILED" });
    await expect(store.lastTx()).rejects.toMatchObject({ code: "STORE_FAILED" });
    await store.close();
    await (await open()).close();
  });

  it("refuses more calls than it lets wait", async () => {
    const store = await open();
    const calls = await Promise.allSettled(Array.from({ length: 1100 }, () => store.changedMinutes(0, 1)));
    const refused = calls.filter((call) => call.status === "rejected").map((call) => call.reason.code);
    expect(refused).toEqual(Array(1100 - 1024).fill("STORE_BUSY"));
    await store.close();
  });
});

describe("SIGKILL", () => {
  it("loses nothing acknowledged and leaves nothing half done, round after round", async () => {
    let acknowledged = -1;
    for (let round = 0; round < 4; round += 1) {
      const { child, lines } = startWriter();
      const goal = acknowledged + 20 + round * 12;
      lines.on("line", (line) => {
        acknowledged = Number(line);
        if (acknowledged >= goal) child.kill("SIGKILL");
      });
      await once(child, "close");
      await check(acknowledged);
    }
  });

  async function check(acknowledged: number): Promise<void> {
    const store = await open();
    const [committed] = await store.committed();
    const last = committed?.ranges[0]?.[1] as number;
    expect(committed?.ranges).toEqual([[0, last]]);
    expect(last).toBeGreaterThanOrEqual(acknowledged);
    expect(await store.lastTx()).toBe(last + 1);
    for (const { id } of await store.series()) {
      const offsets = (await readAll(store, id)).map((row) => row.value);
      expect(offsets).toEqual(Array.from({ length: last + 1 }, (_, offset) => BigInt(offset)));
    }
    expect((await store.latest()).map((row) => row.value)).toEqual(Array(7).fill(BigInt(last)));
    await store.close();
  }
});
