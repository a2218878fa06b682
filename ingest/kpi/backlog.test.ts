import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs, type Period } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { ChangedMinute, Telemetry } from "@jilian/store/telemetry.ts";
import { expect, test } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine } from "./engine.ts";
import { changeReader } from "./progress.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);

useWorld(t0);

const setting = () => ({
  ...world,
  versions: always(testRegistry(false)),
  clock,
  provisionalIntervalMs: 0,
  txPerTick: 1000,
});

/** Stores readings of the register of f2's first meter, kWh, in one transaction. */
async function store(readings: readonly (readonly [atMs: number, value: number])[]): Promise<void> {
  const definition = {
    name: "energy",
    datatype: DataType.Double,
    role: "energy.import",
    unit: "kWh",
    simulated: false,
  };
  const place = { group: "f2", node: "gw-1", device: "meter-1", metric: "energy" };
  const [series = 0] = await world.telemetry.ensureSeries([{ ...place, definition }]);
  const samples = readings.map(([sourceTimeMs, value]) => ({
    ...{ series, sourceTimeMs, value, status: 0 },
    ...{ gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() },
  }));
  await world.telemetry.write({ samples, commits: [] });
}

async function figure(period: Period, startMs: number): Promise<Result | undefined> {
  const of = { indicator: "energy.electricity", level: "factory", entity: "f2" } as const;
  const query = { ...of, period, fromMs: startMs, toMs: startMs + 1, limit: 1 };
  const found = period === "minute" ? await world.telemetry.readMinuteResults(query) : world.ledger.readResults(query);
  return found[0];
}

const every = (fromMs: number, toMs: number, stepMs: number, kWh: (i: number) => number) =>
  Array.from({ length: Math.ceil((toMs - fromMs) / stepMs) }, (_, i) => [fromMs + i * stepMs, kWh(i)] as const);

test("a backlog of hours is taken a bounded part with each tick, the newest first, and each minute is revised once", async () => {
  const first = await createEngine(setting());
  await store([
    [t0, 0],
    [t0 + 4 * hourMs, 480],
  ]);
  clock.set(t0 + 5 * hourMs);
  await settle(first);
  await first.close();
  expect(await figure("minute", t0)).toMatchObject({ value: "2", status: "final" });
  await store(every(t0 + minuteMs, t0 + 4 * hourMs, minuteMs, (i) => (i + 1) * 2 + (i % 2)));
  const engine = await createEngine({ ...setting(), factoriesPerTick: 30 });
  const revised: number[][] = [];
  for (let caughtUp = false; !caughtUp; ) {
    const tick = await engine.tick();
    caughtUp = tick.caughtUp;
    const own = tick.results.filter((r) => r.period === "minute" && r.revision > 0 && r.entity === "f2");
    revised.push([...new Set(own.map(({ startMs }) => startMs))]);
  }
  const ticks = revised.filter((starts) => starts.length > 0);
  // Of the minutes that a tick looks at, some are everybody's and count three factories.
  expect(Math.max(...ticks.map((starts) => starts.length))).toBeLessThanOrEqual(30);
  expect(ticks.flat()).toHaveLength(4 * 60);
  expect(new Set(ticks.flat()).size).toBe(4 * 60);
  const newest = ticks.map((starts) => Math.max(...starts));
  expect(newest).toEqual(newest.toSorted((a, b) => b - a));
  expect(await figure("minute", t0 + 7 * minuteMs)).toMatchObject({ value: "3", status: "revised", revision: 1 });
  expect(await figure("hour", t0)).toMatchObject({ value: "121", status: "revised", revision: 1 });
});

test("a present that fills every tick neither leaves late minutes over nor holds up the ledger's progress", async () => {
  // Everybody's minute that runs is as much as a tick takes.
  const engine = await createEngine({ ...setting(), factoriesPerTick: 3 });
  clock.set(t0 + 10 * minuteMs);
  await store(every(t0, t0 + 10 * minuteMs, minuteMs, (i) => i * 2));
  const lateTx = await world.telemetry.lastTx();
  for (let i = 1; i <= 40; i += 1) {
    clock.set(t0 + 10 * minuteMs + i * 5000);
    await store([[clock.now(), 20 + i / 6]]);
    await engine.tick();
  }
  expect(await figure("minute", t0 + 2 * minuteMs)).toMatchObject({ value: "2", status: "provisional" });
  expect(world.ledger.getNumber("kpi.foldedTx")).toBeGreaterThanOrEqual(lateTx);
  await engine.close();
});

test("an engine that ends with figures left noted has vouched for none of their readings", async () => {
  const first = await createEngine(setting());
  const halfHourMs = 30 * minuteMs;
  await store(every(t0, t0 + 4 * hourMs + 1, halfHourMs, (i) => i * 60));
  clock.set(t0 + 5 * hourMs);
  await settle(first);
  await first.close();
  const progress = () => world.ledger.getNumber("kpi.foldedTx") as number;
  const before = progress();
  const engine = await createEngine({ ...setting(), factoriesPerTick: 16 });
  for (let i = 0; i < 8; i += 1) {
    const [fromMs, toMs] = [t0 + i * halfHourMs, t0 + (i + 1) * halfHourMs];
    await store(every(fromMs + minuteMs, toMs, minuteMs, (m) => i * 60 + (m + 1) * 2 + (m % 2)));
    await engine.tick();
  }
  for (let i = 0; i < 3; i += 1) await engine.tick();
  await engine.close();
  expect(progress()).toBeGreaterThan(before);
  expect(progress()).toBeLessThan(await world.telemetry.lastTx());
  const next = await createEngine(setting());
  await settle(next);
  await next.close();
  expect(progress()).toBe(await world.telemetry.lastTx());
  const of = { indicator: "energy.electricity", level: "factory", entity: "f2" } as const;
  const span = { period: "minute", fromMs: t0, toMs: t0 + 4 * hourMs, limit: 1000 } as const;
  const found = await world.telemetry.readMinuteResults({ ...of, ...span });
  expect(found).toHaveLength(240);
  for (const [m, { value, revision }] of found.entries())
    if (m % 30 > 0 && m % 30 < 29) expect([value, revision]).toEqual([m % 2 ? "3" : "1", 1]);
});

test("large transactions are folded few at a time, small ones many", async () => {
  const engine = await createEngine({ ...setting(), minutesPerTick: 40 });
  clock.set(t0 + 8 * hourMs);
  const reading = (m: number) => [t0 + m * minuteMs, m * 2] as const;
  for (let i = 0; i < 24; i += 1) await store(Array.from({ length: 20 }, (_, m) => reading(i * 20 + m)));
  for (let i = 1; i <= 100; i += 1) await store([[t0 + 479 * minuteMs + i, 958]]);
  const steps: number[] = [];
  for (let lag = 124; lag > 0; lag = engine.lagTx()) {
    await engine.tick();
    steps.push(lag - engine.lagTx());
  }
  expect(steps[0]).toBeLessThanOrEqual(20);
  expect(steps.slice(1, 3)).toEqual([2, 2]);
  expect(Math.max(...steps)).toBeGreaterThan(30);
  expect(steps.length).toBeLessThan(15);
  await settle(engine);
  await engine.close();
  expect(await figure("hour", t0 + 6 * hourMs)).toMatchObject({ value: "120", status: "final", revision: 0 });
});

/** The store, and the stretches of minutes whose figures it was asked for: what is computed together is asked for together. */
function askedForMinutes(): { telemetry: Telemetry; asked: [fromMs: number, toMs: number][] } {
  const asked: [number, number][] = [];
  const readMinuteResults: Telemetry["readMinuteResults"] = (query) => {
    if (query.period === "minute") asked.push([query.fromMs, query.toMs]);
    return world.telemetry.readMinuteResults(query);
  };
  return { telemetry: { ...world.telemetry, readMinuteResults }, asked };
}

/** Two hours of minutes were asked for ten at a time at most. */
function expectBoundedParts(asked: readonly (readonly [number, number])[]): void {
  const again = asked.filter(([fromMs]) => fromMs < t0 + 2 * hourMs);
  expect(again.length).toBeGreaterThanOrEqual(12);
  for (const [fromMs, toMs] of again) expect(toMs - fromMs).toBeLessThanOrEqual(10 * minuteMs);
}

test("a recompute computes the minutes of an hour in bounded parts", async () => {
  const first = await createEngine(setting());
  await store(every(t0, t0 + 2 * hourMs + 1, 10 * minuteMs, (i) => i * 20));
  clock.set(t0 + 3 * hourMs);
  await settle(first);
  await first.close();
  world.ledger.addRecompute({ fromMs: t0, toMs: t0 + 2 * hourMs, reason: "test" }, clock.now());
  const { telemetry, asked } = askedForMinutes();
  const engine = await createEngine({ ...setting(), telemetry, factoriesPerTick: 30 });
  await settle(engine);
  await engine.close();
  expect(world.ledger.nextRecompute()).toBeUndefined();
  expectBoundedParts(asked);
});

test("late minutes of one factory are computed in bounded parts: each has everybody's sums", async () => {
  const { telemetry, asked } = askedForMinutes();
  const engine = await createEngine({ ...setting(), telemetry, factoriesPerTick: 30 });
  clock.set(t0 + 3 * hourMs);
  await settle(engine);
  asked.length = 0;
  await store(every(t0, t0 + 2 * hourMs + 1, 10 * minuteMs, (i) => i * 20));
  await settle(engine);
  await engine.close();
  expectBoundedParts(asked);
});

test("what many transactions changed is read in parts and says what one question would", async () => {
  const reading = (i: number) => [t0 + ((i * 7919) % 300) * 1000, i] as const;
  for (let i = 0; i < 60; i += 1) await store([reading(3 * i), reading(3 * i + 1), reading(3 * i + 2)]);
  const { telemetry } = world;
  const lastTx = await telemetry.lastTx();
  const inOrder = (changed: readonly ChangedMinute[]) => changed.toSorted((a, b) => a.minuteMs - b.minuteMs);
  const { changed, upToTx } = await changeReader(telemetry, 1000, 10_000)(0, lastTx);
  expect(upToTx).toBe(lastTx);
  expect(inOrder(changed)).toEqual(inOrder(await telemetry.changedMinutes(0, lastTx)));
  expect(await changeReader(telemetry, 1000, 10_000)(lastTx, lastTx)).toEqual({ changed: [], upToTx: lastTx });
});
