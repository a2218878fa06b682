import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { packSamples } from "../columns/columns.ts";
import { packConnections, packLeaves } from "../columns/packing.ts";
import { addToMinutes, spansOf } from "../columns/windows.ts";
import type { CommitEntry, Telemetry } from "../telemetry.ts";
import { makeSeries, sample, startMs } from "../telemetry-fixtures.ts";
import { openCommitBook } from "./commits.ts";
import { type Database, openDatabase, transaction } from "./database.ts";
import { openEngine } from "./engine.ts";
import { openLatestBook } from "./latest.ts";
import { migrate, migrations } from "./schema.ts";
import { lookupIntervals } from "./write.ts";

let folder: string;
let database: Database | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jilian-parts-"));
});
afterEach(async () => {
  await database?.close();
  database = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const setting = () => ({ path: join(folder, "telemetry.duckdb"), memoryLimitMb: 256, threads: 1 });

async function connect(): Promise<DuckDBConnection> {
  database = await openDatabase(setting());
  return await database.connect();
}

const numbers = async (connection: DuckDBConnection, query: string) =>
  (await (await connection.run(query)).getRows()).map((row) => row.map(Number));

describe("schema", () => {
  it("is brought forward step by step, each once, keeping what is there", async () => {
    const connection = await connect();
    const first = ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (1)"];
    expect(await migrate(connection, [first])).toBe(0);
    expect(await migrate(connection, [first, ["CREATE TABLE u AS SELECT a + 1 AS a FROM t"]])).toBe(1);
    expect(await migrate(connection, [first, ["fails if run again"]])).toBe(2);
    expect(await numbers(connection, "SELECT t.a, u.a FROM t, u")).toEqual([[1, 2]]);
  });

  it("stays as it was when a step fails", async () => {
    const connection = await connect();
    await expect(migrate(connection, [["CREATE TABLE t(a INTEGER)", "SELECT nonsense"]])).rejects.toThrow(/nonsense/);
    expect(await migrate(connection, [["CREATE TABLE t(a INTEGER)"]])).toBe(0);
  });

  it("a file of the first release is brought forward with what is in it", async () => {
    const connection = await connect();
    // The release of version 1, as it was: its steps stand at the beginning of this one's and are never edited.
    await migrate(connection, migrations.slice(0, 1));
    await connection.run(
      `INSERT INTO series VALUES (1, 'f', 'g', 'd', 'a', '{"name":"a","datatype":10,"simulated":false}')`,
    );
    await connection.run(
      `INSERT INTO sample VALUES (1, ${startMs}, NULL, NULL, 2.5, NULL, 0, ${startMs}, ${startMs}, 1)`,
    );
    await connection.run(`INSERT INTO leaf VALUES (1, ${startMs}, 7, 0, 0, false, 60000, 0, 6, 0, 41)`);
    connection.closeSync();
    await database?.close();
    database = undefined;
    const { engine, found, close } = await openEngine(setting(), () => undefined);
    expect(found).toEqual({ schemaVersion: 1, series: 1, lastTx: 1 });
    expect((await engine.readLeaves([1], startMs, startMs + 1)).amount).toEqual([7n]);
    const state = { series: [1], minuteMs: [startMs], ms: ['{"1":60000}'], unknownMs: [0], samples: [1] };
    const none = { leaves: packLeaves([]), connections: packConnections([]) };
    await engine.writeLeaves(none.leaves, none.connections, state);
    expect(await engine.readStates([1], startMs, startMs + 1)).toEqual(state);
    await close();
    const again = await openEngine(setting(), () => undefined);
    expect(again.found.schemaVersion).toBe(migrations.length);
    await again.close();
  });

  it("of a newer release is refused", async () => {
    const connection = await connect();
    await migrate(connection);
    await connection.run("INSERT INTO schema_version VALUES (99)");
    connection.closeSync();
    await database?.close();
    database = undefined;
    await expect(openEngine(setting(), () => undefined)).rejects.toMatchObject({ code: "STORE_TOO_NEW" });
  });
});

describe("a transaction that fails half-way", () => {
  it("leaves nothing behind, in the file or in memory, and the next one works", async () => {
    const prepare = await connect();
    await migrate(prepare);
    // The samples go first; the ranges then do not fit, as no check can foresee.
    await prepare.run("DROP TABLE commit_range");
    await prepare.run(
      "CREATE TABLE commit_range(grp VARCHAR, node VARCHAR, epoch VARCHAR, first_offset BIGINT, last_offset BIGINT, tx BIGINT CHECK (tx <> 2))",
    );
    prepare.closeSync();
    await database?.close();
    database = undefined;
    const { engine, close } = await openEngine(setting(), () => undefined);
    const [series] = (await makeSeries(engine as unknown as Telemetry, ["a"])) as [number];
    const commits: CommitEntry[] = [{ group: "f", node: "g", epoch: "e", ranges: [[0, 0]] }];
    await engine.write(packSamples([sample(series, 0, 1)]), []);
    const late = () => packSamples([sample(series, 9, 2), sample(series, -5, 3)]);
    await expect(engine.write(late(), commits)).rejects.toMatchObject({ code: "STORE_FAILED" });
    expect((await engine.read({ series, fromMs: 0, toMs: startMs * 2 }, 9)).length).toBe(1);
    expect(await engine.committed()).toEqual([]);
    expect(await engine.lastTx()).toBe(1);
    expect(await engine.write(late(), [])).toEqual({ tx: 2, written: 2, duplicates: 0, conflicts: 0 });
    expect(await engine.write(packSamples([]), commits)).toMatchObject({ tx: 3 });
    await close();
  });
});

describe("commit ranges", () => {
  it("are rewritten merged at the start when there are many rows", async () => {
    const connection = await connect();
    await migrate(connection);
    await connection.run(`INSERT INTO commit_range
      SELECT 'f', 'g' || n % 2, 'e', n // 2 * 10, n // 2 * 10 + CASE WHEN n < 9000 THEN 9 ELSE 4 END, n FROM range(10000) r(n)`);
    const [even, odd] = (await openCommitBook(connection)).all();
    expect(even?.ranges).toEqual(odd?.ranges);
    expect(even?.ranges).toHaveLength(500);
    expect(even?.ranges.slice(0, 2)).toEqual([
      [0, 45_004],
      [45_010, 45_014],
    ]);
    expect(await numbers(connection, "SELECT count(*), max(tx) FROM commit_range")).toEqual([[1000, 9999]]);
    const again = await openCommitBook(connection);
    expect(again.all()).toEqual([even, odd]);
    expect(again.lastTx()).toBe(9999);
    connection.closeSync();
  });
});

describe("newest samples", () => {
  it("are those saved and those written since, whichever is later at its source", async () => {
    const connection = await connect();
    await migrate(connection);
    const insert = (table: string, series: number, ms: number, vd: number, tx: number) =>
      connection.run(`INSERT INTO ${table} VALUES (${series}, ${ms}, NULL, NULL, ${vd}, NULL, 0, 0, 0, ${tx})`);
    for (const [series, ms, vd, tx] of [
      [1, 50, 5, 1],
      [2, 50, 5, 1],
      [1, 60, 6, 2],
      [2, 40, 4, 2],
      [5000, 1, 7, 3],
    ] as const) {
      await insert("sample", series, ms, vd, tx);
      if (tx === 1) await insert("latest", series, ms, vd, tx);
    }
    await connection.run("UPDATE latest_tx SET tx = 1");
    const book = await openLatestBook(connection);
    expect(Array.from(book.all().number)).toEqual([6, 5, 7]);
    expect(book.lastTx()).toBe(3);
    await book.save(true);
    // Seen again from what was saved alone.
    await transaction(connection, () => connection.run("DELETE FROM sample"));
    const again = await openLatestBook(connection);
    expect(again.all()).toEqual(book.all());
    expect(again.lastTx()).toBe(3);
    connection.closeSync();
  });
});

describe("arithmetic", () => {
  it("late times are looked up in few intervals, split at the widest gaps", () => {
    const hour = 3_600_000;
    expect(lookupIntervals(Float64Array.of(5))).toEqual([[5, 5]]);
    expect(lookupIntervals(Float64Array.of(0, hour, 3 * hour, 3 * hour))).toEqual([
      [0, hour],
      [3 * hour, 3 * hour],
    ]);
    const sparse = Float64Array.from({ length: 100 }, (_, i) => i * i * hour);
    const intervals = lookupIntervals(sparse);
    expect(intervals.length).toBeLessThanOrEqual(16);
    expect(intervals.at(-1)).toEqual([99 * 99 * hour, 99 * 99 * hour]);
    for (const time of sparse) expect(intervals.filter(([from, to]) => time >= from && time <= to)).toHaveLength(1);
  });

  it("time is split over minutes and cut at both ends", () => {
    const minutes = new Float64Array(3);
    addToMinutes(minutes, 0, -5000, 1000);
    addToMinutes(minutes, 0, 59_999, 120_001);
    addToMinutes(minutes, 0, 170_000, 999_999);
    addToMinutes(minutes, 0, 200_000, 300_000);
    expect(Array.from(minutes)).toEqual([1001, 60_000, 10_001]);
  });

  it("near windows of a series make one span, far ones and other series do not", () => {
    const windows = [
      { series: 2, fromMs: 0, toMs: 10 },
      { series: 1, fromMs: 700_000, toMs: 700_010 },
      { series: 1, fromMs: 0, toMs: 100_000 },
      { series: 1, fromMs: 10, toMs: 20 },
      { series: 1, fromMs: 2_000_000, toMs: 2_000_001 },
    ];
    const { spans, spanOf } = spansOf(windows);
    expect(spans).toEqual([
      { series: 1, fromMs: 0, toMs: 700_010 },
      { series: 1, fromMs: 2_000_000, toMs: 2_000_001 },
      { series: 2, fromMs: 0, toMs: 10 },
    ]);
    expect(Array.from(spanOf)).toEqual([2, 0, 0, 0, 1]);
  });
});
