import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { dayMs, minuteMs, watermarkMs } from "@jilian/domain/periods.ts";
import { levels, type Result, type ResultStatus, resultId } from "@jilian/domain/result.ts";
import { siteFigures } from "@jilian/domain/site-figures.ts";
import { type DeviceSeries, registrySeries } from "@jilian/store/device-series.ts";
import { hourSet } from "@jilian/store/rollup-pieces.ts";
import { rollupReader } from "@jilian/store/rollups.ts";
import { siteSums } from "@jilian/store/site-sums.ts";
import type { SampleRow, SeriesId } from "@jilian/store/telemetry.ts";
import { afterEach, describe, expect, test } from "vitest";
import { random } from "../test-random.ts";
import { always, type ManualClock, manualClock, openWorld, type World } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { amountOf, type Oracle, type OracleFigure, onlineMs } from "./test-oracle.ts";
import { ratioFigures } from "./test-oracle-machines.ts";
import { compared, figuresIn, judged, periodsUntil, startOf } from "./test-periods.ts";
import {
  birthOrder,
  deliver,
  knownFromTheStart,
  makeSamples,
  makeTicks,
  oracleOf,
  type Plan,
  plans,
  plantRegistry,
  type Sample,
  startMs,
  type Tick,
} from "./test-plant.ts";

type Published = OracleFigure & { status: ResultStatus; revision: number };
const published = ({
  value,
  reason,
  completeness,
  estimatedShare,
  lowerBound,
  status,
  revision,
}: Result): Published => ({
  value,
  reason,
  completeness,
  estimatedShare,
  lowerBound,
  status,
  revision,
});

async function readAll(world: World): Promise<Map<string, Published>> {
  const found = new Map<string, Published>();
  for (const level of levels)
    for (const period of compared) {
      const query = { level, period, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, limit: 1e9 };
      const results =
        period === "minute" ? await world.telemetry.readMinuteResults(query) : world.ledger.readResults(query);
      for (const result of results) if (judged.has(result.indicator)) found.set(resultId(result), published(result));
    }
  return found;
}

/** What the oracle follows through the ticks: status and revision of hours and days. */
type Followed = Map<string, Published>;
const unfollowed = /\|(minute|quarter_hour|month)\|/;

function follow(followed: Followed, oracle: Oracle, nowMs: number): void {
  for (const span of periodsUntil(nowMs)) {
    // A month is long to integrate reading by reading at each tick, and quarter hours are many: they are compared in the end.
    if (unfollowed.test(`|${span.period}|`)) continue;
    const past = nowMs >= span.to + watermarkMs;
    for (const [key, figure] of figuresIn(oracle, span, nowMs)) {
      const before = followed.get(key);
      const wasFinal = before !== undefined && before.status !== "provisional";
      if (!wasFinal) followed.set(key, { ...figure, status: past ? "final" : "provisional", revision: 0 });
      else if (
        JSON.stringify({ ...figure, status: before.status, revision: before.revision }) !== JSON.stringify(before)
      )
        followed.set(key, { ...figure, status: "revised", revision: before.revision + 1 });
    }
  }
}

type Run = {
  world: World;
  clock: ManualClock;
  results: Map<string, Published>;
  leaves: Map<string, object>;
};

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.end();
});

async function run(
  plan: readonly Tick[],
  options: {
    anew: (tick: number) => boolean;
    rowsPerTick?: number;
    onTick?: (nowMs: number, arrived: Sample[]) => void;
  },
): Promise<Run> {
  const world = await openWorld();
  worlds.push(world);
  const { telemetry, ledger } = world;
  const clock = manualClock(startMs);
  const make = (): Promise<Engine> =>
    createEngine({
      telemetry,
      ledger,
      versions: always(plantRegistry()),
      clock,
      provisionalIntervalMs: 0,
      txPerTick: 1000,
      ...(options.rowsPerTick !== undefined && { rowsPerTick: options.rowsPerTick }),
    });
  await telemetry.ensureSeries(knownFromTheStart.map(seriesOf));
  let engine = await make();
  for (const [i, { atMs, batches, births }] of plan.entries()) {
    clock.set(atMs);
    for (const device of births) {
      const [group = "", node = "", name = ""] = device.split("/");
      ledger.noteBirth({ group, node, device: name, firstBirthMs: atMs });
    }
    for (const batch of batches) await telemetry.write({ samples: await rowsOf(world, batch, atMs), commits: [] });
    if (options.anew(i)) engine = await make();
    await engine.tick();
    options.onTick?.(atMs, batches.flat());
  }
  for (let caughtUp = false; !caughtUp; ) ({ caughtUp } = await engine.tick({ thorough: true }));
  return { world, clock, results: await readAll(world), leaves: await readLeaves(world) };
}

function seriesOf({ device, metric, definition }: Plan) {
  const [group = "", node = "", name = ""] = device.split("/");
  return { group, node, device: name, metric, definition: { ...definition, name: metric } };
}

async function rowsOf({ telemetry }: World, batch: readonly Sample[], atMs: number): Promise<SampleRow[]> {
  const wanted = batch.map(({ plan }) => seriesOf(plans[plan] as Plan));
  const ids: SeriesId[] = await telemetry.ensureSeries(wanted);
  return batch.map(({ atMs: sourceTimeMs, value, status }, i) => ({
    series: ids[i] as SeriesId,
    sourceTimeMs,
    value,
    status,
    gatewayTimeMs: sourceTimeMs,
    ingestTimeMs: atMs,
  }));
}

/** Leaves and online time by series and minute, those that say nothing left out. */
async function readLeaves({ telemetry }: World): Promise<Map<string, object>> {
  const found = new Map<string, object>();
  // Leaves of gauges are other sums: gauge.test.ts has them.
  const counters = (await telemetry.series()).filter(({ definition }) => definition.role !== "power.active");
  const series = new Map(counters.map((s) => [s.id, `${s.group}/${s.node}/${s.device}/${s.metric}`]));
  for (const { series: id, minuteMs: minute, leaf } of await telemetry.readLeaves([...series.keys()], 0, 1e15)) {
    const { amount, coveredMs, samples, resets } = leaf;
    const estimated = leaf.inGap ? amount : leaf.left + leaf.right;
    if (amount > 0n || coveredMs > 0 || samples > 0 || resets > 0)
      found.set(`${series.get(id)}@${minute}`, { amount, coveredMs, samples, resets, estimated });
  }
  for (const { device, minuteMs: minute, onlineMs: ms } of await telemetry.readConnections([], 0, 1e15))
    if (ms > 0) found.set(`${device}@${minute}`, { onlineMs: ms });
  return found;
}

function expectedLeaves(oracle: Oracle, fromMs: number, toMs: number): Map<string, object> {
  const found = new Map<string, object>();
  for (const [i, series] of oracle.series.entries()) {
    const { device, metric, definition } = plans[i] as Plan;
    if (definition.role === undefined || !/^(energy|production|inspection)/.test(definition.role)) continue;
    const scale = definition.unit === "pcs" ? 10n : 1n;
    const scaled = { ...series, readings: series.readings.map((r) => ({ ...r, micro: r.micro && r.micro * scale })) };
    for (let minute = fromMs; minute < toMs; minute += minuteMs) {
      const { amount, coveredMs, samples, resets, estimated } = amountOf(scaled, minute, minute + minuteMs);
      if (amount > 0n || coveredMs > 0 || samples > 0 || resets > 0)
        found.set(`${device}/${metric}@${minute}`, { amount, coveredMs, samples, resets, estimated });
    }
  }
  for (const [device, readings] of oracle.seen)
    for (let minute = fromMs; minute < toMs; minute += minuteMs) {
      const ms = onlineMs(readings, minute, minute + minuteMs);
      if (ms > 0) found.set(`${device}@${minute}`, { onlineMs: ms });
    }
  return found;
}

/** Compares maps entry by entry, so that a difference is short to read. */
function expectSame(found: Map<string, object>, expected: Map<string, object>, what: string): void {
  const differing = [...new Set([...found.keys(), ...expected.keys()])]
    .filter((key) => show(found.get(key)) !== show(expected.get(key)))
    .map((key) => `${key}: ${show(found.get(key))} instead of ${show(expected.get(key))}`);
  expect(differing.slice(0, 5), `${what}: ${differing.length} differ`).toEqual([]);
  expect(found.size).toBeGreaterThan(0);
}

const show = (value: unknown) => JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v));

/** The ratios of single machines, made from rollups as an interface makes them, against the oracle. */
async function expectDevices({ world, clock }: Run, oracle: Oracle): Promise<void> {
  const { telemetry, ledger } = world;
  const registry = plantRegistry();
  const series = registrySeries(registry, await telemetry.series());
  const reader = rollupReader({ telemetry, hours: hourSet(ledger.knownHours(0, Number.MAX_SAFE_INTEGER)) });
  const found = new Map<string, object>();
  const expected = new Map<string, object>();
  const asOfMs = clock.now();
  const noAlarm = { alarms: [], droppedAlarms: { untilMs: 0 } };
  const none = { firstBirths: new Map(), polls: new Map(), days: new Map(), lostMs: new Map(), ...noAlarm };
  for (const { period, from, to, factory } of periodsUntil(asOfMs)) {
    // Ended periods: the leaves of the open minute are not written yet.
    if (to > asOfMs || period === "minute" || period === "quarter_hour") continue;
    for (const machine of oracle.machines) {
      const entity = machine.device;
      const own = series.devices.get(entity) as DeviceSeries;
      const home = entity.slice(0, entity.indexOf("/"));
      if (factory !== undefined && factory !== home) continue;
      for (const [id, figure] of ratioFigures([machine], from, to, asOfMs))
        expected.set(`${id} ${entity} ${period} ${from}`, figure);
      const rollups = await reader.read([own.source], from, to, asOfMs);
      const span = { period, startMs: from, endMs: to };
      const sums = siteSums(registry, series, { ...none, span, asOfMs, rollups });
      const site = sums({ level: "device", entity, factories: new Map([[home, [entity]]]) });
      const stamp = { asOfMs, inputWatermark: 0, registryVersion: registry.version, simulated: false };
      for (const result of siteFigures(site, stamp)) {
        const { status: _, revision: __, ...figure } = published(result);
        if (judged.has(result.indicator)) found.set(`${result.indicator} ${entity} ${period} ${from}`, figure);
      }
    }
  }
  expectSame(found, expected, "figures of devices");
}

/** Every figure of every period until now, by brute force from everything delivered; status and revision left to others. */
function expectFigures({ results, clock }: Run, oracle: Oracle): void {
  const nowMs = clock.now();
  const expected = new Map<string, object>();
  const found = new Map<string, object>();
  for (const span of periodsUntil(nowMs)) {
    if (span.period === "minute" && span.to > nowMs) continue;
    const due = nowMs >= span.to + watermarkMs;
    for (const [id, figure] of figuresIn(oracle, span, nowMs)) expected.set(id, { ...figure, due });
  }
  for (const [id, { status, revision: _, ...figure }] of results)
    found.set(id, { ...figure, due: status !== "provisional" });
  expectSame(found, expected, "figures");
}

describe("the same readings", { timeout: 240_000 }, () => {
  const seed = 11;
  const ticks = makeTicks(seed, 28);
  const endMs = (ticks.at(-1) as Tick).atMs;
  const samples = makeSamples(seed, endMs);
  const births = new Map(birthOrder.map((device, i) => [device, (ticks[i * 5] as Tick).atMs]));
  const all = oracleOf(samples, births);
  const span = [startOf("minute", startMs), startOf("minute", endMs)] as const;
  const late = deliver(samples, ticks, seed + 1);

  test("they reach past midnight, so that a day is final", () => {
    expect(endMs).toBeGreaterThan(startOf("day", startMs) + dayMs + watermarkMs);
    expect(samples.length).toBeGreaterThan(500);
  });

  function expectAll(found: Run): void {
    expectFigures(found, all);
    const written = new Map([...found.leaves].filter(([id]) => Number(id.split("@")[1]) < span[1]));
    expectSame(written, expectedLeaves(all, ...span), "leaves");
  }

  test("late, shuffled and repeated, with and without restarts: the same, revision by revision", async () => {
    const followed: Followed = new Map();
    const arrived: Sample[] = [];
    const steady = await run(late, {
      anew: () => false,
      onTick: (nowMs, fresh) => {
        arrived.push(...fresh);
        const born = new Map([...births].filter(([, atMs]) => atMs <= nowMs));
        follow(followed, oracleOf(arrived, born), nowMs);
      },
    });
    expectAll(steady);
    await expectDevices(steady, all);
    // Every indicator has values here, and those that can lack a term are null too.
    const told = (id: string, holds: (figure: Published) => boolean) =>
      [...steady.results].some(([key, figure]) => key.startsWith(`${id}|`) && holds(figure));
    for (const { id, reasons } of indicators.filter(({ id: own }) => judged.has(own))) {
      expect(
        told(id, ({ value }) => value !== null && value !== "0"),
        id,
      ).toBe(true);
      expect(
        told(id, ({ value }) => value === null),
        id,
      ).toBe(reasons.length > 0);
    }
    const larger = new Map([...steady.results].filter(([id]) => !unfollowed.test(id)));
    expectSame(larger, followed, "revisions");
    expect([...larger.values()].some((r) => r.revision > 1)).toBe(true);

    const { chance } = random(seed + 2);
    const restarted = await run(late, { anew: () => chance(0.4) });
    expectAll(restarted);
    expectSame(restarted.results, steady.results, "after restarts");
    // What becomes final later has fewer revisions.
    expectAll(await run(late, { anew: () => chance(0.2), rowsPerTick: 60 }));
  });
});
