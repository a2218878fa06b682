import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs, type Period, watermarkMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { describe, expect, test } from "vitest";
import { testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { applyRegistry, clock, settle, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai, a Sunday. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const everyDay = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

useWorld(t0);

/** The tests' registry, changed; in force from a moment on. @returns its version */
function apply(change: (file: RegistryFile) => void, fromMs = 0): string {
  const file = structuredClone(testRegistry(false).file);
  change(file);
  return applyRegistry(file, fromMs);
}

const factory = (file: RegistryFile, n: number) =>
  file.enterprises.flatMap(({ factories }) => factories)[n] as RegistryFile["enterprises"][number]["factories"][number];

const engineOf = (telemetry: Telemetry = world.telemetry): Promise<Engine> =>
  createEngine({
    ...{ ...world, telemetry, versions: followVersions(world.ledger), clock },
    ...{ provisionalIntervalMs: 0, txPerTick: 1000 },
  });

/** Stores a reading of f2's first meter every 10 s. */
async function meter(
  fromMs: number,
  toMs: number,
  kWh: (i: number) => number,
  more: Partial<MetricDefinition> = {},
): Promise<void> {
  const definition = {
    name: "e",
    datatype: DataType.Double,
    role: "energy.import",
    unit: "kWh",
    simulated: false,
    ...more,
  };
  const key = { group: "f2", node: "gw-1", device: "meter-1", metric: "e", definition };
  const [series = 0] = await world.telemetry.ensureSeries([key]);
  const samples = Array.from({ length: (toMs - fromMs) / 10_000 + 1 }, (_, i) => {
    const sourceTimeMs = fromMs + i * 10_000;
    return { series, sourceTimeMs, value: kWh(i), status: 0, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

function figure(indicator: string, period: Period, startMs: number, [level, entity] = ["factory", "f2"] as const) {
  return world.ledger.readResult({ indicator, level, entity, period, startMs });
}

describe("the registry in time", () => {
  test("a version that was applied while the store did not answer is taken up when it does", async () => {
    apply(() => undefined);
    let isDown = false;
    const series: Telemetry["series"] = async () => {
      if (isDown) throw new Error("store is down");
      return await world.telemetry.series();
    };
    const engine = await engineOf({ ...world.telemetry, series });
    await meter(t0, t0 + hourMs, (i) => i);
    clock.set(t0 + hourMs + minuteMs);
    await settle(engine);
    expect(figure("energy.electricity", "hour", t0)?.value).toBe("360");
    // A meter that passes 120 kW at most cannot have counted one each ten seconds.
    apply((file) => {
      Object.assign(factory(file, 1).gateways[0]?.devices[0] ?? {}, { ratedPowerKW: 100 });
    });
    isDown = true;
    await expect(engine.tick()).rejects.toThrow("store is down");
    isDown = false;
    await settle(engine);
    await engine.close();
    expect(figure("energy.electricity", "hour", t0)?.value).toBeNull();
  });

  test("each figure has the version in force at the last moment of its period that has passed", async () => {
    const before = apply(() => undefined);
    const after = apply(
      (file) => factory(file, 2).gateways[0]?.devices.push({ id: "x", name: "x", kind: "machine" }),
      t0 + 90 * minuteMs,
    );
    const engine = await engineOf();
    clock.set(t0 + hourMs + 10 * minuteMs);
    await settle(engine);
    const registered = (period: Period, startMs: number) =>
      figure("devices.registered", period, startMs, ["factory", "f3"] as never);
    expect(registered("day", t0 - 10 * hourMs)).toMatchObject({ value: "1", registryVersion: before });
    clock.set(t0 + 2 * hourMs + watermarkMs);
    await settle(engine);
    expect(registered("hour", t0)).toMatchObject({ value: "1", registryVersion: before, status: "final" });
    expect(registered("hour", t0 + hourMs)).toMatchObject({ value: "2", registryVersion: after, status: "final" });
    expect(registered("quarter_hour", t0 + 75 * minuteMs)).toMatchObject({ value: "1", registryVersion: before });
    expect(registered("quarter_hour", t0 + 90 * minuteMs)).toMatchObject({ value: "2", registryVersion: after });
    expect(registered("day", t0 - 10 * hourMs)).toMatchObject({ value: "2", registryVersion: after });
  });

  test("one that is applied while the engine runs, and begins in the past, revises what it changes since then", async () => {
    const before = apply(() => undefined);
    const engine = await engineOf();
    // A register that jumps by 500 kWh within 10 s at 10:30: nothing bounds it yet.
    await meter(t0, t0 + 2 * hourMs, (i) => (i >= 180 ? 500 + i : i));
    clock.set(t0 + 2 * hourMs + watermarkMs);
    await settle(engine);
    expect(figure("energy.electricity", "hour", t0)).toMatchObject({
      value: "860",
      registryVersion: before,
      revision: 0,
    });
    const rated = apply(
      (file) => {
        const own = factory(file, 1).gateways[0]?.devices.find(({ id }) => id === "meter-1");
        Object.assign(own ?? {}, { ratedPowerKW: 500 });
      },
      t0 + 20 * minuteMs,
    );
    await settle(engine);
    // The jump is more than the meter can pass: it cannot be told, and is left out. Leaves since then are folded again.
    const revised = { status: "revised", revision: 1, lowerBound: true, registryVersion: rated };
    expect(figure("energy.electricity", "hour", t0)).toMatchObject({ value: "359", ...revised });
    expect(figure("energy.electricity", "quarter_hour", t0 + 30 * minuteMs - 15 * minuteMs)).toMatchObject({
      value: "89",
      ...revised,
    });
    expect(figure("energy.electricity", "quarter_hour", t0)).toMatchObject({ value: "90", registryVersion: before });
    expect(figure("energy.electricity", "hour", t0 + hourMs)).toMatchObject({ value: "360", registryVersion: rated });
    expect(figure("energy.electricity", "day", t0 - 10 * hourMs)).toMatchObject({
      value: "719",
      registryVersion: rated,
    });
    // It is done once: an engine that starts again has nothing to do.
    expect(world.ledger.nextRecompute()).toBeUndefined();
    await settle(await engineOf());
    expect(figure("energy.electricity", "hour", t0)).toMatchObject({ value: "359", revision: 1 });
  });

  test("shifts are those of the calendar in force when they begin, of their factory alone", async () => {
    const calendar = (from: string, to: string) => (file: RegistryFile) => {
      factory(file, 1).calendar = { shifts: [{ days: [...everyDay], from, to, name: "早班" }] };
      factory(file, 1).lines = [{ id: "l1", name: "产线" }];
      Object.assign(factory(file, 1).gateways[0]?.devices[0] ?? {}, { line: "l1" });
    };
    apply(calendar("10:20", "12:00"));
    const engine = await engineOf();
    await meter(t0, t0 + 2 * hourMs, (i) => i);
    clock.set(t0 + 2 * hourMs + watermarkMs);
    await settle(engine);
    const shift = t0 + 20 * minuteMs;
    expect(figure("energy.electricity", "shift", shift)).toMatchObject({
      value: "600",
      endMs: t0 + 2 * hourMs,
      status: "final",
    });
    const all = { period: "shift", fromMs: 0, toMs: 1e15, limit: 1e6 } as const;
    expect(world.ledger.readResults({ ...all, level: "factory" }).map((r) => r.entity)).toEqual(
      world.ledger.readResults({ ...all, level: "factory" }).map(() => "f2"),
    );
    for (const level of ["enterprise", "cluster", "pilot"] as const)
      expect(world.ledger.readResults({ ...all, level })).toEqual([]);
    // Lines have theirs beside the minutes.
    const line = await world.telemetry.readMinuteResults({ ...all, level: "line", indicator: "energy.electricity" });
    expect(line).toMatchObject([{ entity: "f2/l1", value: "600", startMs: shift, status: "final" }]);
    apply(calendar("11:00", "12:10"), t0 + 2 * hourMs + 10 * minuteMs);
    apply(calendar("12:30", "12:45"), t0 + 2 * hourMs + 20 * minuteMs);
    clock.set(t0 + 2 * hourMs + 45 * minuteMs + watermarkMs);
    await settle(engine);
    const starts = world.ledger.readResults({ ...all, level: "factory", indicator: "devices.registered" });
    expect(starts.map((r) => r.startMs)).toEqual([shift, t0 + 150 * minuteMs]);
  });
});
