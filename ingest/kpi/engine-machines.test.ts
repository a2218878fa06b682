import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs, watermarkMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { indexRegistry, type Registry } from "@jilian/store/registry.ts";
import type { RegistryDevice } from "@jilian/store/registry-schema.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { describe, expect, test } from "vitest";
import { always, testRegistry, until } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const everyDay = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

useWorld(t0);

/** The tests' registry, f1's press with all that OEE needs: a second a piece, planned round the clock. */
function registry(): Registry {
  const file = structuredClone(testRegistry(false).file);
  const factory = file.enterprises[0]?.factories[0];
  const press = factory?.gateways[0]?.devices.find(({ id }) => id === "press-1") as RegistryDevice;
  const calendar = { shifts: [{ days: [...everyDay], from: "00:00", to: "24:00" }] };
  Object.assign(press, { states: { running: [1] }, plannedRunTimePerItemMs: 1000, calendar });
  return indexRegistry(file);
}

async function engineOf(
  telemetry: Telemetry = world.telemetry,
  onShowFailed?: (error: unknown) => void,
): Promise<Engine> {
  const { ledger } = world;
  const parts = { telemetry, ledger, versions: always(registry()), clock, provisionalIntervalMs: 0, txPerTick: 1000 };
  return await createEngine({ ...parts, ...(onShowFailed && { onShowFailed }) });
}

const definitions = {
  total: { datatype: DataType.Int64, role: "production.total", unit: "pcs" },
  good: { datatype: DataType.Int64, role: "production.good", unit: "pcs" },
  state: { datatype: DataType.Int32, role: "machine.state" },
} as const satisfies Record<string, Omit<MetricDefinition, "name" | "simulated">>;
type Metric = keyof typeof definitions;

/** Stores readings of f1's press, in one transaction. */
async function store(
  metric: Metric,
  readings: readonly (readonly [atMs: number, value: number | null])[],
): Promise<void> {
  const definition = { ...definitions[metric], name: metric, simulated: false };
  const [series = 0] = await world.telemetry.ensureSeries([
    { group: "f1", node: "gw-1", device: "press-1", metric, definition },
  ]);
  const samples = readings.map(([sourceTimeMs, value]) => {
    const status = value === null ? 0x80050000 : 0;
    return { series, sourceTimeMs, value, status, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

const every = (fromMs: number, toMs: number, stepMs: number, value: (i: number) => number) =>
  Array.from({ length: Math.floor((toMs - fromMs) / stepMs) + 1 }, (_, i) => [fromMs + i * stepMs, value(i)] as const);

/** A press that runs all the time and makes so many pieces every ten seconds, 19 of 20 good. */
async function produce(fromMs: number, toMs: number, each = 8): Promise<void> {
  await store(
    "total",
    every(fromMs, toMs, 10_000, (i) => i * each * 20),
  );
  await store(
    "good",
    every(fromMs, toMs, 10_000, (i) => i * each * 19),
  );
  await store(
    "state",
    every(fromMs, toMs, 10_000, () => 1),
  );
}

function figure(indicator: string, startMs = t0, level: "factory" | "cluster" = "factory"): Result | undefined {
  const entity = level === "factory" ? "f1" : "jinlv";
  const query = { indicator, level, entity, period: "hour", fromMs: startMs, toMs: startMs + 1, limit: 1 } as const;
  return world.ledger.readResults(query)[0];
}

describe("figures of machines", () => {
  test("a minute counts once it has ended, without a new reading", async () => {
    const engine = await engineOf();
    clock.set(t0 + 90_000);
    await produce(t0, t0 + 90_000, 0);
    await store("state", [[t0 + 91_000, 3]]);
    await engine.tick();
    expect(figure("oee.availability")).toMatchObject({ value: "1", completeness: 1, asOfMs: t0 + 90_000 });
    expect(figure("oee.quality")).toMatchObject({ value: null, reason: "no_production" });
    clock.set(t0 + 2 * minuteMs);
    await engine.tick();
    // Of the second minute 31 s were running, and what came last holds for 29 s.
    expect(figure("oee.availability")).toMatchObject({ value: "0.758333", completeness: 1 });
    clock.set(t0 + 3 * minuteMs);
    await engine.tick();
    // It goes stale one second into the third, which therefore nobody observed.
    expect(figure("oee.availability")).toMatchObject({ value: "0.758333", completeness: 0.6667 });
  });

  test("counters too: what a site says of planned time is compared minute by minute", async () => {
    const engine = await engineOf();
    clock.set(t0 + 90_000);
    await produce(t0, t0 + 90_000);
    await engine.tick();
    // 960 pieces of a second each in the first minute, against 60 s of running.
    expect(figure("oee.effectiveness")).toMatchObject({ value: "16" });
    await store("total", [[t0 + 119_000, 9 * 160 + 464]]);
    await store("state", [[t0 + 119_000, 1]]);
    await engine.tick();
    clock.set(t0 + 2 * minuteMs + 1);
    await engine.tick();
    const { value, completeness } = figure("oee.effectiveness") as Result;
    expect(Number(value)).toBeCloseTo((9 * 160 + 464) / 119, 0);
    expect(completeness).toBeCloseTo(119 / 120, 3);
  });

  test("late states and a bad one revise what was final", async () => {
    const engine = await engineOf();
    await produce(t0, t0 + hourMs);
    clock.set(t0 + hourMs + watermarkMs);
    await settle(engine);
    expect(figure("oee.availability")).toMatchObject({ value: "1", status: "final", completeness: 1 });
    clock.set(t0 + 3 * hourMs);
    await store("state", [
      [t0 + 10 * minuteMs + 5000, 2],
      [t0 + 20 * minuteMs + 5000, null],
    ]);
    await settle(engine);
    // Five seconds in another state, five in none.
    expect(figure("oee.availability")).toMatchObject({
      value: "0.997222",
      completeness: 0.9986,
      status: "revised",
      revision: 1,
    });
  });

  test("a counter that a machine gets is known at once, in what is not final", async () => {
    const engine = await engineOf();
    await store(
      "total",
      every(t0, t0 + 5 * minuteMs, 10_000, (i) => i),
    );
    clock.set(t0 + 5 * minuteMs);
    await engine.tick();
    expect(figure("quality.ratio")).toMatchObject({ value: null, reason: "no_register", completeness: null });
    await store(
      "good",
      every(t0, t0 + 5 * minuteMs, 10_000, (i) => i),
    );
    await engine.tick();
    expect(figure("quality.ratio")).toMatchObject({ value: "1", completeness: 1 });
  });

  test("faster than planned stands as it is, and is a finding, once an hour", async () => {
    const engine = await engineOf();
    await produce(t0, t0 + hourMs, 1);
    clock.set(t0 + hourMs + watermarkMs);
    await settle(engine);
    await settle(await engineOf());
    // Two pieces a second, planned is one.
    expect(figure("oee.effectiveness")).toMatchObject({ value: "2", status: "final" });
    expect(figure("oee")).toMatchObject({ value: "1.9" });
    const found = world.ledger.findings(10).filter(({ code }) => code === "FASTER_THAN_PLANNED");
    expect(found).toMatchObject([{ subject: "f1/gw-1/press-1", count: 1, detail: expect.stringContaining("2") }]);
  });
});

/** A store whose displays can fail, or not answer. */
function displays() {
  const shown: Result[][] = [];
  let next: () => Promise<void> = async () => undefined;
  const telemetry: Telemetry = {
    ...world.telemetry,
    showResults: async (results) => {
      await next();
      shown.push([...results]);
    },
  };
  return {
    telemetry,
    shown,
    answer: (how: () => Promise<void>) => {
      next = how;
    },
    of: (indicator: string) =>
      shown.flat().filter((r) => r.indicator === indicator && r.entity === "f1" && r.period === "hour"),
  };
}

describe("figures on displays", () => {
  test("hours and days are shown when they change, and only then", async () => {
    const { telemetry, shown, of } = displays();
    const engine = await engineOf(telemetry);
    await produce(t0, t0 + 2 * minuteMs);
    clock.set(t0 + 2 * minuteMs);
    await engine.tick({ thorough: true });
    expect(of("quality.ratio").map((r) => r.value)).toEqual(["0.95"]);
    expect(shown.flat().some((r) => r.period === "minute")).toBe(false);
    const { length } = shown;
    await engine.tick({ thorough: true });
    expect(shown).toHaveLength(length);
    await engine.close();
  });

  test("a failure loses nothing: it is told once, and made good by a later tick", async () => {
    const { telemetry, answer, of } = displays();
    const failures: unknown[] = [];
    const engine = await engineOf(telemetry, (error) => failures.push(error));
    answer(() => Promise.reject(new Error("no display")));
    await produce(t0, t0 + 2 * minuteMs);
    clock.set(t0 + 2 * minuteMs);
    expect((await engine.tick({ thorough: true })).results.length).toBeGreaterThan(0);
    await engine.tick({ thorough: true });
    expect(figure("quality.ratio")).toMatchObject({ value: "0.95" });
    expect(of("quality.ratio")).toEqual([]);
    expect(failures).toHaveLength(1);
    answer(async () => undefined);
    await engine.tick({ thorough: true });
    expect(of("quality.ratio").map((r) => r.value)).toEqual(["0.95"]);
    await engine.close();
  });

  test("a display that does not answer holds up no figure", async () => {
    const { telemetry, answer, of } = displays();
    const engine = await engineOf(telemetry);
    const stuck = Promise.withResolvers<void>();
    answer(() => stuck.promise);
    await produce(t0, t0 + 2 * minuteMs);
    clock.set(t0 + 2 * minuteMs);
    await engine.tick();
    await store("good", [[t0 + 2 * minuteMs + 1000, 12 * 8 * 20]]);
    clock.set(t0 + 3 * minuteMs);
    await engine.tick();
    const newest = figure("quality.ratio") as Result;
    expect(Number(newest.value)).toBeGreaterThan(0.95);
    expect(of("quality.ratio")).toEqual([]);
    answer(async () => undefined);
    stuck.resolve();
    await engine.tick();
    await until(() => of("quality.ratio").at(-1)?.value === newest.value, "the newest figure is shown");
    await engine.close();
  });

  test("a restart shows the last day again", async () => {
    const first = await engineOf();
    await produce(t0, t0 + 2 * minuteMs);
    clock.set(t0 + 2 * minuteMs);
    await first.tick({ thorough: true });
    await first.close();
    const { telemetry, of } = displays();
    const engine = await engineOf(telemetry);
    await engine.tick({ thorough: true });
    expect(of("quality.ratio").map((r) => r.value)).toEqual(["0.95"]);
    await engine.close();
  });
});
