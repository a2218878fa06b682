import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataType } from "@jilian/domain/datatypes.ts";
import { emptyLeaf } from "@jilian/domain/leaf.ts";
import { hourMs, minuteMs, quarterHourMs } from "@jilian/domain/periods.ts";
import type { RollupSource } from "@jilian/domain/rollup.ts";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openTelemetry } from "./duckdb/telemetry.ts";
import { minuteReader } from "./minute-leaves.ts";
import type { Telemetry } from "./telemetry.ts";

const t0 = Date.UTC(2026, 10, 30, 3);
const folder = mkdtempSync(join(tmpdir(), "minute-leaves-"));
const devices = ["f/g/a", "f/g/b", "f/g/c"];
let telemetry: Telemetry;
let ids: number[];
/** What was asked of the store: series or devices, first minute after t0, and how many. */
let questions: [of: readonly (number | string)[], fromMinute: number, minutes: number][] = [];

beforeAll(async () => {
  const log = pino({ level: "silent" });
  telemetry = await openTelemetry({ path: join(folder, "t.duckdb"), memoryLimitMb: 256, threads: 1, log });
  const definition = { name: "m", datatype: DataType.Double, simulated: false };
  ids = await telemetry.ensureSeries(
    devices.map((key) => ({ group: "f", node: "g", device: key.slice(4), metric: "m", definition })),
  );
});
afterAll(async () => {
  await telemetry.close();
  rmSync(folder, { recursive: true });
});

/** What leaves say in the hour after t0: whose and when. */
const amountOf = (device: number, minute: number) => BigInt(device * 1000 + minute);
async function write(device: number, minute: number, amount: bigint): Promise<void> {
  const leaf = { ...emptyLeaf, amount, samples: 1 };
  await telemetry.writeLeaves([{ series: ids[device] as number, minuteMs: t0 + minute * minuteMs, leaf }], []);
}
beforeEach(async () => {
  const leaves = ids.flatMap((series, d) =>
    Array.from({ length: 60 }, (_, m) => {
      return { series, minuteMs: t0 + m * minuteMs, leaf: { ...emptyLeaf, amount: amountOf(d, m), samples: 1 } };
    }),
  );
  await telemetry.writeLeaves(leaves, []);
  questions = [];
});

const noted = (of: readonly (number | string)[], fromMs: number, toMs: number) =>
  questions.push([of, (fromMs - t0) / minuteMs, (toMs - fromMs) / minuteMs]);

/** A reader of the store that notes its questions, and what it says of all devices in a minute. */
function readerOf(keeps = true) {
  const counted: Pick<Telemetry, "readLeaves" | "readStates" | "readConnections"> = {
    readLeaves: async (series, fromMs, toMs) => {
      noted(series, fromMs, toMs);
      // Nothing is stored after the hour.
      if (fromMs >= t0 + hourMs) return [];
      return await telemetry.readLeaves(series, fromMs, toMs);
    },
    readStates: telemetry.readStates,
    readConnections: async (keys, fromMs, toMs) => {
      noted(keys, fromMs, toMs);
      if (fromMs >= t0 + hourMs) return [];
      return await telemetry.readConnections(keys, fromMs, toMs);
    },
  };
  const none = { gauges: [], states: [], plan: undefined, planned: [], bandAt: undefined, banded: [], demand: [] };
  const sources = devices.map((key, d): RollupSource => {
    return { key, counters: [ids[d] as number], ...none, signature: "one" };
  });
  const reader = minuteReader({ telemetry: counted }, keeps);
  const at = async (minute: number, nowMinute = 60, own = sources) => {
    const from = t0 + minute * minuteMs;
    const leaves = await reader.read(own, from, from + minuteMs, t0 + nowMinute * minuteMs);
    return ids.map((id) => leaves.counterAt(id, from)?.amount);
  };
  return { reader, sources, at };
}
const all = (minute: number) => [0, 1, 2].map((d) => amountOf(d, minute));

test("a late minute has read again what it touched, and nothing of the others", async () => {
  const { reader, at } = readerOf();
  for (const minute of [7, 0, 14]) expect(await at(minute)).toEqual(all(minute));
  expect(questions).toEqual([
    [ids, 0, 15],
    [devices, 0, 15],
  ]);
  await write(1, 7, 77n);
  reader.touch("f/g/b", t0 + 7 * minuteMs);
  questions = [];
  expect(await at(7)).toEqual([amountOf(0, 7), 77n, amountOf(2, 7)]);
  expect(await at(8)).toEqual(all(8));
  expect(questions).toEqual([
    [[ids[1]], 0, 15],
    [["f/g/b"], 0, 15],
  ]);
});

test("what is touched under another name of the same series, a factory's, is read again too", async () => {
  const { reader, sources, at } = readerOf();
  const demand: RollupSource = {
    ...{ key: "f", counters: [], gauges: [], states: [], plan: undefined, planned: [], bandAt: undefined, banded: [] },
    ...{ demand: [ids[2]], signature: "demand" },
  };
  await at(20, 60, [demand]);
  await at(20, 60, sources.slice(0, 1));
  await write(2, 20, 5n);
  reader.touch("f", t0 + 20 * minuteMs);
  expect(await at(20, 60, [demand])).toEqual([amountOf(0, 20), undefined, 5n]);
});

test("quarter hours that follow each other are one question; those that have not ended, or where nothing is told, are asked each time", async () => {
  const { reader, sources, at } = readerOf();
  await at(16);
  questions = [];
  await reader.read(sources, t0 + 16 * minuteMs, t0 + 59 * minuteMs, t0 + 60 * minuteMs);
  expect(questions.map(([, ...time]) => time)).toEqual([
    [30, 30],
    [30, 30],
  ]);
  questions = [];
  for (const minute of [46, 47, 46]) expect(await at(minute, 59)).toEqual(all(minute));
  expect(questions).toHaveLength(6);
  questions = [];
  const untold = readerOf(false);
  for (const minute of [1, 1]) expect(await untold.at(minute)).toEqual(all(minute));
  expect(questions).toHaveLength(4);
});

test("an hour of a large cluster stays, whatever few leaves are asked for beside it", async () => {
  // The names alone of so many are more than is kept of a small one; the store has leaves of three.
  const { reader, sources } = readerOf();
  const [first, ...others] = sources as [RollupSource, ...RollupSource[]];
  const large = [
    { ...first, counters: [...first.counters, ...Array.from({ length: 120_000 }, (_, i) => 1000 + i)] },
    ...others,
  ];
  const hour = (own: readonly RollupSource[]) => reader.read(own, t0, t0 + hourMs, t0 + 2 * hourMs);
  await hour(large);
  questions = [];
  await reader.read(others.slice(0, 1), t0, t0 + minuteMs, t0 + 2 * hourMs);
  await hour(large);
  expect(questions).toHaveLength(0);
});

test("so many quarter hours are kept, those that were asked for last", async () => {
  const { reader, sources, at } = readerOf();
  const far = t0 + 400 * quarterHourMs;
  const look = (quarter: number) => {
    const fromMs = t0 + quarter * quarterHourMs;
    return reader.read(sources, fromMs, fromMs + minuteMs, far);
  };
  for (let quarter = 0; quarter < 192; quarter += 1) await look(quarter);
  await look(0);
  await look(192);
  questions = [];
  expect(await at(0, 6000)).toEqual(all(0));
  expect(questions).toEqual([]);
  await look(1);
  expect(questions).toHaveLength(2);
});
