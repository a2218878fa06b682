import { DataType } from "@jilian/domain/datatypes.ts";
import { dayMs, hourMs, minuteMs, type Period, watermarkMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { describe, expect, test } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { clock, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const energy: MetricDefinition = {
  name: "energy",
  datatype: DataType.Double,
  role: "energy.import",
  unit: "kWh",
  simulated: false,
};

useWorld(t0);

function engineOf({ demo = false, txPerTick = 1000 } = {}): Promise<Engine> {
  const { telemetry, ledger } = world;
  return createEngine({
    telemetry,
    ledger,
    versions: always(testRegistry(demo)),
    clock,
    provisionalIntervalMs: 0,
    txPerTick,
  });
}

/** Stores readings of f2's first meter, in one transaction. */
async function store(
  readings: readonly (readonly [atMs: number, value: number | null])[],
  definition: Partial<MetricDefinition> = {},
  device = "meter-1",
  group = "f2",
): Promise<void> {
  const [series = 0] = await world.telemetry.ensureSeries([
    { group, node: "gw-1", device, metric: "energy", definition: { ...energy, ...definition } },
  ]);
  const samples = readings.map(([sourceTimeMs, value]) => ({
    series,
    sourceTimeMs,
    value,
    status: value === null ? 0x80050000 : 0,
    gatewayTimeMs: sourceTimeMs,
    ingestTimeMs: clock.now(),
  }));
  await world.telemetry.write({ samples, commits: [] });
}

async function settle(engine: Engine): Promise<number> {
  for (let ticks = 1; ; ticks += 1) if ((await engine.tick({ thorough: true })).caughtUp) return ticks;
}

async function figure(period: Period, startMs: number, indicator = "energy.electricity"): Promise<Result | undefined> {
  const query = {
    indicator,
    level: "factory",
    entity: "f2",
    period,
    fromMs: startMs,
    toMs: startMs + 1,
    limit: 1,
  } as const;
  const found = period === "minute" ? await world.telemetry.readMinuteResults(query) : world.ledger.readResults(query);
  return found[0];
}

const every = (fromMs: number, toMs: number, stepMs: number, kWh: (i: number) => number) =>
  Array.from({ length: Math.ceil((toMs - fromMs) / stepMs) }, (_, i) => [fromMs + i * stepMs, kWh(i)] as const);

describe("the life of a figure", () => {
  test("provisional, final at the watermark, then revised by late data, each as the ledger has it", async () => {
    const engine = await engineOf();
    // 0.1 kWh every 10 s from 10:00, but nothing from 10:30 to 10:40.
    await store(every(t0, t0 + 30 * minuteMs, 10_000, (i) => i / 10));
    await store(every(t0 + 40 * minuteMs, t0 + 61 * minuteMs, 10_000, (i) => 24 + i / 10));
    clock.set(t0 + 30 * minuteMs);
    await engine.tick();
    // 30 minutes have passed, in 10:29:50 the last reading but one came: half of the hour cannot be known yet.
    expect(await figure("hour", t0)).toMatchObject({ status: "provisional", revision: 0, asOfMs: t0 + 30 * minuteMs });
    clock.set(t0 + hourMs + watermarkMs - 1);
    await engine.tick();
    // f2 has two meters, of which one was read: of 2 x 60 minutes 50 minutes and 10 s are covered.
    const open = { value: "36", completeness: 0.4153, estimatedShare: 0, lowerBound: true, status: "provisional" };
    expect(await figure("hour", t0)).toMatchObject(open);
    clock.set(t0 + hourMs + watermarkMs);
    const { results } = await engine.tick();
    expect(await figure("hour", t0)).toMatchObject({ ...open, status: "final", revision: 0 });
    const told = results.filter((r) => r.period === "hour" && r.startMs === t0 && r.entity === "f2");
    expect(told.map((r) => r.status)).toEqual(told.map(() => "final"));
    // The missing readings come two hours late: the sum is the same, it was interpolated, but now it is known.
    clock.set(t0 + 3 * hourMs);
    await store(every(t0 + 30 * minuteMs, t0 + 40 * minuteMs, 10_000, (i) => 18 + i / 10));
    const late = await engine.tick();
    const revised = { value: "36", completeness: 0.5, status: "revised", revision: 1 };
    expect(await figure("hour", t0)).toMatchObject(revised);
    const shown = late.results.filter((r) => r.period === "hour" && r.startMs === t0 && r.entity === "f2");
    expect(shown.find((r) => r.indicator === "energy.electricity")).toMatchObject(revised);
    expect(await figure("minute", t0 + 35 * minuteMs)).toMatchObject({ value: "0.6", status: "revised", revision: 1 });
    const past = world.ledger.history({
      indicator: "energy.electricity",
      level: "factory",
      entity: "f2",
      period: "hour",
      startMs: t0,
    });
    expect(past).toMatchObject([{ ...open, status: "final", revision: 0 }]);
    await settle(engine);
    expect(await figure("hour", t0)).toMatchObject(revised);
  });

  test("a period without readings is null with a reason, and so is a site without a meter", async () => {
    const engine = await engineOf();
    clock.set(t0 + hourMs + watermarkMs);
    await settle(engine);
    const none = { value: null, completeness: 0, estimatedShare: null, status: "final", revision: 0 };
    expect(await figure("hour", t0)).toMatchObject({ ...none, reason: "no_data" });
    expect(await figure("minute", t0)).toMatchObject({ ...none, reason: "no_data" });
    expect(await figure("hour", t0, "devices.online")).toMatchObject({ value: "0", status: "final" });
    const query = { level: "enterprise", entity: "e2", period: "hour", fromMs: 0, toMs: 1e15, limit: 99 } as const;
    const e2 = world.ledger.readResults({ ...query, indicator: "energy.comprehensive" });
    expect(e2[0]).toMatchObject({ value: null, reason: "no_meter", completeness: null, lowerBound: false });
  });

  test("a day is Shanghai's, and its energy is split at midnight", async () => {
    const midnight = Date.UTC(2026, 10, 22, 16, 0);
    clock.set(midnight - hourMs);
    const engine = await engineOf();
    // Half an hour before midnight to a quarter of an hour after it, evenly: a gap of 45 kWh.
    await store([
      [midnight - 30 * minuteMs, 100],
      [midnight + 15 * minuteMs, 145],
    ]);
    clock.set(midnight + hourMs);
    await settle(engine);
    const before = await figure("day", midnight - dayMs);
    expect(before).toMatchObject({ value: "30", estimatedShare: 1, endMs: midnight, status: "final" });
    expect(await figure("day", midnight)).toMatchObject({ value: "15", estimatedShare: 1, status: "provisional" });
    expect(await figure("minute", midnight - minuteMs)).toMatchObject({ value: "1", estimatedShare: 1 });
  });

  test("periods that have not begun are not published", async () => {
    const engine = await engineOf();
    clock.set(t0 + hourMs - 5000);
    // The readings keep the device online into the next hour; the last has a time of tomorrow.
    await store([
      [t0 + hourMs - 10_000, 1],
      [t0 + hourMs - 6000, 2],
      [t0 + dayMs, 3],
    ]);
    await engine.tick();
    expect(await figure("hour", t0, "devices.online")).toMatchObject({ value: "1" });
    expect(await figure("hour", t0 + hourMs, "devices.online")).toBeUndefined();
    expect(await figure("day", t0 - 10 * hourMs + dayMs, "devices.online")).toBeUndefined();
    clock.set(t0 + hourMs + 1);
    await engine.tick();
    expect(await figure("hour", t0 + hourMs, "devices.online")).toMatchObject({ value: "1" });
  });
});

describe("being behind", () => {
  test("after most of a day without an engine: bounded steps, and nothing final is revised", {
    timeout: 90_000,
  }, async () => {
    await settle(await engineOf());
    const untilMs = t0 + 16 * hourMs;
    clock.set(untilMs);
    // 1 kWh every 2 minutes, an hour in each transaction; of every second hour first, then of the others.
    const hours = Array.from({ length: 16 }, (_, i) => i);
    for (const odd of [0, 1])
      for (const hour of hours.filter((i) => i % 2 === odd))
        await store(
          every(t0 + hour * hourMs, t0 + (hour + 1) * hourMs, 2 * minuteMs, (i) => hour * 30 + i),
          { heartbeatMs: 60_000 },
        );
    const engine = await engineOf({ txPerTick: 3 });
    const finals = new Map<string, number>();
    let ticks = 0;
    for (let caughtUp = false; !caughtUp; ticks += 1) {
      const tick = await engine.tick();
      caughtUp = tick.caughtUp;
      for (const { period, status, startMs } of tick.results)
        if (status !== "provisional") finals.set(`${period} ${startMs}`, ticks);
      if (ticks < 5) expect([...finals.values()], "final while behind").toEqual([]);
    }
    // 6 ticks fold 16 transactions; the minutes until then are made final 240 at a time.
    expect(ticks).toBeGreaterThanOrEqual(6 + Math.floor((16 * 60 - 15) / 240));
    const query = { level: "factory", entity: "f2", fromMs: 0, toMs: 1e15, limit: 1e6 } as const;
    const electricity = { ...query, indicator: "energy.electricity" };
    const minutes = await world.telemetry.readMinuteResults({ ...electricity, period: "minute" });
    expect(minutes).toHaveLength(16 * 60);
    expect(minutes.every((r) => r.value === "0.5" || r.startMs >= untilMs - 2 * minuteMs)).toBe(true);
    const all = [...minutes, ...world.ledger.readResults({ ...electricity, period: "hour" })];
    expect(all.filter((r) => r.status === "revised" || r.revision !== 0)).toEqual([]);
    // The first day's end is 14 hours away.
    expect(await figure("day", t0 - 10 * hourMs)).toMatchObject({ value: "420", status: "final" });
  });

  test("a revision that waits for the engine to catch up survives its end", async () => {
    const engine = await engineOf();
    await store([
      [t0, 0],
      [t0 + 10 * minuteMs, 10],
    ]);
    clock.set(t0 + 2 * hourMs);
    await settle(engine);
    expect(await figure("minute", t0)).toMatchObject({ value: "1", status: "final" });
    // A late reading changes the first minute; then more comes than one tick folds.
    await store([[t0 + minuteMs, 5]]);
    for (let i = 0; i < 5; i += 1) await store([[t0 + 110 * minuteMs + i, 20]]);
    const slow = await engineOf({ txPerTick: 2 });
    expect((await slow.tick()).caughtUp).toBe(false);
    expect(await figure("minute", t0)).toMatchObject({ value: "1", revision: 0 });
    await settle(await engineOf({ txPerTick: 2 }));
    expect(await figure("minute", t0)).toMatchObject({ value: "5", status: "revised", revision: 1 });
  });

  test("minutes that ended while no engine ran have figures at once", async () => {
    await settle(await engineOf());
    await store(every(t0, t0 + 8 * minuteMs, 10_000, (i) => i));
    clock.set(t0 + 8 * minuteMs);
    await (await engineOf()).tick();
    expect(await figure("minute", t0 + 3 * minuteMs)).toMatchObject({ value: "6", status: "provisional" });
  });

  test("a store that was replaced by a shorter one is folded from its beginning", async () => {
    world.ledger.setNumber("kpi.foldedTx", 1_000_000);
    await store(every(t0, t0 + 5 * minuteMs, 10_000, (i) => i));
    clock.set(t0 + 5 * minuteMs);
    const engine = await engineOf();
    await settle(engine);
    expect(await figure("minute", t0 + minuteMs)).toMatchObject({ value: "6" });
    clock.set(t0 + 6 * minuteMs);
    await settle(engine);
    expect(world.ledger.getNumber("kpi.foldedTx")).toBe(await world.telemetry.lastTx());
  });
});

describe("what may come in", () => {
  test("times of 1970 and of next month neither stop the engine nor hold up its progress", async () => {
    const engine = await engineOf();
    await store(every(t0, t0 + 2 * minuteMs + 1, 10_000, (i) => i));
    await store([
      [5000, 7],
      [t0 + 20 * dayMs, 99],
      [t0 + 400 * dayMs, 100],
    ]);
    clock.set(t0 + minuteMs);
    await settle(engine);
    clock.set(t0 + 3 * minuteMs);
    await settle(engine);
    expect(await figure("minute", t0 + minuteMs)).toMatchObject({ value: "6" });
    // Leaves are held back for the minutes just ahead, never for those of next month.
    clock.set(t0 + 15 * minuteMs);
    await settle(engine);
    expect(world.ledger.getNumber("kpi.foldedTx")).toBe(await world.telemetry.lastTx());
  });

  test("simulated readings count where the pilot is a demonstration, and say so", async () => {
    await store(
      every(t0, t0 + 2 * minuteMs, 10_000, (i) => i),
      { simulated: true },
    );
    clock.set(t0 + 2 * minuteMs);
    await settle(await engineOf({ demo: true }));
    const counted = { value: "6", simulated: true };
    expect(await figure("minute", t0)).toMatchObject(counted);
    expect(await figure("minute", t0, "devices.online")).toMatchObject({ value: "1", simulated: true });
  });

  test("simulated readings do not count elsewhere", async () => {
    await store(
      every(t0, t0 + 2 * minuteMs, 10_000, (i) => i),
      { simulated: true },
    );
    const engine = await engineOf();
    clock.set(t0 + 2 * minuteMs);
    await settle(engine);
    expect(await figure("minute", t0)).toMatchObject({ value: null, reason: "no_data", simulated: false });
    expect(await figure("minute", t0, "devices.online")).toMatchObject({ value: "0" });
  });

  test("an increase that cannot be told is a finding, once, and makes a lower bound", async () => {
    const engine = await engineOf();
    await store([
      [t0 + 1000, 100],
      [t0 + 11_000, 101],
      [t0 + 21_000, 3],
      [t0 + 31_000, 4],
    ]);
    clock.set(t0 + minuteMs);
    await settle(engine);
    await settle(await engineOf());
    expect(await figure("minute", t0)).toMatchObject({ value: "2", lowerBound: true });
    expect(world.ledger.findings(10)).toMatchObject([
      { code: "UNEXPLAINED_RESET", subject: "f2/gw-1/meter-1", count: 1 },
    ]);
  });

  test("a role that a later birth declares is noticed within a minute", async () => {
    const engine = await engineOf();
    const { role: _, ...plain } = energy;
    await world.telemetry.ensureSeries([
      { group: "f2", node: "gw-1", device: "meter-1", metric: "energy", definition: plain },
    ]);
    clock.set(t0 + 30_000);
    await engine.tick();
    await store(every(t0 + minuteMs, t0 + 2 * minuteMs, 10_000, (i) => i));
    clock.set(t0 + 2 * minuteMs);
    await engine.tick();
    expect(await figure("minute", t0 + minuteMs)).toMatchObject({ value: "5" });
  });

  test("a tick that fails is made good by the next", async () => {
    const { connectTelemetry } = await import("@jilian/store/thread/owner.ts");
    const flaky = connectTelemetry(await world.telemetry.port());
    const parts = {
      ledger: world.ledger,
      versions: always(testRegistry(false)),
      clock,
      provisionalIntervalMs: 0,
      txPerTick: 10,
    };
    const engine = await createEngine({ ...parts, telemetry: flaky });
    await store(every(t0, t0 + 2 * minuteMs, 10_000, (i) => i));
    clock.set(t0 + 2 * minuteMs);
    const ticking = engine.tick();
    await flaky.close();
    await expect(ticking).rejects.toMatchObject({ code: "STORE_CLOSED" });
    await settle(await engineOf());
    expect(await figure("minute", t0)).toMatchObject({ value: "6" });
  });
});
