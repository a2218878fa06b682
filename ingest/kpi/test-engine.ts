/** For tests of the engine: a world and a clock for each test, and what all of them do with an engine. */
import { DataType } from "@jilian/domain/datatypes.ts";
import { periods } from "@jilian/domain/periods.ts";
import { levels, resultId } from "@jilian/domain/result.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import { versionOf } from "@jilian/store/registry-versions.ts";
import { isLogged } from "@jilian/store/spans.ts";
import { afterEach, beforeEach } from "vitest";
import { type ManualClock, manualClock, openWorld, type World } from "../test-world.ts";
import type { Engine } from "./engine.ts";

export let world: World;
export let clock: ManualClock;

/** Gives each test of a file stores of its own and a clock that stands at a time. */
export function useWorld(startMs: number): void {
  beforeEach(async () => {
    world = await openWorld();
    clock = manualClock(startMs);
  });
  afterEach(() => world.end());
}

/** The same test goes on with empty stores. */
export async function startOver(): Promise<void> {
  await world.end();
  world = await openWorld();
}

/** Ticks until every figure is up to date. */
export async function settle(engine: Engine): Promise<void> {
  while (!(await engine.tick({ thorough: true })).caughtUp);
}

/** Applies a registry now, in force from a moment on. @returns its version */
export function applyRegistry(file: RegistryFile, fromMs = 0): string {
  const registry = indexRegistry(file);
  world.ledger.addRegistryVersion(versionOf(registry, { fromMs, appliedMs: clock.now() }));
  return registry.version;
}

/** Where a metric of the tests' registry lives. */
export type Place = { readonly group: string; readonly node: string; readonly device: string; readonly metric: string };

/** What a birth says of a metric, and since when. @returns the number of its series */
export async function born(
  at: Place,
  definition: Partial<MetricDefinition>,
  since: { sinceMs?: number; doubtMs?: number } = {},
): Promise<number> {
  const said = { name: at.metric, datatype: DataType.Double, simulated: false, ...definition };
  const [series = 0] = await world.telemetry.ensureSeries([{ ...at, definition: said, ...since }]);
  return series;
}

/** Stores readings of a series: source time, UTC ms, and value. */
export async function store(series: number, rows: readonly (readonly [number, number | bigint])[]): Promise<void> {
  const samples = rows.map(([sourceTimeMs, value]) => {
    return { series, sourceTimeMs, value, status: 0, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

/** A reading every 10 s in [fromMs, toMs], each one more by `rise`. */
export const every10s = (fromMs: number, toMs: number, rise: number, first = 0) =>
  Array.from({ length: (toMs - fromMs) / 10_000 + 1 }, (_, i) => [fromMs + i * 10_000, first + i * rise] as const);

/** Every figure as a reader has it, without when it was looked at. */
export async function everything(): Promise<Map<string, unknown>> {
  const found = new Map<string, unknown>();
  for (const level of levels)
    for (const period of periods) {
      const query = { level, period, fromMs: 0, toMs: 1e15, limit: 1e6 };
      const rows = isLogged(query) ? world.ledger.readResults(query) : await world.telemetry.readMinuteResults(query);
      for (const result of rows) {
        const { value, reason, completeness, estimatedShare, lowerBound, status, revision } = result;
        const says = { value, reason, completeness, estimatedShare, lowerBound, status, revision };
        found.set(resultId(result), says);
      }
    }
  return found;
}
