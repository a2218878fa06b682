import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { hourMs, minuteMs, periodStart } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { AlarmRule } from "@jilian/store/registry-alarms.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createEngine, type Engine } from "./engine.ts";
import { applyRules, t0 } from "./test-alarms.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

const hot: AlarmRule = {
  ...{ id: "hot", name: { zh: "过热" }, priority: "high", kind: "threshold", above: 80, hysteresis: 5 },
  applies: { role: "temperature" },
};
const catalogue = indicators.filter(({ id }) => id === "alarms.raised");

useWorld(t0);
let engine: Engine;
beforeEach(async () => {
  applyRules(world.ledger, [hot]);
  engine = await start();
});
afterEach(() => engine.close());

const start = (ledger: Ledger = world.ledger, rowsPerTick = 200_000): Promise<Engine> =>
  createEngine({
    ...{ ...world, ledger, versions: followVersions(world.ledger), clock, catalogue },
    ...{ provisionalIntervalMs: 0, txPerTick: 1000, rowsPerTick },
  });

const temperature = { role: "temperature", unit: "°C" };
const humidity = { role: "humidity", unit: "%" };

/** What a birth says of a metric of a machine, from so many seconds after t0 on. */
async function born(said: { role: string; unit: string }, second: number, metric = "t"): Promise<number> {
  const definition = { name: metric, datatype: DataType.Double, simulated: false, ...said };
  const key = { group: "f3", node: "gw-1", device: "press-1", metric, definition };
  const [series = 0] = await world.telemetry.ensureSeries([{ ...key, sinceMs: t0 + second * 1000 }]);
  return series;
}

/** Stores a reading every ten seconds in [from, to), in seconds after t0: 90 in some stretches, else 70. */
async function store(
  series: number,
  [from, to]: readonly [number, number],
  high: readonly (readonly [number, number])[],
) {
  const samples = Array.from({ length: (to - from) / 10 }, (_, i) => {
    const second = from + i * 10;
    const value = high.some(([a, b]) => second >= a && second < b) ? 90 : 70;
    const times = { sourceTimeMs: t0 + second * 1000, gatewayTimeMs: t0 + second * 1000, ingestTimeMs: clock.now() };
    return { series, value, status: 0, ...times };
  });
  await world.telemetry.write({ samples, commits: [] });
}

const alarms = (metric = "t") =>
  world.ledger
    .alarms({ fromMs: 0, toMs: 1e15, limit: 99 })
    .filter((one) => one.metric === metric)
    .map(({ state, raisedMs, clearedMs }) => {
      const second = (ms: number | undefined) => (ms === undefined ? undefined : (ms - t0) / 1000);
      return [state.replace("_unacknowledged", ""), second(raisedMs), second(clearedMs)];
    });

/** Alarms raised in the hours of t0 and after it, as the figures have them. */
const counted = () =>
  [0, hourMs].map((at) => {
    const startMs = periodStart("hour", t0 + at);
    const place = { indicator: "alarms.raised", level: "factory", entity: "f3", period: "hour" } as const;
    return world.ledger.readResult({ ...place, startMs })?.value;
  });

/** One that has returned, one over 1500 s, two after it, of which the last one is open. */
const high = [
  [100, 600],
  [1400, 1600],
  [2000, 2500],
  [2900, 9999],
] as const;
const before = [
  ["returned", 100, 600],
  ["returned", 1400, 1600],
  ["returned", 2000, 2500],
  ["active", 2900, undefined],
];

/** The alarms of three quarters of an hour, judged. */
async function judged(): Promise<number> {
  const series = await born(temperature, 0);
  await store(series, [0, 3000], high);
  clock.set(t0 + 3000 * 1000);
  await settle(engine);
  expect(alarms()).toEqual(before);
  expect(counted()).toEqual(["1", "3"]);
  return series;
}

/** 1400 to 1500 is left of the second alarm; the others were about another metric. */
const withdrawn = [
  ["returned", 100, 600],
  ["returned", 1400, 1500],
  ...before.slice(2).map(([, ...at]) => ["withdrawn", ...at]),
];

/** What it is again from 2200 s on has its alarms anew. */
const anew = [
  ...withdrawn.slice(0, 3),
  ["returned", 2200, 2500],
  ["withdrawn", 2900, undefined],
  ["active", 2900, undefined],
];

test("a late birth that makes a metric another one: its alarms since then are withdrawn, and come back with it", async () => {
  const series = await judged();
  await born(humidity, 1500);
  await store(series, [3000, 3010], high);
  await settle(engine);
  expect(alarms()).toEqual(withdrawn);
  expect(counted()).toEqual(["1", "1"]);
  await born(temperature, 2200);
  await store(series, [3010, 3020], high);
  await settle(engine);
  expect(alarms()).toEqual(anew);
  expect(counted()).toEqual(["1", "3"]);
}, 30_000);

test("the same where no engine looked when it came", async () => {
  await judged();
  await engine.close();
  await born(humidity, 1500);
  engine = await start();
  await settle(engine);
  expect(alarms()).toEqual(withdrawn);
  expect(counted()).toEqual(["1", "1"]);
  await engine.close();
  await born(temperature, 2200);
  engine = await start();
  await settle(engine);
  expect(alarms()).toEqual(anew);
  expect(counted()).toEqual(["1", "3"]);
}, 30_000);

test("a late birth that makes a metric one that is watched: its alarms since then are raised, others stay as they are", async () => {
  const series = await born(humidity, 0);
  const other = await born(temperature, 0, "other");
  for (const one of [series, other]) await store(one, [0, 3000], high);
  clock.set(t0 + 50 * minuteMs);
  await settle(engine);
  expect(alarms()).toEqual([]);
  const changes = () => world.ledger.alarmChangesAfter(0, 99).filter(({ metric }) => metric === "other");
  const untouched = changes();
  await born(temperature, 2200);
  await store(series, [3000, 3010], high);
  await settle(engine);
  expect(alarms()).toEqual([
    ["returned", 2200, 2500],
    ["active", 2900, undefined],
  ]);
  expect(changes()).toEqual(untouched);
  expect(untouched).toHaveLength(4);
}, 30_000);

test("likewise where no engine looked when it came, also those that have long returned", async () => {
  await store(await born(humidity, 0), [0, 5400], [[2300, 2500]]);
  clock.set(t0 + 90 * minuteMs);
  await settle(engine);
  // Until no reading is in an open minute: the next engine would judge again what it has to fold again.
  clock.set(t0 + 92 * minuteMs);
  await settle(engine);
  await engine.close();
  await born(temperature, 2200);
  engine = await start();
  await settle(engine);
  expect(alarms()).toEqual([["returned", 2300, 2500]]);
}, 30_000);

test("one of long ago whose engine ends before its alarms are written: the next one withdraws and raises them", async () => {
  const series = await judged();
  const other = await born(humidity, 0, "other");
  await store(other, [0, 3000], high);
  await store(series, [3000, 10_800], []);
  await store(other, [3000, 10_800], []);
  clock.set(t0 + 3 * hourMs);
  await settle(engine);
  await engine.close();
  const writeAlarms: Ledger["writeAlarms"] = () => {
    throw new Error("killed");
  };
  await born(humidity, 1500);
  await born(temperature, 1500, "other");
  engine = await start({ ...world.ledger, writeAlarms });
  await expect(engine.tick({ thorough: true })).rejects.toThrow("killed");
  await engine.close();
  engine = await start();
  await settle(engine);
  const raised = [
    ["returned", 1500, 1600],
    ["returned", 2000, 2500],
    ["returned", 2900, 3000],
  ];
  expect([alarms("other"), alarms()]).toEqual([raised, withdrawn.map(([state, at, end]) => [state, at, end ?? 3000])]);
  expect(counted()).toEqual(["1", "4"]);
}, 30_000);

test("one of long ago that is taken up amid a fold, whose engine ends before the fold does: the next one withdraws", async () => {
  const series = await judged();
  await store(series, [3000, 10_800], []);
  clock.set(t0 + 3 * hourMs);
  await settle(engine);
  await engine.close();
  await born(humidity, 1500);
  await store(await born(humidity, 0, "other"), [0, 3000], high);
  engine = await start(world.ledger, 1);
  await engine.tick({ thorough: true });
  await engine.close();
  engine = await start();
  await settle(engine);
  expect(alarms()).toEqual(withdrawn.map(([state, at, end]) => [state, at, end ?? 3000]));
  expect(counted()).toEqual(["1", "1"]);
}, 30_000);
