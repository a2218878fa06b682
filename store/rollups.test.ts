import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Calendar } from "@jilian/domain/calendar.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { type CounterLeaf, emptyLeaf, estimatedOf, mergeLeaves, tellsIncrease } from "@jilian/domain/leaf.ts";
import type { MachinePlan } from "@jilian/domain/machine-sums.ts";
import { hourMs, minuteMs, periodEnd, periodStart } from "@jilian/domain/periods.ts";
import { partKey, type RollupSource } from "@jilian/domain/rollup.ts";
import type { StateLeaf } from "@jilian/domain/state-leaf.ts";
import { type Band, bands, bandsOf } from "@jilian/domain/tariff.ts";
import { quantityOfMinutes, sumMachine } from "@jilian/domain/test-machine-sums.ts";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTelemetry } from "./duckdb/telemetry.ts";
import { type HourSet, hourSet } from "./rollup-pieces.ts";
import { type RollupReader, rollupReader } from "./rollups.ts";
import type { LeafRow, StateRow, Telemetry } from "./telemetry.ts";

/** 21:00 in Shanghai on the last of November: hours, a shift across midnight and the end of a month lie ahead. */
const t0 = Date.UTC(2026, 10, 30, 13);
const lengthMs = 8 * hourMs;
const calendar: Calendar = {
  shifts: [
    { days: ["mon"], from: "21:10", to: "22:40" },
    { days: ["mon"], from: "23:05", to: "01:20" },
  ],
};
const plan: MachinePlan = { calendar, runningCodes: new Set(["1"]), plannedRunTime: undefined };
const bandAt = bandsOf({
  periods: [
    { kind: "peak", from: "21:00", to: "22:07" },
    { kind: "valley", from: "23:00", to: "02:00" },
  ],
  pricesCNYPerKWh: {},
});

const folder = mkdtempSync(join(tmpdir(), "rollups-"));
let telemetry: Telemetry;
let ids: number[];
beforeAll(async () => {
  const log = pino({ level: "silent" });
  telemetry = await openTelemetry({ path: join(folder, "t.duckdb"), memoryLimitMb: 256, threads: 1, log });
  const definition = { name: "m", datatype: DataType.Double, simulated: false };
  // Every run has devices of its own in the one store.
  const wanted = Array.from({ length: 200 }, (_, i) => ({
    group: "f",
    node: "g",
    device: `d${i}`,
    metric: "m",
    definition,
  }));
  ids = await telemetry.ensureSeries(wanted);
});
afterAll(async () => {
  await telemetry.close();
  rmSync(folder, { recursive: true });
});

type World = { source: RollupSource; demand: RollupSource; counter: number; state: number };

function worldOf(run: number): World {
  const [counter, state] = [ids[run * 2] as number, ids[run * 2 + 1] as number];
  const none = { gauges: [], states: [], plan: undefined, planned: [], bandAt: undefined, banded: [], demand: [] };
  const key = `f${run}/g/d`;
  const source = {
    ...{ ...none, key, counters: [counter], states: [state], plan, planned: [counter] },
    ...{ bandAt, banded: [counter], signature: `s${run}` },
  };
  return {
    counter,
    state,
    source,
    demand: { ...none, key: `f${run}`, counters: [], demand: [counter], signature: "d" },
  };
}

/** Some minutes of a counter and a state: a stretch of readings, a gap, or nothing. */
const stretches = fc.array(
  fc.record({
    kind: fc.constantFrom("read", "gap", "nothing"),
    minutes: fc.integer({ min: 1, max: 50 }),
    amount: fc.bigInt({ min: 0n, max: 9_000_000n }),
    reset: fc.boolean(),
    runs: fc.boolean(),
  }),
  { minLength: 4, maxLength: 14 },
);
type Stretch = typeof stretches extends fc.Arbitrary<(infer T)[]> ? T : never;

function leavesOf(list: readonly Stretch[], { counter, state }: World): { leaves: LeafRow[]; states: StateRow[] } {
  const leaves: LeafRow[] = [];
  const states: StateRow[] = [];
  let at = t0;
  for (const { kind, minutes, amount, reset, runs } of list)
    for (let m = 0; m < minutes && at < t0 + lengthMs; m += 1, at += minuteMs) {
      if (kind === "nothing") continue;
      const edge = m === 0 || m === minutes - 1;
      const part = amount + BigInt(m);
      const gap: Partial<CounterLeaf> = edge
        ? { coveredMs: 20_000, gapMs: 40_000, ...(m === 0 ? { right: part / 2n } : { left: part / 3n }) }
        : { inGap: true, left: part, right: part, gapMs: minuteMs };
      const leaf = { ...emptyLeaf, amount: part, samples: 2, ...(kind === "gap" ? gap : { coveredMs: minuteMs }) };
      leaves.push({ series: counter, minuteMs: at, leaf: { ...leaf, resets: reset && m === 0 ? 1 : 0 } });
      const ms: Record<string, number> = runs ? { "1": 40_000, "2": 20_000 } : { "2": m % 2 ? 50_000 : 10_000 };
      const known = Object.values(ms).reduce((sum, own) => sum + own, 0);
      const stateLeaf: StateLeaf = { ms, unknownMs: minuteMs - known, samples: 1 };
      states.push({ series: state, minuteMs: at, leaf: stateLeaf });
    }
  return { leaves, states };
}

/** The quarter hour with the most, of whole ones; quarter hours of which nothing is told make it a lower bound. */
function demandIn(byMinute: ReadonlyMap<number, CounterLeaf>, fromMs: number, toMs: number) {
  let most: { amount: bigint; startMs: number; estimated: bigint; partial: boolean } | undefined;
  let partial = false;
  for (let startMs = fromMs; startMs < toMs; startMs += 15 * minuteMs) {
    const minutes = Array.from({ length: 15 }, (_, m) => byMinute.get(startMs + m * minuteMs) ?? emptyLeaf);
    const leaf = minutes.reduce(mergeLeaves);
    const told = tellsIncrease(leaf);
    partial ||= !told || leaf.resets > 0;
    if (told && (!most || leaf.amount > most.amount))
      most = { amount: leaf.amount, startMs, estimated: estimatedOf(leaf), partial: false };
  }
  return most && { ...most, partial };
}

/** What the leaves say of a period, minute by minute. */
function direct(rows: { leaves: LeafRow[]; states: StateRow[] }, fromMs: number, endMs: number, nowMs: number) {
  // Of what was before there are no leaves: an hour of it is as good as a year.
  const startMs = Math.max(fromMs, t0 - hourMs);
  const byMinute = new Map(rows.leaves.map((row) => [row.minuteMs, row.leaf]));
  const all = Array.from({ length: (endMs - startMs) / minuteMs }, (_, m) => startMs + m * minuteMs);
  // What goes on beyond now is an estimate at the edge.
  const minutes = all.filter((at) => at <= nowMs);
  const inside = rows.leaves.filter(({ minuteMs: at }) => at >= startMs && at < endMs);
  const machine = sumMachine(plan, [{ role: "production.total", product: undefined, leaves: inside }], [rows.states], {
    ...{ startMs, endMs, asOfMs: nowMs },
  });
  const first = Math.ceil(startMs / (15 * minuteMs)) * 15 * minuteMs;
  const last = Math.floor(Math.min(endMs, nowMs) / (15 * minuteMs)) * 15 * minuteMs;
  return {
    counter: minutes.map((at) => byMinute.get(at) ?? emptyLeaf).reduce(mergeLeaves),
    planned: machine.counters[0]?.planned,
    state: machine.state,
    bands: Object.fromEntries(bands.map((band) => [band, quantityOfMinutes(inside, (at) => bandAt(at) === band)])),
    demand: demandIn(byMinute, first, last),
  };
}

async function rolled(
  reader: RollupReader,
  { source, demand, counter }: World,
  startMs: number,
  endMs: number,
  nowMs: number,
) {
  const found = await reader.read([source, demand], startMs, endMs, nowMs);
  const own = found.get(source.key);
  const { demand: most, untold } = found.get(demand.key) ?? { demand: undefined, untold: false };
  const nothing = { amount: 0n, estimated: 0n, coveredMs: 0, told: false, partial: false };
  const ofBand = (band: Band) => own?.parts.get(partKey(counter, band)) ?? nothing;
  return {
    counter: own?.counters.get(counter) ?? emptyLeaf,
    planned: own?.parts.get(partKey(counter, "planned")) ?? nothing,
    state: own?.state,
    bands: { sharp: ofBand("sharp"), peak: ofBand("peak"), flat: ofBand("flat"), valley: ofBand("valley") },
    demand: most && { ...most, partial: most.partial || untold },
  };
}

/** Periods that end with hours, shifts, days and the month, and those that run. */
function periodsAt(nowMs: number): [number, number][] {
  const at = (minutes: number) => t0 + minutes * minuteMs;
  const spans: [number, number][] = [
    [at(10), at(100)],
    [at(125), at(260)],
    [at(7), at(53)],
    [at(60), at(75)],
    [t0 - 3 * hourMs, at(481)],
  ];
  for (const period of ["hour", "day", "month", "quarter", "year"] as const)
    for (const inside of [t0, nowMs]) spans.push([periodStart(period, inside), periodEnd(period, inside)]);
  return spans.filter(([startMs]) => startMs <= nowMs);
}

test("incremental, after late data, after a restart and anew: what merging minute by minute gives", {
  timeout: 90_000,
}, async () => {
  let run = 0;
  const when = fc.integer({ min: 20, max: 470 });
  const scenario = fc.record({
    list: stretches,
    looks: fc.array(when, { minLength: 2, maxLength: 4 }),
    late: fc.tuple(when, fc.bigInt({ min: 1n, max: 99n })),
  });
  await fc.assert(
    fc.asyncProperty(scenario, async ({ list, looks, late: [lateMinute, more] }) => {
      const world = worldOf(run++);
      const rows = leavesOf(list, world);
      const hours: HourSet = hourSet([]);
      let reader = rollupReader({ telemetry, hours, kept: 50 });
      const touch = (at: number) => {
        hours.add(periodStart("hour", at));
        reader.touch(world.source.key, at);
        reader.touch(world.demand.key, at);
      };
      const write = async (leaves: readonly LeafRow[], states: readonly StateRow[]) => {
        await telemetry.writeLeaves(leaves, [], states);
        for (const { minuteMs: at } of [...leaves, ...states]) touch(at);
      };
      const check = async (nowMs: number) => {
        // What lies ahead of the minute of now is not in yet.
        const seen = (row: { minuteMs: number }) => written.has(row.minuteMs) && row.minuteMs <= nowMs;
        const now = { leaves: rows.leaves.filter(seen), states: rows.states.filter(seen) };
        for (const [startMs, endMs] of periodsAt(nowMs)) {
          const expected = direct(now, startMs, Math.min(endMs, Math.max(startMs + hourMs, t0 + 2 * lengthMs)), nowMs);
          expect(await rolled(reader, world, startMs, endMs, nowMs)).toEqual(expected);
        }
      };
      const written = new Set<number>();
      let sinceMs = t0;
      let lookedMs = t0;
      for (const [i, look] of [...looks].sort((a, b) => a - b).entries()) {
        const nowMs = t0 + look * minuteMs;
        // A source's clock is fast: of some minutes something is known before they begin.
        const aheadMs = nowMs + 20 * minuteMs;
        const due = (row: { minuteMs: number }) => row.minuteMs >= sinceMs && row.minuteMs < aheadMs;
        await write(rows.leaves.filter(due), rows.states.filter(due));
        for (const { minuteMs: at } of rows.leaves.filter(due)) written.add(at);
        sinceMs = aheadMs;
        lookedMs = nowMs;
        await check(nowMs);
        if (i % 2 === 0) await reader.store(nowMs, telemetry.writeRollups);
      }
      const nowMs = lookedMs;
      const row =
        rows.leaves.find(({ minuteMs: at }) => at >= t0 + lateMinute * minuteMs && written.has(at)) ?? rows.leaves[0];
      if (row && written.has(row.minuteMs)) {
        row.leaf = { ...row.leaf, amount: row.leaf.amount + more };
        await write([row], []);
        await check(nowMs);
      }
      await reader.store(nowMs, telemetry.writeRollups);
      reader = rollupReader({ telemetry, hours, kept: 50 });
      await check(nowMs);
      reader = rollupReader({ telemetry, hours });
      await check(nowMs + 24 * hourMs);
    }),
    { numRuns: 5, endOnFailure: true },
  );
});

test("of late data as another version of the registry asks for it first: what is stored of the version before is not believed", async () => {
  const world = worldOf(90);
  const leafAt = (amount: bigint): LeafRow => {
    return { series: world.counter, minuteMs: t0, leaf: { ...emptyLeaf, amount, samples: 1, coveredMs: minuteMs } };
  };
  const nowMs = t0 + 2 * hourMs;
  for (const kept of [1000, 1]) {
    const reader = rollupReader({ telemetry, hours: hourSet([t0]), kept });
    const amount = async (signature: string, key = world.source.key) => {
      const found = await reader.read([{ ...world.source, key, signature }], t0, t0 + hourMs, nowMs);
      return found.get(key)?.counters.get(world.counter)?.amount;
    };
    await telemetry.writeLeaves([leafAt(5n)], []);
    reader.touch(world.source.key, t0);
    expect(await amount("now")).toBe(5n);
    await reader.store(nowMs, telemetry.writeRollups);
    await telemetry.writeLeaves([leafAt(7n)], []);
    reader.touch(world.source.key, t0);
    expect(await amount(kept === 1 ? "now" : "then")).toBe(7n);
    // What is in memory goes before it is stored.
    await amount("now", "f90/g/other");
    expect(await amount("now")).toBe(7n);
  }
});
