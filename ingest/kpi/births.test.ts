import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { hourMs, minuteMs, type Period, watermarkMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { afterEach, expect, test } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const catalogue = indicators.filter(({ id }) => id === "energy.electricity");

useWorld(t0);
let engine: Engine;
afterEach(() => engine.close());

async function start(ledger: Ledger = world.ledger): Promise<void> {
  engine = await createEngine({
    ...{ ...world, ledger, versions: always(testRegistry(false)), clock, catalogue },
    ...{ provisionalIntervalMs: 0, txPerTick: 1000 },
  });
}

/** The engine ends without another look, and a new one goes on. */
async function startAnew(): Promise<void> {
  await engine.close();
  await start();
  await settle(engine);
}

const importing = { role: "energy.import", unit: "kWh" };
const gas = { role: "gas.import", unit: "m3" };

/** What a birth says of a metric of f2's first meter, and since when. @returns the number of its series */
async function born(definition: Partial<MetricDefinition>, sinceMs: number, metric = "e"): Promise<number> {
  const said = { name: metric, datatype: DataType.Double, simulated: false, ...definition };
  const place = { group: "f2", node: "gw-1", device: "meter-1", metric };
  const [series = 0] = await world.telemetry.ensureSeries([{ ...place, definition: said, sinceMs }]);
  return series;
}

/** Readings every ten seconds from t0 up to a moment, each one more by 1 kWh. */
async function store(series: number, toMs: number): Promise<void> {
  const samples = Array.from({ length: (toMs - t0) / 10_000 + 1 }, (_, i) => {
    const sourceTimeMs = t0 + i * 10_000;
    return { series, sourceTimeMs, value: i, status: 0, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

/** Readings of two hours, and their figures, as an engine made them that has ended. */
async function computed(): Promise<void> {
  await start();
  await store(await born(importing, t0), t0 + 2 * hourMs);
  clock.set(t0 + 2 * hourMs + watermarkMs);
  await settle(engine);
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "360", status: "final", revision: 0 });
}

/** The ledger, which takes no figures any more from a moment on, as if the engine were killed before they are written. */
function dyingLedger(): { ledger: Ledger; end: () => void } {
  let refuses = false;
  const writeResults: Ledger["writeResults"] = (results) => {
    if (refuses) throw new Error("killed");
    return world.ledger.writeResults(results);
  };
  return {
    ledger: { ...world.ledger, writeResults },
    end: () => {
      refuses = true;
    },
  };
}

/** Goes on from {@link computed} with an engine of which no figure is written any more. @returns its ledger */
async function dyingEngine(): Promise<Ledger> {
  await computed();
  await engine.close();
  const { ledger, end } = dyingLedger();
  await start(ledger);
  await settle(engine);
  end();
  return ledger;
}

const energy = (period: Period, startMs: number) =>
  world.ledger.readResult({ indicator: "energy.electricity", level: "factory", entity: "f2", period, startMs });
const redefined = () =>
  world.ledger.findings(9).flatMap(({ code, count }) => (code === "METRIC_REDEFINED" ? [count] : []));

test("what a late birth changes while no engine looks is taken up by the next one, of long ago and of just now", async () => {
  await computed();
  await born(gas, t0 + 30 * minuteMs);
  await startAnew();
  expect(energy("hour", t0)).toMatchObject({ value: "179", status: "revised", revision: 1 });
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: null, reason: "no_data", revision: 1 });
  expect(redefined()).toEqual([1]);
  // Less than an hour ago, and longer than the watermark.
  await born(importing, t0 + 100 * minuteMs);
  await startAnew();
  expect(energy("quarter_hour", t0 + 105 * minuteMs)).toMatchObject({ value: "90", status: "revised" });
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "120", revision: 2 });
  expect(redefined()).toEqual([2]);
  await startAnew();
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "120", revision: 2 });
  expect(redefined(), "once").toEqual([2]);
});

test("one that was taken up by an engine whose figures came to nothing is taken up again", async () => {
  await dyingEngine();
  const series = await born(gas, t0 + 100 * minuteMs);
  await store(series, t0 + 2 * hourMs + minuteMs);
  await expect(engine.tick({ thorough: true })).rejects.toThrow("killed");
  expect(redefined(), "it had begun").toEqual([1]);
  // What it folded is written: nothing but what is noted of the birth tells the next one of it.
  world.ledger.setNumber("kpi.foldedTx", await world.telemetry.lastTx());
  await startAnew();
  expect(energy("quarter_hour", t0 + 105 * minuteMs)).toMatchObject({ value: null, revision: 1 });
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "239", status: "revised", revision: 1 });
});

test("what a birth of long ago changes is asked for once, whichever engines end before it is computed again", async () => {
  const dying = await dyingEngine();
  // The increase up to its edge belongs to the hour before.
  await store(await born(gas, t0 + hourMs), t0 + 2 * hourMs + minuteMs);
  await expect(engine.tick({ thorough: true })).rejects.toThrow("killed");
  await engine.close();
  await start(dying);
  await expect(engine.tick({ thorough: true })).rejects.toThrow("killed");
  world.ledger.setNumber("kpi.foldedTx", await world.telemetry.lastTx());
  await startAnew();
  expect([redefined(), world.ledger.recompute(2)]).toEqual([[1], undefined]);
  expect(energy("hour", t0)).toMatchObject({ value: "359", status: "revised", revision: 1 });
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: null, reason: "no_data", revision: 1 });
});

test("a series that came up since an engine began whose figures came to nothing is no new one to the next", async () => {
  const dying = dyingLedger();
  await start(dying.ledger);
  await settle(engine);
  clock.set(t0 + 2 * hourMs + watermarkMs);
  await store(await born(importing, t0), t0 + 2 * hourMs);
  dying.end();
  await expect(engine.tick({ thorough: true })).rejects.toThrow("killed");
  await born(gas, t0 + 90 * minuteMs);
  await startAnew();
  expect(redefined()).toEqual([1]);
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "179" });
});

test("a ledger that never noted births has nothing computed again at its first start, and what comes then is", async () => {
  await computed();
  await engine.close();
  world.ledger.forgetTakenUp();
  await born(gas, t0 + 90 * minuteMs);
  await startAnew();
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "360", revision: 0 });
  expect([redefined(), world.ledger.recompute(1)]).toEqual([[], undefined]);
  await born(gas, t0 + 75 * minuteMs);
  await startAnew();
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "89", revision: 1 });
  // Also where that start is all that came of an engine.
  await engine.close();
  world.ledger.forgetTakenUp();
  await start();
  await born(gas, t0 + 65 * minuteMs);
  await startAnew();
  expect(energy("hour", t0 + hourMs)).toMatchObject({ value: "29", revision: 2 });
});

test("another store in the place of the one that was known: its births are new", async () => {
  await computed();
  world.ledger.setNumber("kpi.foldedTx", 1e6);
  await born(gas, t0 + 30 * minuteMs);
  await startAnew();
  expect([redefined(), world.ledger.recompute(1)]).toEqual([[], undefined]);
  expect(world.ledger.takenUp()).toHaveLength(1);
});

test("only what is new or has changed is written, and what is new is no change", async () => {
  const written: string[][] = [];
  const noteTakenUp: Ledger["noteTakenUp"] = (own) => {
    written.push(own.map(({ series }) => (JSON.parse(series) as string[])[3] as string));
    world.ledger.noteTakenUp(own);
  };
  const ledger = { ...world.ledger, noteTakenUp };
  await born(importing, t0);
  await born({ role: "temperature" }, t0, "t");
  await start(ledger);
  await settle(engine);
  expect(written.splice(0)).toEqual([["e", "t"]]);
  clock.set(t0 + 90 * minuteMs);
  await born({ role: "temperature" }, t0, "new");
  await born(gas, t0 + 10 * minuteMs);
  await store(await born({ role: "temperature", unit: "°C" }, t0 + minuteMs, "new"), t0 + hourMs);
  await settle(engine);
  expect(written.splice(0), "what is new before it is folded").toEqual([["new"], ["e"]]);
  await engine.close();
  await start(ledger);
  await settle(engine);
  expect(written).toEqual([]);
  expect(redefined(), "of the one that was known, once").toEqual([1]);
}, 30_000);
