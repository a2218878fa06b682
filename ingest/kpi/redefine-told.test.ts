import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { hourMs, minuteMs, watermarkMs } from "@jilian/domain/periods.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { born, clock, every10s, everything, settle as settled, store, useWorld, world } from "./test-engine.ts";

/** Births that tell of long ago: what people and figures hear of it. */

/** 10:00 in Shanghai, noon, and the start of that day. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const noon = t0 + 2 * hourMs;
const day = t0 - 10 * hourMs;
const second = 1000;
const catalogue = indicators.filter(({ id }) =>
  ["energy.electricity", "devices.online", "devices.online_rate"].includes(id),
);

useWorld(t0);
let engine: Engine;
beforeEach(async () => {
  engine = await engineOf();
});
afterEach(() => engine.close());

const engineOf = (): Promise<Engine> =>
  createEngine({
    ...{ ...world, versions: always(testRegistry(false)), clock, catalogue },
    ...{ provisionalIntervalMs: 0, txPerTick: 1000 },
  });

async function settle(nowMs = clock.now()): Promise<void> {
  clock.set(nowMs);
  await settled(engine);
}

const importing = { datatype: DataType.Double, role: "energy.import", unit: "kWh" };
const gas = { datatype: DataType.Double, role: "gas.import", unit: "m3" };
const meter = { group: "f2", node: "gw-1", device: "meter-1", metric: "e" };
const press = { group: "f3", node: "gw-1", device: "press-1", metric: "n" };

const energy = (period: "hour", startMs: number) =>
  world.ledger.readResult({ indicator: "energy.electricity", level: "factory", entity: "f2", period, startMs });

/** The same figures after a recompute of everything, and by an engine that folds all of the store anew. */
async function expectSameDigits(): Promise<void> {
  const before = await everything();
  world.ledger.addRecompute({ fromMs: day, toMs: clock.now(), reason: "command" }, clock.now());
  await settle();
  expect(await everything()).toEqual(before);
  await engine.close();
  world.ledger.setNumber("kpi.foldedTx", 0);
  engine = await engineOf();
  await settle();
  expect(await everything()).toEqual(before);
}

test("an old birth while a minute runs: the readings of that minute, which nothing follows, are folded again too", async () => {
  const series = await born(meter, { ...importing, simulated: true }, { sinceMs: t0 });
  const other = await born(press, { role: "temperature" }, { sinceMs: t0 });
  await store(series, every10s(t0, noon + 2 * hourMs + 40 * second, 1));
  await settle(noon + 2 * hourMs + 45 * second);
  await born(meter, importing, { sinceMs: t0 + 30 * minuteMs });
  await store(other, [[clock.now(), 20]]);
  await settle();
  await settle(noon + 3 * hourMs + watermarkMs);
  expect(energy("hour", noon + 2 * hourMs)?.value).toBe("4");
  await expectSameDigits();
});

test("what was since ever is another one than was known: figures begin no earlier", async () => {
  const series = await born(meter, importing, { sinceMs: t0 + hourMs });
  await store(series, every10s(t0, noon, 1));
  await settle(noon + hourMs);
  const since = { sinceMs: t0 + 30 * minuteMs, bornMs: noon + hourMs };
  const earlier = [{ sinceMs: 0, definition: { ...gas, name: "e", simulated: false } }];
  await world.telemetry.ensureSeries([
    { ...meter, definition: { ...importing, name: "e", simulated: false }, ...since, earlier },
  ]);
  await store(series, [[clock.now(), 9000]]);
  await settle(noon + 2 * hourMs);
  expect(energy("hour", t0)).toMatchObject({ value: "180", status: "revised" });
  const all = world.ledger.readResults({ level: "factory", period: "hour", fromMs: 0, toMs: 1e15, limit: 1e6 });
  expect(Math.min(...all.map(({ startMs }) => startMs))).toBeGreaterThanOrEqual(t0 - hourMs);
  await expectSameDigits();
});

test("what it was for a time between, as its gateway tells, is a finding too", async () => {
  const series = await born(meter, { ...importing, simulated: true }, { sinceMs: t0 });
  await store(series, every10s(t0, noon, 1));
  await settle(noon + 2 * hourMs + watermarkMs);
  const said = { name: "e", ...importing, simulated: true };
  const between = [
    { sinceMs: t0 + 30 * minuteMs, definition: { ...said, heartbeatMs: 5000 } },
    { sinceMs: t0 + 60 * minuteMs, definition: { ...said, simulated: false } },
  ];
  const since = { sinceMs: t0 + 90 * minuteMs, bornMs: noon + 2 * hourMs };
  await world.telemetry.ensureSeries([{ ...meter, definition: said, ...since, earlier: between }]);
  await store(series, [[clock.now(), 2000]]);
  await settle();
  expect(Number(energy("hour", t0 + hourMs)?.value)).toBeGreaterThan(0);
  expect(world.ledger.findings(99).filter(({ code }) => code === "METRIC_REDEFINED")).toMatchObject([
    {
      subject: "f2/gw-1/meter-1",
      detail:
        "e from 2026-11-22T11:00:00+08:00: energy.import kWh simulated before, energy.import kWh then, energy.import kWh simulated now",
    },
  ]);
});
