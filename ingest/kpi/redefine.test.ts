import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs, type Period, watermarkMs } from "@jilian/domain/periods.ts";
import type { Level } from "@jilian/domain/result.ts";
import { indexRegistry, type Registry } from "@jilian/store/registry.ts";
import { maxDefinitions } from "@jilian/store/series-versions.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { foldConnections } from "./fold.ts";
import { seriesIndex } from "./series-index.ts";
import { born, clock, every10s, everything, settle as settled, store, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai, noon, and the start of that day. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const noon = t0 + 2 * hourMs;
const day = t0 - 10 * hourMs;
const second = 1000;

useWorld(t0);
let engine: Engine;
beforeEach(async () => {
  engine = await engineOf();
});
afterEach(() => engine.close());

/** The tests' registry with one meter in f2, so that its figures are whole with one. */
function registry(): Registry {
  const file = structuredClone(testRegistry(false).file);
  const f2 = file.enterprises[0]?.factories[1];
  f2?.gateways[0]?.devices.splice(1);
  const f3 = file.enterprises[1]?.factories[0]?.gateways[0]?.devices[0];
  Object.assign(f3 ?? {}, { output: true, states: { running: [1] } });
  return indexRegistry(file);
}

const engineOf = (): Promise<Engine> =>
  createEngine({ ...world, versions: always(registry()), clock, provisionalIntervalMs: 0, txPerTick: 1000 });

async function settle(nowMs = clock.now()): Promise<void> {
  clock.set(nowMs);
  await settled(engine);
}

const importing = { datatype: DataType.Double, role: "energy.import", unit: "kWh" };
const gas = { datatype: DataType.Double, role: "gas.import", unit: "m3" };
const meter = { group: "f2", node: "gw-1", device: "meter-1", metric: "e" };
const press = { group: "f3", node: "gw-1", device: "press-1", metric: "n" };

const figure = (indicator: string, period: Period, startMs: number, entity = "f2", level: Level = "factory") =>
  world.ledger.readResult({ indicator, level, entity, period, startMs });
const energy = (period: Period, startMs: number) => figure("energy.electricity", period, startMs);

/** The same figures after a recompute of everything; `anew`: and by an engine that folds all of the store anew. */
async function expectSameDigits(anew = false): Promise<void> {
  const before = await everything();
  expect(before.size).toBeGreaterThan(1000);
  world.ledger.addRecompute({ fromMs: day, toMs: clock.now(), reason: "command" }, clock.now());
  await settle();
  expect(await everything()).toEqual(before);
  if (!anew) return;
  await engine.close();
  world.ledger.setNumber("kpi.foldedTx", 0);
  engine = await engineOf();
  await settle();
  expect(await everything()).toEqual(before);
}

describe("a birth that changes what a metric is", { timeout: 120_000 }, () => {
  test("role and unit at noon: the morning and the day keep what the morning was, also when readings come late", async () => {
    const series = await born(meter, importing, { sinceMs: t0 });
    await store(
      series,
      every10s(t0, noon, 1).filter(([at]) => at !== t0 + 15 * minuteMs),
    );
    await settle(noon + 30 * minuteMs);
    await born(meter, gas, { sinceMs: noon + 30 * minuteMs });
    await store(series, every10s(noon + 30 * minuteMs, noon + 90 * minuteMs, 100, 5));
    await settle(noon + 2 * hourMs + watermarkMs);
    const before = { value: "360", completeness: 1, lowerBound: false, status: "final", revision: 0 };
    expect(energy("hour", t0)).toMatchObject(before);
    expect(energy("day", day)).toMatchObject({ value: "720", lowerBound: false });
    // It was the one register of electricity.
    expect(energy("hour", noon + hourMs)).toMatchObject({ value: null, reason: "no_data" });
    // The one that is missing; and one of the morning that makes a difference.
    await store(series, [
      [t0 + 15 * minuteMs, 90],
      [t0 + 10 * minuteMs + 5 * second, 61],
    ]);
    await settle();
    expect(energy("hour", t0)).toMatchObject({ value: "360" });
    expect(energy("quarter_hour", t0)).toMatchObject({ value: "90", status: "final" });
    expect(await world.telemetry.series()).toMatchObject([{ definition: gas }]);
    await expectSameDigits(true);
    expect(energy("day", day)).toMatchObject({ value: "720" });
  });

  test("simulated from noon on, and real again: what was real counts, what a simulator says does not", async () => {
    const series = await born(meter, importing, { sinceMs: t0 });
    await store(series, every10s(t0, noon, 1));
    await settle(noon + minuteMs);
    await born(meter, { ...importing, simulated: true }, { sinceMs: noon + minuteMs });
    await store(series, every10s(noon + minuteMs, noon + hourMs - minuteMs, 7));
    await born(meter, importing, { sinceMs: noon + hourMs });
    await store(series, every10s(noon + hourMs, noon + 2 * hourMs, 2, 9000));
    await settle(noon + 2 * hourMs + watermarkMs);
    const rate = (at: number) => figure("devices.online_rate", "hour", at)?.value;
    expect([t0, noon, noon + hourMs].map((at) => energy("hour", at)?.value)).toEqual(["360", null, "720"]);
    expect(energy("day", day)).toMatchObject({ value: "1440", simulated: false });
    expect(rate(t0)).toBe("1");
    // A minute of the last real reading's hold.
    expect(Number(rate(noon))).toBeLessThan(0.02);
    expect(Number(rate(noon + hourMs))).toBeGreaterThan(0.99);
    await store(series, [[noon - 35 * second, 716.5]]);
    await settle();
    expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "360" });
    await expectSameDigits();
  });

  test("roles that change places: the register is one series before and the other one after", async () => {
    const other = { ...meter, metric: "e2" };
    const [a, b] = [await born(meter, importing, { sinceMs: t0 }), await born(other, gas, { sinceMs: t0 })];
    await store(a, every10s(t0, noon - 10 * second, 1));
    await store(b, every10s(t0, noon - 10 * second, 5));
    await settle(noon);
    await born(meter, { ...importing, role: "gas.import", unit: "m3" }, { sinceMs: noon });
    await born(other, importing, { sinceMs: noon });
    await store(a, every10s(noon, noon + hourMs, 1, 720));
    await store(b, every10s(noon, noon + hourMs, 3, 9000));
    await settle(noon + hourMs + watermarkMs);
    expect(energy("hour", t0)).toMatchObject({ value: "360" });
    expect(energy("hour", noon)).toMatchObject({ value: "1080", completeness: 1 });
    // From 11:59:50 to noon nothing is told: what lies between has no meaning.
    expect(energy("hour", noon - hourMs)).toMatchObject({ value: "359", completeness: 0.9972, lowerBound: false });
    expect(energy("day", day)).toMatchObject({ value: "1799" });
    expect(figure("energy.demand_max", "day", day)).toMatchObject({ value: "1080" });
    await expectSameDigits(true);
  });

  test("within a minute, with readings that may be of either: none is taken for what it is not", async () => {
    const series = await born(meter, importing, { sinceMs: t0 });
    await store(series, every10s(t0, noon + 10 * second, 1));
    // The gateway starts anew with another register behind the tag, and reads it before it gives birth.
    const [restart, birth] = [noon + 20 * second, noon + 22 * second];
    await settle(noon + 21 * second);
    await store(series, [[restart, 800_000]]);
    await born(meter, { ...importing, role: "gas.import", unit: "m3" }, { sinceMs: birth, doubtMs: restart });
    await store(series, every10s(noon + 30 * second, noon + hourMs, 1, 800_001));
    await settle(noon + hourMs + watermarkMs);
    expect(energy("hour", noon)).toMatchObject({ value: "1", lowerBound: false });
    expect(energy("day", day)).toMatchObject({ value: "721", lowerBound: false });
  });

  test("a heartbeat that changes parts nothing: the register goes on, its gaps are those of its time", async () => {
    const series = await born(meter, { ...importing, heartbeatMs: 10 * second }, { sinceMs: t0 });
    await store(series, every10s(t0, noon, 1));
    await born(meter, { ...importing, heartbeatMs: 60 * second }, { sinceMs: noon });
    const rows = Array.from({ length: 40 }, (_, i) => [noon + (i + 1) * 90 * second, 720 + (i + 1) * 9] as const);
    await store(series, rows);
    await settle(noon + hourMs + watermarkMs);
    expect(energy("hour", noon)).toMatchObject({ value: "360", completeness: 1, estimatedShare: 0 });
  });

  test("a birth of an older time that comes late: figures since then are revised", async () => {
    const series = await born(meter, importing, { sinceMs: t0 });
    await store(series, every10s(t0, noon, 1));
    await settle(noon + 2 * hourMs + watermarkMs);
    expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "360", status: "final" });
    await born(meter, gas, { sinceMs: t0 + 90 * minuteMs });
    await store(series, [[noon + 2 * hourMs, 3]]);
    await settle();
    expect(energy("hour", t0)).toMatchObject({ value: "360", revision: 0 });
    expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "179", status: "revised", revision: 1 });
    expect(energy("day", day)).toMatchObject({ value: "539" });
    await expectSameDigits();
  });

  test("a birth whose doubt begins before it: what leads up to the doubt is folded again too", async () => {
    const series = await born(meter, importing, { sinceMs: t0 });
    const everyMinute = (fromMs: number, count: number, first: number, rise: number) =>
      Array.from({ length: count }, (_, i) => [fromMs + i * minuteMs + 40 * second, first + i * rise] as const);
    await store(series, everyMinute(t0, 120, 0, 6));
    await settle(noon + 5 * second);
    await born(meter, gas, { sinceMs: noon + 30 * second, doubtMs: noon - 20 * second });
    await store(series, everyMinute(noon, 60, 50_000, 1));
    await settle(noon + 2 * hourMs + watermarkMs);
    await expectSameDigits();
  });

  test("an old birth in a gap: the gap's other end, in the hour before, is folded again too", async () => {
    const series = await born(meter, importing, { sinceMs: t0 });
    await store(series, every10s(t0, noon - 10 * minuteMs, 1));
    await store(series, every10s(noon + 10 * minuteMs, noon + hourMs, 1, 800_000));
    await settle(noon + 3 * hourMs + watermarkMs);
    await born(meter, gas, { sinceMs: noon + 5 * minuteMs });
    await store(series, [[noon + 3 * hourMs, 900_000]]);
    await settle();
    expect(Number(energy("hour", noon - hourMs)?.value)).toBeLessThan(1000);
    await expectSameDigits();
  });

  test("a second old birth while the recompute of the first one waits", async () => {
    const pieces = { datatype: DataType.Int64, role: "production.total", unit: "pcs" };
    const made = await born(press, { ...pieces, product: "a" }, { sinceMs: t0 });
    const series = await born(meter, importing, { sinceMs: t0 });
    await store(made, every10s(t0, t0 + 6 * hourMs, 1));
    await settle(t0 + 6 * hourMs);
    await born(press, { ...pieces, product: "b" }, { sinceMs: t0 + 10 * minuteMs });
    await store(made, [[t0 + 6 * hourMs + second, 9721]]);
    await engine.tick();
    clock.set(t0 + 8 * hourMs + 30 * minuteMs);
    await store(series, every10s(t0, t0 + 8 * hourMs, 1));
    await engine.tick();
    expect(world.ledger.nextRecompute()).toMatchObject({ reason: "births" });
    await born(meter, gas, { sinceMs: t0 + 7 * hourMs + 15 * minuteMs });
    await store(series, [[clock.now(), 900_000]]);
    await settle();
    await settle(t0 + 10 * hourMs);
    await expectSameDigits();
  });

  test("online time on both sides of a heartbeat that changes: each minute once, by what held in it", async () => {
    const series = await born(meter, { ...importing, heartbeatMs: 5 * second }, { sinceMs: t0 });
    await store(
      series,
      [0, 1, 2, 3, 4, 5].map((i) => [t0 + i * minuteMs, i] as const),
    );
    await born(meter, { ...importing, heartbeatMs: 20 * second }, { sinceMs: t0 + 3 * minuteMs });
    const index = seriesIndex(world.telemetry, always(registry()));
    await index.learn();
    const found: number[][] = [];
    for await (const rows of foldConnections(world.telemetry, index, await world.telemetry.changedMinutes(0, 99)))
      found.push(...rows.map(({ minuteMs: at, onlineMs }) => [(at - t0) / minuteMs, onlineMs / second]));
    const until = found.filter(([minute = 0]) => minute < 6).sort(([a = 0], [b = 0]) => a - b);
    expect(until).toEqual([0, 1, 2, 3, 4, 5].map((minute) => [minute, minute < 3 ? 15 : 60]));
  });

  test("a machine's counter changes its product, its state becomes another metric: each counts for its time", async () => {
    const pieces = { datatype: DataType.Int64, role: "production.total", unit: "pcs" };
    const series = await born(press, { ...pieces, product: "a" }, { sinceMs: t0 });
    const state = await born({ ...press, metric: "s" }, { role: "machine.state" }, { sinceMs: t0 });
    await store(series, every10s(t0, noon, 1));
    await store(state, every10s(t0, noon, 0, 1));
    await settle(noon + minuteMs);
    await born(press, { ...pieces, product: "b" }, { sinceMs: noon + minuteMs });
    await born({ ...press, metric: "s" }, { role: "temperature", unit: "°C" }, { sinceMs: noon + minuteMs });
    await store(series, every10s(noon + minuteMs, noon + hourMs, 2, 5000));
    await store(state, every10s(noon + minuteMs, noon + hourMs, 0, 1));
    await settle(noon + 2 * hourMs);
    const rate = (at: number) => figure("production.throughput", "hour", at, "f3");
    expect(rate(t0)).toMatchObject({ value: "360", completeness: 1 });
    expect(rate(noon)).toMatchObject({ value: "708", completeness: 0.9833, lowerBound: false });
    // Of two products no rate is told.
    expect(figure("production.throughput", "day", day, "f3")).toMatchObject({ value: null, reason: "mixed_products" });
    const [minute] = await world.telemetry.readStates([state], noon - minuteMs, noon);
    expect(minute?.leaf.ms).toEqual({ 1: 60_000 });
    expect(await world.telemetry.readStates([state], noon + 2 * minuteMs, noon + hourMs)).toEqual([]);
  });

  test("is told as a finding, and one that flaps is bounded", async () => {
    const series = await born(meter, importing, { sinceMs: t0 });
    await store(series, every10s(t0, t0 + 10 * minuteMs, 1));
    await settle(t0 + 10 * minuteMs);
    await born(meter, gas, { sinceMs: clock.now() });
    await store(series, [[clock.now() + second, 5]]);
    await settle(t0 + 11 * minuteMs);
    const told = () => world.ledger.findings(99).find(({ code }) => code === "METRIC_REDEFINED");
    expect(told()).toMatchObject({
      subject: "f2/gw-1/meter-1",
      detail: "e from 2026-11-22T10:10:00+08:00: energy.import kWh before, gas.import m3 now",
      count: 1,
    });
    for (let i = 1; i <= 2 * maxDefinitions; i += 1)
      await born(meter, i % 2 ? importing : gas, { sinceMs: clock.now() + i * second });
    await store(series, [[clock.now() + 201 * second, 6]]);
    await settle(t0 + 20 * minuteMs);
    expect(told()?.detail).toContain(`${maxDefinitions} changes are kept`);
    expect((await world.telemetry.series())[0]?.dated?.length).toBeLessThanOrEqual(maxDefinitions);
    // The reading at the moment of the birth is of the new one.
    expect(energy("quarter_hour", t0)).toMatchObject({ value: "59" });
  });
});
