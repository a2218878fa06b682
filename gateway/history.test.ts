import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DataType } from "@jilian/domain/datatypes.ts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { historyTag } from "./history.ts";
import { openHistoryToRead } from "./history-file.ts";
import { historySchemaVersion } from "./history-schema.ts";
import { at, energy, firstQuarter, type HistoryBench, historyBench, power, state, written } from "./test-history.ts";

let bench: HistoryBench;
beforeEach(() => {
  bench = historyBench();
});
afterEach(() => bench.close());

const until = (what: () => void) => vi.waitFor(what, { timeout: 10_000, interval: 50 });

describe("a quarter hour", () => {
  test("is written once it has ended, a minute later, with all its tags; a reading within that minute is taken", async () => {
    const one = bench.start();
    bench.put(one, at(0, 1000), { energy: 10.5, power: 2, state: 1 });
    bench.put(one, at(0, 31_000), { energy: 10.75, power: 4, state: 2 });
    bench.time.nowMs = at(1, 59_000);
    // A tick that would write goes by: one that writes something else.
    await until(() => expect(one.history.stats().isWritable).toBe(true));
    one.events.onSamples("meter", [
      { metric: "energy", value: 11.25, status: 0, sourceTimeMs: at(0, 890_000), gatewayTimeMs: at(1, 59_000) },
    ]);
    expect(bench.read().rows).toEqual([]);
    bench.time.nowMs = at(1, 60_000);
    const rows = await written(bench, 3);
    expect(rows.map(({ quarter }) => quarter)).toEqual([firstQuarter, firstQuarter, firstQuarter]);
    const { tags } = bench.read();
    const of = (name: string) => rows.find(({ tag }) => tags.get(tag)?.name === name);
    // Three heartbeats after the last reading a value holds no longer.
    expect(of("energy")).toMatchObject({
      register: 11.25,
      registerMs: at(0, 890_000),
      count: 3,
      goodMs: 30_000 + 180_000 + 10_000,
    });
    expect(of("power")).toMatchObject({
      sum: 6,
      low: 2,
      high: 4,
      integral: 60_000 + 4 * 180_000,
      goodMs: 210_000,
      register: undefined,
    });
    expect(of("state")?.codes).toEqual(
      new Map([
        ["1", 30_000],
        ["2", 180_000],
      ]),
    );
    expect(one.history.stats()).toMatchObject({ waitingRows: 0, lateSamples: 0, errors: 0, droppedRows: 0 });
  });

  test("goes on after a stop in order, and after a kill from the last checkpoint", async () => {
    const first = bench.start();
    bench.put(first, at(0, 1000), { power: 1, energy: 990 });
    bench.time.nowMs = at(0, 61_000);
    await bench.stop(first);
    expect(bench.read().rows).toMatchObject([{ goodMs: 60_000, register: 990 }, { goodMs: 60_000 }]);
    const second = bench.start();
    bench.put(second, at(0, 100_000), { power: 3, energy: 5 });
    bench.time.nowMs = at(0, 160_000);
    await bench.stop(second);
    const { rows, tags } = bench.read();
    const [counter, gauge] = rows[0]?.register === undefined ? [rows[1], rows[0]] : rows;
    expect(tags.size).toBe(2);
    expect(counter).toMatchObject({ register: 5, wraps: 1, resets: 0, count: 2, goodMs: 120_000 });
    expect(gauge).toMatchObject({ sum: 4, integral: 60_000 + 180_000, count: 2, low: 1, high: 3 });
  });

  test("that the file holds already is not written over after the clock was set back: what came is counted and told of", async () => {
    const first = bench.start();
    bench.put(first, at(0, 600_000), { power: 1 });
    await bench.stop(first);
    const second = bench.start();
    bench.put(second, at(0, 300_000), { power: 9 });
    bench.put(second, at(-1, 300_000), { power: 9 });
    expect(second.history.stats().olderSamples).toBe(2);
    expect(bench.codes()).toEqual(["HISTORY_OLDER_ROWS"]);
    await bench.stop(second);
    expect(bench.read().rows).toMatchObject([{ quarter: firstQuarter, high: 1, count: 1 }]);
  });

  test("of a metric that is defined otherwise now is another row: the unit of what is kept does not change", async () => {
    const one = bench.start({}, [power]);
    bench.put(one, at(0, 1000), { power: 1 });
    bench.time.nowMs = at(0, 2000);
    one.events.onDefinitions("meter", [{ ...power, unit: "W" }]);
    bench.put(one, at(0, 3000), { power: 1000 });
    await bench.stop(one);
    const { rows, tags } = bench.read();
    expect(rows.map(({ tag, high }) => [tags.get(tag)?.unit, high])).toEqual([
      ["kW", 1],
      ["W", 1000],
    ]);
  });
});

test("a heartbeat that a reload makes longer holds from the next reading on", async () => {
  const run = bench.start({ checkpointMs: 1e9 });
  bench.put(run, at(0), { power: 10 });
  run.events.onDefinitions("meter", [energy, { ...power, heartbeatMs: 3_600_000 }, state]);
  bench.put(run, at(0, 1000), { power: 10 });
  bench.put(run, at(1, 5000), { power: 10 });
  await run.history.close();
  expect(bench.read().rows.find(({ quarter }) => quarter === firstQuarter)?.goodMs).toBe(900_000);
});

test("a definition that is changed and changed back within a quarter hour costs it nothing", async () => {
  const run = bench.start({ checkpointMs: 1e9 });
  for (let minute = 1; minute <= 10; minute += 1) bench.put(run, at(0, 60_000 * minute), { power: 10 });
  run.events.onDefinitions("meter", [energy, { ...power, unit: "W" }, state]);
  bench.put(run, at(0, 660_000), { power: 10_000 });
  run.events.onDefinitions("meter", [energy, power, state]);
  bench.put(run, at(0, 720_000), { power: 10 });
  await run.history.close();
  const { rows, tags } = bench.read();
  expect(rows.map(({ tag, count }) => [tags.get(tag)?.unit, count]).sort()).toEqual([
    ["W", 1],
    ["kW", 11],
  ]);
});

test("a text, a time and the gateway's own metrics have no history; a role says what a number is", () => {
  const of = (more: object) => historyTag("d", { ...power, ...more })?.kind;
  expect(of({})).toBe("gauge");
  expect(of({ datatype: DataType.Boolean })).toBe("state");
  expect(of({ role: "energy.import" })).toBe("counter");
  expect(of({ role: "power.active" })).toBe("gauge");
  expect(of({ datatype: DataType.String })).toBeUndefined();
  expect(of({ datatype: DataType.DateTime })).toBeUndefined();
});

test("nothing that goes wrong with it passes on, and a receiver that throws costs it nothing", async () => {
  const one = bench.start({}, [power], {
    onSamples: () => {
      throw new Error("disk full");
    },
    onConnection: () => undefined,
    onDefinitions: () => undefined,
  });
  expect(() => bench.put(one, at(0, 1000), { power: 1 })).toThrow("disk full");
  // Samples that are none.
  const broken = bench.start({ path: join(bench.folder, "other") }, [power]);
  expect(() => broken.events.onSamples("meter", [undefined as never])).not.toThrow();
  expect(broken.history.stats().errors).toBe(1);
  await bench.stop(one);
  expect(bench.read().rows).toMatchObject([{ count: 1 }]);
});

describe("a file that is not its own is refused and left as it is, and readings go on", () => {
  test.each([
    [
      "of a newer version",
      "HISTORY_NEWER",
      (db: DatabaseSync) => db.exec(`PRAGMA user_version = ${historySchemaVersion + 1}`),
    ],
    ["of another program", "HISTORY_FOREIGN_FILE", (db: DatabaseSync) => db.exec("PRAGMA application_id = 7")],
    [
      "of another gateway",
      "HISTORY_OTHER_NODE",
      (db: DatabaseSync) => db.exec("UPDATE meta SET value = 'gateway-2' WHERE key = 'node'"),
    ],
  ])("%s", async (_what, code, change) => {
    const first = bench.start();
    bench.put(first, at(0, 1000), { power: 1 });
    await bench.stop(first);
    const db = new DatabaseSync(bench.path);
    change(db);
    db.close();
    const before = readFileSync(bench.path);
    const second = bench.start();
    bench.put(second, at(0, 500_000), { power: 2 });
    expect(second.history.stats()).toMatchObject({ isWritable: false, errors: 0 });
    await bench.stop(second);
    expect(readFileSync(bench.path).equals(before)).toBe(true);
    expect(bench.lines).toMatchObject([
      { code, path: bench.path, remedy: expect.stringMatching(/history.path|version/) },
    ]);
  });

  test("a text", async () => {
    writeFileSync(bench.path, "a letter of somebody, long enough to be taken for a database of SQLite".repeat(20));
    const one = bench.start();
    bench.put(one, at(0, 1000), { power: 1 });
    await bench.stop(one);
    expect(bench.codes()).toEqual(["HISTORY_FOREIGN_FILE"]);
    expect(readFileSync(bench.path, "utf8")).toContain("a letter of somebody");
    expect(readdirSync(bench.folder)).toEqual(["outbox.db.history"]);
  });
});

describe("damage", () => {
  async function filled(): Promise<void> {
    const one = bench.start();
    for (let i = 0; i < 300; i += 1) bench.put(one, at(i, 1000), { energy: i, power: i, state: i });
    await bench.stop(one);
  }
  const asides = () => readdirSync(bench.folder).filter((name) => /\.corrupt-.*(?<!-wal|-shm)$/.test(name));

  test("of its head, met at the start: the file is set aside and a new one begun; the two newest are kept", async () => {
    for (const i of [0, 1, 2]) {
      const one = bench.start();
      bench.put(one, at(i, 1000), { power: 1 });
      await bench.stop(one);
      writeFileSync(bench.path, Buffer.alloc(8192, 0xff));
    }
    const last = bench.start();
    bench.put(last, at(9, 1000), { power: 1 });
    await bench.stop(last);
    expect(bench.codes()).toEqual(["HISTORY_CORRUPT", "HISTORY_CORRUPT", "HISTORY_CORRUPT"]);
    expect(asides()).toHaveLength(2);
    expect(bench.read().rows).toHaveLength(1);
  });

  test("of its pages, met while it is in use: the same, and the quarter hour that runs goes on", async () => {
    await filled();
    const bytes = readFileSync(bench.path);
    bytes.fill(0x5a, 4096 * 3);
    writeFileSync(bench.path, bytes);
    const one = bench.start({ keepDays: 1 });
    bench.put(one, at(400, 1000), { energy: 400 });
    bench.time.nowMs = at(401, 61_000);
    await until(() => expect(one.history.stats()).toMatchObject({ isWritable: true, waitingRows: 0 }));
    await until(() => expect(bench.read().rows).toMatchObject([{ quarter: firstQuarter + 400, register: 400 }]));
    expect(bench.codes()).toContain("HISTORY_CORRUPT");
    expect(asides()).toHaveLength(1);
  });
});

describe("bounds", () => {
  test("by age: the oldest quarter hours go, and the file is given back", async () => {
    const many = Array.from({ length: 100 }, (_, i) => ({ ...power, name: `p${i}` }));
    const values = Object.fromEntries(many.map(({ name }, i) => [name, i / 7]));
    const first = bench.start({}, many);
    for (let i = 0; i < 200; i += 1) bench.put(first, at(i, 1000), values);
    await bench.stop(first);
    const size = statSync(bench.path).size;
    const second = bench.start({ keepDays: 1 }, many);
    bench.put(second, at(200, 1000), values);
    await until(() => {
      using db = openHistoryToRead(bench.path, "factory-1", "gateway-1");
      const kept = db.prepare("SELECT min(quarter) AS oldest, max(quarter) AS newest FROM value").get();
      expect(kept).toEqual({ oldest: firstQuarter + 104, newest: firstQuarter + 199 });
    });
    await until(() => expect(statSync(bench.path).size).toBeLessThan(0.75 * size));
  });

  test("by bytes: what is held stays below them, the newest stay", async () => {
    const many = Array.from({ length: 200 }, (_, i) => ({ ...power, name: `p${i}` }));
    const values = Object.fromEntries(many.map(({ name }, i) => [name, i / 7]));
    const maxBytes = 512 * 1024;
    const one = bench.start({ maxBytes }, many);
    for (let i = 0; i < 200; i += 1) bench.put(one, at(i, 1000), values);
    bench.time.nowMs = at(200, 61_000);
    await written(bench, 1);
    await until(() => expect(one.history.stats().bytes).toBeLessThanOrEqual(maxBytes));
    const { rows } = bench.read();
    expect(rows.at(-1)?.quarter).toBe(firstQuarter + 199);
    expect(new Set(rows.map(({ quarter }) => quarter)).size).toBeGreaterThan(20);
  });

  test("of memory while the file cannot be had: the newest are kept, what is dropped is counted, and all goes on by itself", async () => {
    const many = Array.from({ length: 200 }, (_, i) => ({ ...power, name: `p${i}` }));
    const values = Object.fromEntries(many.map(({ name }, i) => [name, i]));
    const folder = join(bench.folder, "data");
    writeFileSync(folder, "a file where the folder should be");
    const path = join(folder, "history");
    const one = bench.start({ path }, many);
    for (let i = 0; i < 150; i += 1) bench.put(one, at(i, 1000), values);
    expect(one.history.stats()).toMatchObject({
      isWritable: false,
      waitingRows: 20_000,
      droppedRows: 149 * 200 - 20_000,
    });
    expect(bench.codes()).toEqual(["HISTORY_FAILED"]);
    execFileSync("rm", [folder]);
    bench.time.nowMs = at(150, 61_000);
    await until(() => expect(one.history.stats()).toMatchObject({ isWritable: true, waitingRows: 0 }));
    expect(bench.codes()).toEqual(["HISTORY_FAILED", "HISTORY_RECOVERED"]);
  });
});
