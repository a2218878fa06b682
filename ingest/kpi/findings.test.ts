import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { dayMs, hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { describe, expect, test } from "vitest";
import { testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { applyRegistry, clock, settle, useWorld, world } from "./test-engine.ts";

/** Midnight in Shanghai. */
const t0 = Date.UTC(2026, 10, 21, 16, 0);
const stepMs = 10 * minuteMs;

useWorld(t0);

/** The tests' registry with another threshold for the sum of feeders, in force from an hour after t0 on. @returns its version */
function apply(meterBalance: number, fromHour?: number): string {
  const file = structuredClone(testRegistry(false).file);
  file.pilot.thresholds = { ...file.pilot.thresholds, meterBalance };
  return applyRegistry(file, fromHour === undefined ? 0 : t0 + fromHour * hourMs);
}

/** Findings are made of sums: one indicator is enough, and quicker than all. */
const catalogue = indicators.filter(({ id }) => id === "energy.electricity");

const engineOf = (ledger: Ledger = world.ledger): Promise<Engine> =>
  createEngine({
    ...{ ...world, ledger, versions: followVersions(world.ledger), clock, catalogue },
    ...{ provisionalIntervalMs: 0, txPerTick: 1000 },
  });

/** Stores readings every ten minutes, both ends of [from, to] included, by hours after t0. */
async function store(
  device: string,
  role: "energy.import" | "power.active",
  [from, to]: readonly [number, number],
  valueAt: (hour: number) => number,
  more: Partial<MetricDefinition> = {},
): Promise<void> {
  const unit = role === "energy.import" ? "kWh" : "kW";
  const definition = {
    ...{ name: role, datatype: DataType.Double, role, unit, simulated: false, heartbeatMs: stepMs },
    ...more,
  };
  const [group = "", node = "", name = ""] = device.split("/");
  const [series = 0] = await world.telemetry.ensureSeries([{ group, node, device: name, metric: role, definition }]);
  const samples = Array.from({ length: ((to - from) * hourMs) / stepMs + 1 }, (_, i) => {
    const sourceTimeMs = t0 + from * hourMs + i * stepMs;
    const times = { sourceTimeMs, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
    return { series, value: valueAt((sourceTimeMs - t0) / hourMs), status: 0, ...times };
  });
  await world.telemetry.write({ samples, commits: [] });
}

const found = () =>
  world.ledger.findings(10).map(({ code, subject, count, closedMs }) => [code, subject, count, closedMs !== null]);
const feeders = ["FEEDER_SUM_DEVIATES", "f1"] as const;
const power = ["POWER_REGISTER_DEVIATES", "f2/gw-1/meter-1"] as const;

describe("findings of periods that are final", { timeout: 120_000 }, () => {
  test("are made again when late readings come: raised late, closed late with what cured them", async () => {
    const strict = apply(0.05);
    const engine = await engineOf();
    await store("f1/gw-1/meter-1", "energy.import", [0, 24], (hour) => 10 * hour);
    await store("f1/gw-1/meter-2", "energy.import", [0, 24], (hour) => hour);
    // 1 kW, and 20 kW from 11:00 to 12:00; the power of that hour is away.
    const burst = (hour: number) => hour + 19 * Math.min(1, Math.max(0, hour - 11));
    await store("f2/gw-1/meter-1", "energy.import", [0, 24], burst);
    await store("f2/gw-1/meter-1", "power.active", [0, 10.5], () => 1);
    await store("f2/gw-1/meter-1", "power.active", [12, 24], () => 1);
    clock.set(t0 + dayMs + 20 * minuteMs);
    await settle(engine);
    expect(found()).toEqual([[...power, 1, false]]);
    await engine.close();

    // Two backlogs: a feeder that carried half of what came in, and the power of the hour. They meet an engine that has just begun.
    clock.set(t0 + dayMs + 30 * minuteMs);
    await store("f1/gw-1/feeder-1", "energy.import", [0, 24], (hour) => 5 * hour);
    await store("f2/gw-1/meter-1", "power.active", [64 / 6, 71 / 6], (hour) => (hour >= 11 && hour < 12 ? 20 : 1));
    const next = await engineOf();
    await settle(next);
    expect(found()).toEqual([
      [...feeders, 1, false],
      [...power, 1, true],
    ]);
    const [day] = world.ledger.findingPeriods(...power, 9);
    expect(day).toMatchObject({ period: "day", startMs: t0, place: "f2", closedMs: clock.now() });
    const tx = await world.telemetry.lastTx();
    expect(day?.closedBy).toBe(`readings up to transaction ${tx}, it was found with those up to 5`);
    expect(world.ledger.findings(10).find(({ code }) => code === power[0])?.closedBy).toBe(day?.closedBy);

    // What the registry says of the end of that day is put right, and then wrong again.
    clock.set(t0 + dayMs + 40 * minuteMs);
    const lenient = apply(0.9, 23);
    await settle(next);
    expect(found().find(([code]) => code === feeders[0])).toEqual([...feeders, 1, true]);
    expect(world.ledger.findingPeriods(...feeders, 9)[0]?.closedBy).toBe(
      `registry ${lenient}, it was found with ${strict}`,
    );
    apply(0.06, 23);
    await settle(next);
    expect(found()).toEqual([
      [...feeders, 2, false],
      [...power, 1, true],
    ]);
  });

  test("a reset that late readings explain is closed when the last one of its days is", async () => {
    apply(0.05);
    const engine = await engineOf();
    const register = { modulus: "1000" };
    const meter = async (from: number, to: number, kWh: number) =>
      await store("f2/gw-1/meter-1", "energy.import", [from, to], () => kWh, register);
    await meter(1, 1.5, 400);
    // Less than half a modulus further on it would have been a rollover. It is the night between two days in which it fell.
    await meter(25, 25.5, 3);
    await meter(26, 26.5, 900);
    await meter(27, 27.5, 100);
    await meter(28, 28.5, 2);
    clock.set(t0 + 29 * hourMs);
    await settle(engine);
    const reset = ["UNEXPLAINED_RESET", "f2/gw-1/meter-1"] as const;
    const days = () => world.ledger.findingPeriods(...reset, 9).map(({ startMs, closedMs }) => [startMs, closedMs]);
    expect(found()).toEqual([[...reset, 2, false]]);
    expect(days()).toEqual([
      [t0, null],
      [t0 + dayMs, null],
    ]);
    // The first day is explained, the second one has another reset.
    await meter(12, 12.5, 900);
    clock.set(t0 + 30 * hourMs);
    await settle(engine);
    expect(days()).toEqual([
      [t0, clock.now()],
      [t0 + dayMs, null],
    ]);
    expect(found()).toEqual([[...reset, 2, false]]);
    const closedMs = clock.now();
    await meter(27 + 2 / 3, 27 + 2 / 3, 700);
    clock.set(t0 + 31 * hourMs);
    await settle(engine);
    expect(days()).toEqual([
      [t0, closedMs],
      [t0 + dayMs, clock.now()],
    ]);
    expect(found()).toEqual([[...reset, 2, true]]);
    // And one that comes late is raised late.
    await meter(14, 14, 100);
    clock.set(t0 + 32 * hourMs);
    await settle(engine);
    expect(found()).toEqual([[...reset, 4, false]]);
  });

  test("are closed where a version dated back removes their factory, also when that fails at first", async () => {
    const before = apply(0.05);
    let fails = false;
    const judgeFindings: Ledger["judgeFindings"] = (looks, nowMs) => {
      if (fails && looks.some(({ period }) => period === "day")) throw new Error("full");
      world.ledger.judgeFindings(looks, nowMs);
    };
    const engine = await engineOf({ ...world.ledger, judgeFindings });
    for (const [device, kW] of [
      ["meter-1", 10],
      ["meter-2", 1],
      ["feeder-1", 5],
    ] as const)
      await store(`f1/gw-1/${device}`, "energy.import", [0, 24], (hour) => kW * hour);
    clock.set(t0 + dayMs + 20 * minuteMs);
    await settle(engine);
    expect(found()).toEqual([[...feeders, 1, false]]);
    clock.set(t0 + dayMs + 30 * minuteMs);
    const file = structuredClone(testRegistry(false).file);
    file.enterprises[0]?.factories.shift();
    const removed = applyRegistry(file, t0);
    fails = true;
    await expect(settle(engine)).rejects.toThrow("full");
    fails = false;
    await settle(engine);
    expect(found()).toEqual([[...feeders, 1, true]]);
    const cure = `registry ${removed}, it was found with ${before}`;
    expect(world.ledger.findingPeriods(...feeders, 9)).toMatchObject([{ closedMs: clock.now(), closedBy: cure }]);
    await engine.close();
  });

  test("a reset is closed where its factory is removed from its day, stays so, and is open again when that is put right", async () => {
    const before = apply(0.05);
    const engine = await engineOf();
    const reset = ["UNEXPLAINED_RESET", "f1/gw-1/meter-1"] as const;
    const open = () => world.ledger.findingPeriods(...reset, 9).map(({ closedMs }) => closedMs === null);
    const applied = async (file: RegistryFile): Promise<string> => {
      clock.set(clock.now() + minuteMs);
      const version = applyRegistry(file, t0);
      await settle(engine);
      return version;
    };
    await store("f1/gw-1/meter-1", "energy.import", [0, 24], (hour) => (hour < 12 ? 500 + hour : hour));
    clock.set(t0 + dayMs + 20 * minuteMs);
    await settle(engine);
    expect(open()).toEqual([true]);
    const without = structuredClone(testRegistry(false).file);
    without.enterprises[0]?.factories.shift();
    const removed = await applied(without);
    expect(open()).toEqual([false]);
    const [day] = world.ledger.findingPeriods(...reset, 9);
    expect(day?.closedBy).toBe(`registry ${removed}, it was found with ${before}`);
    // Another fall of that day comes late.
    await store("f1/gw-1/meter-1", "energy.import", [18.05, 18.05], () => 900);
    clock.set(clock.now() + minuteMs);
    await settle(engine);
    expect(open()).toEqual([false]);
    await applied(testRegistry(false).file);
    expect(open()).toEqual([true]);
    await engine.close();
  });

  test("a reset of what births say was no counter is closed, and open again when they say it was", async () => {
    apply(0.05);
    const engine = await engineOf();
    const register = { modulus: "1000" };
    const device = "f2/gw-1/meter-1";
    const meter = async (at: number, kWh: number) =>
      await store(device, "energy.import", [at, at], () => kWh, register);
    for (const [at, kWh] of [
      [1.5, 400],
      [3, 100],
      [25, 900],
      [27, 500],
    ] as const)
      await meter(at, kWh);
    clock.set(t0 + 40 * hourMs);
    await settle(engine);
    const reset = ["UNEXPLAINED_RESET", device] as const;
    const open = () => world.ledger.findingPeriods(...reset, 9).map(({ closedMs }) => closedMs === null);
    const told = () => found().filter(([code]) => code === reset[0]);
    expect([told(), open()]).toEqual([[[...reset, 2, false]], [true, true]]);

    /** A birth of an hour after t0, that comes now. */
    const born = async (hour: number, role: string, unit: string): Promise<void> => {
      const definition = { name: "energy.import", datatype: DataType.Double, role, unit, simulated: false };
      const rest = role === "energy.import" ? { ...register, heartbeatMs: stepMs } : {};
      const key = { group: "f2", node: "gw-1", device: "meter-1", metric: "energy.import" };
      const sinceMs = t0 + hour * hourMs;
      const [series = 0] = await world.telemetry.ensureSeries([
        { ...key, definition: { ...definition, ...rest }, sinceMs },
      ]);
      const at = { sourceTimeMs: clock.now() - 1, gatewayTimeMs: clock.now(), ingestTimeMs: clock.now() };
      await world.telemetry.write({ samples: [{ series, value: 1, status: 0, ...at }], commits: [] });
      clock.set(clock.now() + minuteMs);
      await settle(engine);
    };
    await born(20, "temperature", "°C");
    expect([told(), open()], "the first day is before it").toEqual([[[...reset, 2, false]], [true, false]]);
    expect(world.ledger.findingPeriods(...reset, 9)[1]?.closedBy).toContain("what births say of the metric");
    // In the midst of the fall: its first half is folded again, and its other half is left over.
    await born(2, "temperature", "°C");
    expect([told(), open()]).toEqual([[[...reset, 2, true]], [false, false]]);
    await born(2, "energy.import", "kWh");
    await born(20, "energy.import", "kWh");
    expect(open()).toEqual([true, true]);
    await engine.close();
  });

  test("a reset in the minute that runs is not raised when the minute ends, where births have said that it was none", async () => {
    apply(0.05);
    const engine = await engineOf();
    const key = { group: "f2", node: "gw-1", device: "meter-1", metric: "energy.import" };
    const since = t0 + hourMs;
    const say = async (definition: object, sinceMs: number): Promise<void> => {
      const said = { name: key.metric, datatype: DataType.Double, simulated: false, ...definition };
      await world.telemetry.ensureSeries([{ ...key, definition: said, sinceMs }]);
    };
    await say({ role: "energy.import", unit: "kWh", modulus: "1000" }, t0);
    const [{ id: series = 0 } = {}] = await world.telemetry.series();
    clock.set(since + 50_000);
    const read = (value: number, seconds: number) => {
      const sourceTimeMs = since + seconds * 1000;
      const at = { sourceTimeMs, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
      return world.telemetry.write({ samples: [{ series, value, status: 0, ...at }], commits: [] });
    };
    await read(900, 20);
    await read(500, 30);
    await settle(engine);
    await say({ role: "temperature", unit: "°C" }, since - 5000);
    await read(490, 40);
    await settle(engine);
    clock.set(since + 5 * minuteMs);
    await settle(engine);
    expect(found()).toEqual([["METRIC_REDEFINED", "f2/gw-1/meter-1", 1, false]]);
    await engine.close();
  });
});
