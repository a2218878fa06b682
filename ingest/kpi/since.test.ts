import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { dayMs, hourMs, minuteMs, type Period, periods } from "@jilian/domain/periods.ts";
import type { Level, Result } from "@jilian/domain/result.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { describe, expect, test } from "vitest";
import { random } from "../test-random.ts";
import { always, manualClock, openWorld, testRegistry, type World } from "../test-world.ts";
import { createEngine } from "./engine.ts";
import { settle } from "./test-engine.ts";

/** When the installation begins: 10:05 in Shanghai. What is read lies before it. */
const startedMs = Date.UTC(2026, 10, 22, 2, 5);
const day = (n: number) => Date.UTC(2026, 10, 21, 16, 0) - n * dayMs;

type Backlog = { readonly group: string; readonly device: string; readonly atMs: number; readonly kWh: number };

/** Hours far apart of two factories, one of them shared, the last one just before the start; no gap is short enough to be filled. */
const backlog: readonly Backlog[] = [
  { group: "f1", device: "meter-1", atMs: day(40) + 3 * hourMs },
  { group: "f1", device: "meter-1", atMs: day(3) + 3 * hourMs },
  { group: "f2", device: "meter-1", atMs: day(3) + 3 * hourMs + 20 * minuteMs },
  { group: "f2", device: "meter-2", atMs: day(1) + 15 * hourMs },
  { group: "f1", device: "meter-2", atMs: startedMs - 20 * minuteMs },
].flatMap((one) => [0, 1, 2].map((i) => ({ ...one, atMs: one.atMs + i * minuteMs, kWh: one.atMs / hourMs + i })));

async function store({ telemetry }: World, some: readonly Backlog[], nowMs: number): Promise<void> {
  const definition: MetricDefinition = {
    ...{ name: "e", datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false },
  };
  const samples: Parameters<World["telemetry"]["write"]>[0]["samples"][number][] = [];
  for (const { group, device, atMs, kWh } of some) {
    const [series = 0] = await telemetry.ensureSeries([{ group, node: "gw-1", device, metric: "e", definition }]);
    const times = { sourceTimeMs: atMs, gatewayTimeMs: atMs, ingestTimeMs: nowMs };
    samples.push({ series, value: kWh, status: 0, ...times });
  }
  await telemetry.write({ samples, commits: [] });
}

/** Every figure that stands of periods before a moment: what was said of it, but not how often it was said. */
async function figures({ ledger, telemetry }: World, untilMs: number): Promise<string[]> {
  const all = { fromMs: 0, toMs: untilMs, limit: 1e6 };
  const levels: Level[] = ["line", "factory", "enterprise", "cluster", "pilot"];
  const found: Result[][] = [];
  for (const period of periods)
    for (const level of levels) {
      const query = { ...all, period, level };
      found.push(ledger.readResults(query), await telemetry.readMinuteResults(query));
    }
  return found
    .flat()
    .filter(({ endMs }) => endMs <= untilMs)
    .map((r) => [r.period, r.startMs, r.level, r.entity, r.indicator, r.value, r.reason, r.completeness].join("|"))
    .sort();
}

/** What stands when the backlog came in some batches, and the engine began anew with some of them. */
async function arrived(batches: readonly (readonly Backlog[])[], restarts: ReadonlySet<number>): Promise<string[]> {
  const world = await openWorld();
  const clock = manualClock(startedMs);
  const open = () =>
    createEngine({
      ...world,
      versions: always(testRegistry(false)),
      clock,
      catalogue: indicators.filter(({ id }) => id === "energy.electricity" || id === "devices.online"),
      provisionalIntervalMs: 0,
      txPerTick: 3,
    });
  try {
    let engine = await open();
    await settle(engine);
    for (const [i, batch] of batches.entries()) {
      await store(world, batch, clock.now());
      clock.set(clock.now() + 2 * minuteMs);
      if (restarts.has(i)) {
        await engine.close();
        engine = await open();
      }
      await settle(engine);
    }
    clock.set(startedMs + 2 * hourMs);
    await settle(engine);
    const found = await figures(world, startedMs);
    world.ledger.addRecompute({ fromMs: day(60), toMs: startedMs + hourMs, reason: "command" }, clock.now());
    await settle(engine);
    expect(await figures(world, startedMs), "a recompute of all of it").toEqual(found);
    await engine.close();
    return found;
  } finally {
    await world.end();
  }
}

describe("figures of periods before the installation's start", { timeout: 120_000 }, () => {
  test("are the same ones whatever the order of arrival, restarts and recomputes", async () => {
    const together = await arrived([backlog], new Set());
    const { shuffled, whole } = random(1);
    const left = shuffled(backlog);
    const batches: Backlog[][] = [];
    while (left.length > 0) batches.push(left.splice(0, 1 + whole(5)));
    expect(await arrived(batches, new Set([1, 3]))).toEqual(together);
    // Everybody's, where anybody's leaves are, and no others.
    const has = (period: Period, startMs: number, entity: string) =>
      together.some((text) => text.startsWith(`${period}|${startMs}|factory|${entity}|`));
    for (const entity of ["f1", "f2", "f3"]) {
      expect(has("hour", day(40) + 3 * hourMs, entity), entity).toBe(true);
      expect(has("quarter_hour", day(40) + 3 * hourMs + 45 * minuteMs, entity), entity).toBe(true);
      expect(has("day", day(40), entity), entity).toBe(true);
      expect(has("day", day(2), entity), entity).toBe(false);
      expect(has("hour", day(3) + 5 * hourMs, entity), entity).toBe(false);
    }
  });
});
