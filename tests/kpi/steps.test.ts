import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { createEngine, type Engine } from "@jilian/ingest/kpi/engine.ts";
import { applyRegistry, born, clock, everything, settle, useWorld, world } from "@jilian/ingest/kpi/test-engine.ts";
import { plantRegistry } from "@jilian/ingest/kpi/test-plant.ts";
import { random } from "@jilian/ingest/test-random.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import type { SampleRow, Telemetry } from "@jilian/store/telemetry.ts";
import { expect, test } from "vitest";
import { isThorough } from "../thorough.ts";

/** Midnight in Shanghai. */
const t0 = Date.UTC(2026, 10, 29, 16, 0);
useWorld(t0);

const ids = ["energy.electricity", "devices.online", "oee.availability", "energy.unit_product"];
const catalogue = indicators.filter(({ id }) => ids.includes(id));
const energy = { role: "energy.import", unit: "kWh", datatype: DataType.Double };
const state = { role: "machine.state", datatype: DataType.Int32 };
const metrics = [
  { group: "f1", device: "meter-1", metric: "e", ...energy, modulus: "1000" },
  { group: "f2", device: "meter-1", metric: "e", ...energy },
  { group: "f2", device: "meter-1", metric: "p", role: "power.active", unit: "kW", datatype: DataType.Double },
  { group: "f2", device: "press-1", metric: "s", ...state },
  { group: "f1", device: "press-1", metric: "s", ...state },
];
const heartbeats = [10_000, minuteMs, 20 * minuteMs, hourMs];

/** Everything that leaves, online time and states say. */
async function leaves(): Promise<Map<string, string>> {
  const { telemetry } = world;
  const series = (await telemetry.series()).map(({ id }) => id);
  const found = new Map<string, string>();
  const text = (value: object) => JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v));
  for (const { series: id, minuteMs: at, leaf } of await telemetry.readLeaves(series, 0, 1e15))
    if (leaf.samples + leaf.resets + leaf.coveredMs + leaf.gapMs > 0) found.set(`leaf ${id} ${at}`, text(leaf));
  for (const { series: id, minuteMs: at, leaf } of await telemetry.readStates(series, 0, 1e15))
    if (leaf.samples + minuteMs - leaf.unknownMs > 0) found.set(`state ${id} ${at}`, text(leaf));
  for (const { device, minuteMs: at, onlineMs } of await telemetry.readConnections([], 0, 1e15))
    if (onlineMs > 0) found.set(`online ${device} ${at}`, String(onlineMs));
  return found;
}

function differing(found: ReadonlyMap<string, unknown>, expected: ReadonlyMap<string, unknown>): string[] {
  return [...new Set([...found.keys(), ...expected.keys()])]
    .map((key) => [key, JSON.stringify(found.get(key)), JSON.stringify(expected.get(key))] as const)
    .filter(([, a, b]) => a !== b)
    .map(([key, a, b]) => `${key}: ${a} instead of ${b}`)
    .slice(0, 5);
}

/** A store that fails once, at the n-th question from now on. */
function failing() {
  let left = 0;
  const ask =
    <A extends unknown[], R>(question: (...given: A) => Promise<R>) =>
    async (...given: A): Promise<R> => {
      left -= 1;
      if (left === 0) throw new Error("the store fails");
      return await question(...given);
    };
  const { readMany, readWithNeighbours, series } = world.telemetry;
  const telemetry: Telemetry = {
    ...world.telemetry,
    ...{ readMany: ask(readMany), readWithNeighbours: ask(readWithNeighbours), series: ask(series) },
  };
  return {
    telemetry,
    failAt: (n: number) => {
      left = n;
    },
  };
}

/** What may happen between two ticks, by chance. */
function happenings(series: readonly number[], { whole, chance }: ReturnType<typeof random>) {
  const past = () => t0 + whole(clock.now() - t0);
  /** Of a time and series always the same. */
  const sample = (i: number, at: number): SampleRow => {
    const { role } = metrics[i] as (typeof metrics)[number];
    const tenths = Math.floor(((at - t0) / 36_000) % 10_000);
    const value = role === "machine.state" ? Math.floor(at / 1000) % 3 : at % 29 === 5 ? 0 : tenths / 10;
    const times = { sourceTimeMs: at, gatewayTimeMs: at, ingestTimeMs: clock.now() };
    return { series: series[i] as number, value, status: at % 11 === 3 ? 0x80050000 : 0, ...times };
  };
  function stretch(i: number): SampleRow[] {
    const stepMs = [20_000, 90_000, 30 * minuteMs, hourMs][whole(4)] as number;
    let at = chance(0.3) ? clock.now() - stepMs * whole(3) : past();
    if (chance(0.3)) at = Math.floor(at / minuteMs) * minuteMs;
    const rows: SampleRow[] = [];
    for (const n = 1 + whole(11); rows.length < n && at < clock.now() + 2 * minuteMs; ) {
      rows.push(sample(i, at));
      at += stepMs - (chance(0.5) ? whole(stepMs / 3) : 0);
    }
    return rows;
  }
  const write = async (samples: SampleRow[]) => void (await world.telemetry.write({ samples, commits: [] }));
  const registry = () => {
    const file = structuredClone(plantRegistry().file);
    const gateways = file.enterprises.flatMap((one) => one.factories).flatMap((one) => one.gateways);
    for (const device of gateways.flatMap((one) => one.devices)) {
      if (device.states) device.states = { running: chance(0.5) ? [1, 2] : [whole(3)] };
      if (device.id === "meter-1") device.ratedPowerKW = 100 + whole(500);
    }
    applyRegistry(file, chance(0.5) ? past() : 0);
  };
  return {
    registry,
    /** The last reading of all: what births say is taken up with readings. */
    now: () => write([sample(0, clock.now())]),
    readings: () => write(metrics.flatMap((_, i) => (chance(0.4) ? [] : stretch(i)))),
    time: async () => clock.set(clock.now() + whole(chance(0.3) ? 2 * hourMs : 3 * minuteMs)),
    birth: async () => {
      const { group, device, metric, ...said } = metrics[whole(metrics.length)] as (typeof metrics)[number];
      const heartbeatMs = heartbeats[whole(4)] as number;
      const other = { role: chance(0.5) ? "temperature" : said.role, simulated: chance(0.3) };
      await born(
        { group, node: "gw-1", device, metric },
        { ...said, heartbeatMs, ...(chance(0.5) && other) },
        {
          sinceMs: past(),
        },
      );
    },
    recompute: async () =>
      void world.ledger.addRecompute({ fromMs: past(), toMs: clock.now(), reason: "command" }, clock.now()),
  };
}

/** Some ten seconds a seed; what each of its findings was has a test of its own in ingest/kpi/. */
test.skipIf(!isThorough).each([111, 112, 113])(
  "folded in small steps, with everything between them: leaves and figures are those of the store folded whole (JILIAN_TESTS=all, seed %d)",
  async (seed) => {
    const dice = random(seed);
    const { whole, chance } = dice;
    const series: number[] = [];
    for (const { group, device, metric, ...said } of metrics)
      series.push(
        await born({ group, node: "gw-1", device, metric }, { ...said, heartbeatMs: heartbeats[whole(4)] ?? 1 }),
      );
    clock.set(t0 + 3 * hourMs + whole(hourMs));
    const { registry, now, ...what } = happenings(series, dice);
    registry();
    const { telemetry, failAt } = failing();
    const start = (rowsPerTick = 1 + whole(80)) =>
      createEngine({
        ...{ ...world, telemetry, versions: followVersions(world.ledger), clock, catalogue, provisionalIntervalMs: 0 },
        ...{ rowsPerTick, txPerTick: 1 + whole(6), factoriesPerTick: 1 + whole(200) },
      });
    let engine: Engine = await start();
    const restart = async (rowsPerTick?: number) => {
      await engine.close();
      engine = await start(rowsPerTick);
    };
    const acts = [
      what.readings,
      what.readings,
      what.readings,
      what.time,
      restart,
      what.birth,
      registry,
      what.recompute,
    ];
    for (let n = 0; n < 14; n += 1) {
      failAt(0);
      await (acts[whole(acts.length)] as () => unknown)();
      if (chance(0.2)) failAt(1 + whole(4));
      for (let ticks = whole(4); ticks > 0; ticks -= 1)
        await engine.tick({ thorough: chance(0.7) }).catch(({ message }) => expect(message).toBe("the store fails"));
    }
    failAt(0);
    await now();
    await settle(engine);
    clock.set(clock.now() + 2 * minuteMs + whole(hourMs));
    await settle(engine);
    const [ownLeaves, ownFigures] = [await leaves(), await everything()];
    expect(ownFigures.size).toBeGreaterThan(50);
    world.ledger.addRecompute({ fromMs: t0 - hourMs, toMs: clock.now(), reason: "command" }, clock.now());
    world.ledger.setNumber("kpi.foldedTx", 0);
    await restart(Number.POSITIVE_INFINITY);
    await settle(engine);
    await engine.close();
    expect(differing(ownLeaves, await leaves())).toEqual([]);
    expect(differing(ownFigures, await everything())).toEqual([]);
  },
  60_000,
);
