import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { historySchemaVersion } from "./history-schema.ts";
import { at, energy, firstQuarter, type HistoryBench, historyBench } from "./test-history.ts";

let bench: HistoryBench;
beforeEach(() => {
  bench = historyBench();
});
afterEach(() => bench.close());

const until = (what: () => void) => vi.waitFor(what, { timeout: 10_000, interval: 50 });

/** Files as released programs left them on gateways: a new schema version needs one more here, made by the program before it. */
describe.each(Array.from({ length: historySchemaVersion }, (_, i) => i + 1))(
  "a history of schema version %i",
  (version) => {
    test("is gone on with: what it holds, and the quarter hour that ran", async () => {
      const fixture = join(import.meta.dirname, `fixtures/history-v${version}.db`);
      expect(existsSync(fixture)).toBe(true);
      copyFileSync(fixture, bench.path);
      const before = new DatabaseSync(bench.path);
      expect(before.prepare("PRAGMA user_version").get()).toEqual({ user_version: version });
      before.close();
      const one = bench.start();
      bench.put(one, at(1, 899_500), { energy: 10.4, power: 1, state: 4 });
      bench.time.nowMs = at(2);
      await bench.stop(one);
      const { rows, tags } = bench.read();
      const of = (name: string) => rows.filter(({ tag }) => tags.get(tag)?.name === name);
      expect(of("energy")).toMatchObject([
        { register: 10.1, goodMs: 10_000 },
        { register: 10.4, count: 2, goodMs: 170_000 + 9000 + 500 },
      ]);
      expect(of("power")).toMatchObject([{ low: 0.5 }, { low: 0.25, high: 1, count: 2, sum: 1.25 }]);
      expect(of("state")[1]?.codes).toEqual(
        new Map([
          ["3", 170_000],
          ["4", 9500],
        ]),
      );
      const after = new DatabaseSync(bench.path);
      expect(after.prepare("PRAGMA user_version").get()).toEqual({ user_version: historySchemaVersion });
      after.close();
    });
  },
);

const here = (file: string) => JSON.stringify(join(import.meta.dirname, file));
const has = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;

/** A process with a history whose clock stands still until it is set; it checkpoints twenty times a second. */
const program = (body: string) => `
  import { startHistory } from ${here("history.ts")};
  import { execFileSync } from "node:child_process";
  import { setTimeout as delay } from "node:timers/promises";
  const time = { nowMs: ${at(0)} };
  const codes = [];
  const log = Object.fromEntries(["info", "warn", "error"].map((level) => [level, (line) => codes.push(line.code)]));
  const history = startHistory({ path: ${JSON.stringify(bench.path)}, keepDays: 400, maxBytes: 1e9, group: "factory-1",
    node: "gateway-1", clock: { now: () => time.nowMs, rate: 1 }, log, tickMs: 5, retryMs: 20, checkpointMs: 50 });
  const events = history.beside({ onSamples() {}, onConnection() {}, onDefinitions() {} });
  events.onDefinitions("meter", [${JSON.stringify(energy)}]);
  const put = (atMs, value) => {
    time.nowMs = atMs;
    events.onSamples("meter", [{ metric: "energy", value, status: 0, sourceTimeMs: atMs, gatewayTimeMs: atMs }]);
  };
  const settled = async (is) => { while (!is(history.stats())) await delay(5); };
  ${body}`;

test("a killed process leaves what its last checkpoint wrote, and what it read since is all that is lost", async () => {
  const body = `
    put(${at(0, 1000)}, 1);
    put(${at(1, 1000)}, 2);
    time.nowMs = ${at(1, 31_000)};
    process.stdin.once("data", () => {
      put(${at(1, 40_000)}, 3);
      console.log("read");
      for (;;) {}
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program(body)], { cwd: import.meta.dirname });
  await until(() => expect(bench.read().rows[1]).toMatchObject({ count: 1, goodMs: 30_000 }));
  child.stdin.write("go on");
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(bench.read().rows).toMatchObject([
    { quarter: firstQuarter, register: 1 },
    { quarter: firstQuarter + 1, register: 2, count: 1, goodMs: 30_000 },
  ]);
  const one = bench.start();
  bench.put(one, at(1, 100_000), { energy: 4 });
  await bench.stop(one);
  expect(bench.read().rows[1]).toMatchObject({ register: 4, count: 2 });
});

test.skipIf(!has("prlimit", "--version"))(
  "a full medium disables it with a finding, and it goes on when there is room",
  async () => {
    const body = `
    const limit = (bytes) => execFileSync("prlimit", ["--pid", String(process.pid), "--fsize=" + bytes + ":unlimited"]);
    put(${at(0, 1000)}, 1);
    time.nowMs = ${at(1, 61_000)};
    await settled((stats) => stats.isWritable && stats.waitingRows === 0);
    limit(4096);
    put(${at(2, 1000)}, 2);
    put(${at(3, 1000)}, 3);
    time.nowMs = ${at(3, 61_000)};
    await settled((stats) => !stats.isWritable);
    const full = history.stats();
    limit("unlimited");
    await settled((stats) => stats.isWritable && stats.waitingRows === 0);
    await history.close();
    console.log(JSON.stringify({ full, codes, errors: history.stats().errors }));`;
    const args = ["--input-type=module", "-e", program(body)];
    const told = JSON.parse(
      execFileSync(process.execPath, args, { cwd: import.meta.dirname, encoding: "utf8", timeout: 20_000 }),
    );
    expect(told).toMatchObject({
      full: { waitingRows: 2, droppedRows: 0 },
      codes: ["HISTORY_FAILED", "HISTORY_RECOVERED"],
      errors: 0,
    });
    expect(bench.read().rows.map(({ quarter, register }) => [quarter - firstQuarter, register])).toEqual([
      [0, 1],
      [2, 2],
      [3, 3],
    ]);
  },
);

test.skipIf(!has("unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"))(
  "a medium that others have nearly filled is left to the outbox, and the history goes on when there is room",
  () => {
    const body = `
    const { rmSync, writeFileSync } = await import("node:fs");
    put(${at(0, 1000)}, 1);
    time.nowMs = ${at(1, 61_000)};
    await settled((stats) => stats.isWritable && stats.waitingRows === 0);
    writeFileSync(${JSON.stringify(bench.folder)} + "/other", Buffer.alloc(12e6));
    put(${at(2, 1000)}, 2);
    time.nowMs = ${at(3, 61_000)};
    await settled((stats) => !stats.isWritable);
    rmSync(${JSON.stringify(bench.folder)} + "/other");
    await settled((stats) => stats.isWritable && stats.waitingRows === 0);
    console.log(JSON.stringify(codes));
    await history.close();`;
    const mount = `mount -t tmpfs -o size=42m none ${bench.folder} && exec "$0" --input-type=module -e "$1"`;
    const args = ["-rm", "sh", "-c", mount, process.execPath, program(body)];
    const output = execFileSync("unshare", args, { cwd: import.meta.dirname, encoding: "utf8", timeout: 20_000 });
    expect(JSON.parse(output)).toEqual(["HISTORY_NO_ROOM", "HISTORY_RECOVERED"]);
  },
);
