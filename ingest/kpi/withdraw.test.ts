import { DataType } from "@jilian/domain/datatypes.ts";
import { dayMs, hourMs, minuteMs, type Period, watermarkMs } from "@jilian/domain/periods.ts";
import type { Level } from "@jilian/domain/result.ts";
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { applyRegistry, clock, settle as settled, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai, and the start of that day. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const day = t0 - 10 * hourMs;
const everyDay = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

useWorld(t0);
let engine: Engine;
beforeEach(async () => {
  apply(() => undefined);
  engine = await createEngine({
    ...world,
    versions: followVersions(world.ledger),
    ...{ clock, provisionalIntervalMs: 0, txPerTick: 1000 },
  });
});
afterEach(() => engine.close());

type Factory = RegistryFile["enterprises"][number]["factories"][number];
type Enterprises = [{ factories: [Factory, Factory] }, { factories: [Factory] }];

/** The tests' registry, f2 with a line and a shift, changed; in force from a moment on. @returns its version */
function apply(change: (enterprises: Enterprises, file: RegistryFile) => void, fromMs = 0): string {
  const file = structuredClone(testRegistry(false).file);
  const enterprises = file.enterprises as unknown as Enterprises;
  const f2 = enterprises[0].factories[1];
  f2.calendar = { shifts: [{ days: [...everyDay], from: "10:00", to: "11:00" }] };
  f2.lines = [{ id: "l1", name: "产线" }];
  Object.assign(f2.gateways[0]?.devices[0] ?? {}, { line: "l1" });
  change(enterprises, file);
  return applyRegistry(file, fromMs);
}

async function settle(nowMs = clock.now()): Promise<void> {
  clock.set(nowMs);
  await settled(engine);
}

/** A meter's readings of two hours, every 10 s: so much in each. */
async function meter(group: string, device: string, kWh: number): Promise<void> {
  const definition = { name: "e", datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false };
  const [series = 0] = await world.telemetry.ensureSeries([{ group, node: "gw-1", device, metric: "e", definition }]);
  const samples = Array.from({ length: 721 }, (_, i) => {
    const at = { sourceTimeMs: t0 + i * 10_000, gatewayTimeMs: t0, ingestTimeMs: t0 };
    return { ...at, series, value: i * kWh, status: 0 };
  });
  await world.telemetry.write({ samples, commits: [] });
}

const key = (level: Level, entity: string, period: Period, startMs: number, indicator = "energy.electricity") => {
  return { indicator, level, entity, period, startMs };
};
const figure = (level: Level, entity: string, period: Period = "hour", startMs = t0, indicator?: string) =>
  world.ledger.readResult(key(level, entity, period, startMs, indicator));

const ofTelemetry = (level: Level, entity: string, period: Period) => {
  const query = { level, entity, period, fromMs: 0, toMs: 1e15, limit: 1e6, indicator: "energy.electricity" };
  return world.telemetry.readMinuteResults(query);
};

const gone = (registryVersion: string) => {
  const none = { completeness: null, estimatedShare: null, lowerBound: false };
  return { value: null, reason: "not_registered", status: "revised", revision: 1, registryVersion, ...none };
};

test("a factory that a version dated back removes: its figures are withdrawn by a revision, its parents computed again", {
  timeout: 120_000,
}, async () => {
  await meter("f1", "meter-1", 2);
  await meter("f2", "meter-1", 1);
  await settle(t0 + 2 * hourMs + watermarkMs);
  expect(figure("factory", "f2")).toMatchObject({ value: "360", status: "final" });
  expect(figure("enterprise", "e1")).toMatchObject({ value: "1080", status: "final" });
  const before = world.ledger.changeLog().last;
  const removed = apply(({ 0: e1 }) => e1.factories.pop(), t0);
  await settle();
  expect(figure("factory", "f2")).toMatchObject(gone(removed));
  expect(figure("factory", "f2", "quarter_hour", t0 + 75 * minuteMs)).toMatchObject(gone(removed));
  expect(figure("factory", "f2", "shift", t0)).toMatchObject(gone(removed));
  // The day and the month run: what they are at their end, their site is not registered.
  expect(figure("factory", "f2", "day", day)).toMatchObject({ ...gone(removed), status: "provisional", revision: 0 });
  expect(figure("factory", "f2", "hour", t0, "devices.registered")).toMatchObject(gone(removed));
  for (const [level, entity] of [
    ["enterprise", "e1"],
    ["cluster", "jinlv"],
  ] as const) {
    expect(figure(level, entity)).toMatchObject({ value: "720", status: "revised", revision: 1 });
    expect(figure(level, entity, "day", day)).toMatchObject({ value: "1440" });
  }
  expect(figure("factory", "f1")).toMatchObject({ value: "720", revision: 1, registryVersion: removed });
  const line = await ofTelemetry("line", "f2/l1", "hour");
  expect(line).toMatchObject([gone(removed), gone(removed)]);
  const minutes = (await ofTelemetry("factory", "f2", "minute")).filter(({ startMs }) => startMs < t0 + 2 * hourMs);
  expect(minutes.length).toBeGreaterThanOrEqual(120);
  for (const one of minutes) expect(one).toMatchObject(gone(removed));
  // What it said is kept, and everybody who follows the log is told.
  expect(world.ledger.history(key("factory", "f2", "hour", t0))).toMatchObject([{ value: "360", status: "final" }]);
  const told = world.ledger
    .changesAfter(before, 100_000)
    .filter(({ entity, period }) => entity === "f2" && period === "hour");
  expect(told.find(({ indicator, startMs }) => indicator === "energy.electricity" && startMs === t0)).toMatchObject(
    gone(removed),
  );
});

test("it is withdrawn once, and comes back with its digits when a version brings it back", {
  timeout: 120_000,
}, async () => {
  await meter("f2", "meter-1", 1);
  await settle(t0 + 2 * hourMs + watermarkMs);
  apply(({ 0: e1 }) => e1.factories.pop(), t0 + hourMs);
  await settle();
  // Hours before that version keep their site.
  expect(figure("factory", "f2", "hour", t0)).toMatchObject({ value: "360", status: "final", revision: 0 });
  expect(figure("factory", "f2", "hour", t0 + hourMs)).toMatchObject({ value: null, revision: 1 });
  const once = world.ledger.changeLog().last;
  apply(({ 0: e1 }, file) => {
    e1.factories.pop();
    file.cluster.name = "another";
  }, t0 + hourMs);
  await settle();
  const told = world.ledger
    .changesAfter(once, 100_000)
    .filter(({ entity, endMs }) => entity === "f2" && endMs <= clock.now());
  expect(told).toEqual([]);
  apply(() => undefined, t0 + hourMs);
  await settle();
  expect(figure("factory", "f2", "hour", t0 + hourMs)).toMatchObject({ value: "360", status: "revised", revision: 2 });
  expect(figure("enterprise", "e1", "hour", t0 + hourMs)).toMatchObject({ value: "360" });
});

test("one withdrawn while its hour runs becomes final with the hour", { timeout: 120_000 }, async () => {
  await meter("f2", "meter-1", 1);
  await settle(t0 + 2 * hourMs + watermarkMs);
  apply(({ 0: e1 }) => e1.factories.pop(), t0 + hourMs);
  await settle();
  const running = () => figure("factory", "f2", "hour", t0 + 2 * hourMs);
  expect(running()).toMatchObject({ reason: "not_registered", status: "provisional" });
  await settle(t0 + 3 * hourMs + watermarkMs + minuteMs);
  expect(running()).toMatchObject({ reason: "not_registered", status: "final", revision: 0 });
});

test("a factory moved to another enterprise, and that one renamed: nothing counts twice", {
  timeout: 120_000,
}, async () => {
  await meter("f1", "meter-1", 2);
  await meter("f2", "meter-1", 1);
  await settle(t0 + 2 * hourMs + watermarkMs);
  const moved = apply((all) => {
    const [e1, e2] = all;
    e2.factories.push((e1.factories as Factory[]).pop() as Factory);
    Object.assign(e2, { id: "e9" });
  }, t0);
  await settle();
  expect(figure("enterprise", "e1")).toMatchObject({ value: "720", revision: 1, registryVersion: moved });
  expect(figure("enterprise", "e2", "hour", t0, "devices.registered")).toMatchObject(gone(moved));
  expect(figure("enterprise", "e9")).toMatchObject({ value: "360", status: "final" });
  expect(figure("factory", "f2")).toMatchObject({ value: "360", revision: 1 });
  expect(figure("cluster", "jinlv")).toMatchObject({ value: "1080" });
  const all = world.ledger.readResults({
    ...{ indicator: "energy.electricity", level: "enterprise", period: "hour", limit: 100 },
    ...{ fromMs: t0, toMs: t0 + 1 },
  });
  const sum = all.reduce((kWh, { value }) => kWh + Number(value ?? 0), 0);
  expect(sum).toBe(1080);
});

test("a device moved to another factory, and a line that goes: figures since then are of the new places", {
  timeout: 120_000,
}, async () => {
  await meter("f1", "meter-1", 2);
  await meter("f1", "meter-2", 4);
  await meter("f2", "meter-1", 1);
  await settle(t0 + 2 * hourMs + watermarkMs);
  expect(figure("factory", "f1")).toMatchObject({ value: "2160" });
  const moved = apply(({ 0: { factories } }) => {
    const [f1, f2] = factories;
    const devices = f1.gateways[0]?.devices ?? [];
    const [meter2] = devices.splice(1, 1);
    f2.gateways[0]?.devices.push({ ...(meter2 as (typeof devices)[number]), id: "meter-3" });
    f2.lines = [{ id: "l2", name: "产线" }];
    Object.assign(f2.gateways[0]?.devices[0] ?? {}, { line: "l2" });
  }, t0 + hourMs);
  await settle();
  const second = t0 + hourMs;
  expect(figure("factory", "f1")).toMatchObject({ value: "2160", revision: 0 });
  expect(figure("factory", "f1", "hour", second)).toMatchObject({ value: "720", revision: 1, registryVersion: moved });
  expect(figure("factory", "f1", "hour", second, "devices.registered")).toMatchObject({ value: "3" });
  expect(figure("factory", "f2", "hour", second, "devices.registered")).toMatchObject({ value: "4" });
  expect(figure("enterprise", "e1", "hour", second)).toMatchObject({ value: "1080" });
  expect(await ofTelemetry("line", "f2/l1", "hour")).toMatchObject([{ value: "360", revision: 0 }, gone(moved)]);
  expect(await ofTelemetry("line", "f2/l2", "hour")).toMatchObject([{ startMs: second, value: "360" }]);
});

test("a factory that goes while a day runs has no figure of that day, and the hours before stay", {
  timeout: 120_000,
}, async () => {
  await meter("f2", "meter-1", 1);
  const planned = apply(({ 0: e1 }) => e1.factories.pop(), t0 + 2 * hourMs);
  await settle(t0 + hourMs);
  expect(figure("factory", "f2", "day", day)).toMatchObject({ value: "366", status: "provisional" });
  await settle(day + dayMs + watermarkMs);
  expect(figure("factory", "f2", "hour", t0 + hourMs)).toMatchObject({ value: "360", status: "final" });
  expect(figure("factory", "f2", "day", day)).toMatchObject({ ...gone(planned), status: "final", revision: 0 });
  expect(figure("enterprise", "e1", "day", day)).toMatchObject({ value: null, reason: "no_data", status: "final" });
});
