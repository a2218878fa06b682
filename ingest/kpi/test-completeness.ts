/** What the tests of the completeness ledger in the engine share. */
import { type Account, accountMetric, encodeAccount, noCounts } from "@jilian/domain/account.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { LoggedResult } from "@jilian/store/ledger.ts";
import { expect } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine, type Engine, type EngineParts } from "./engine.ts";
import { clock, world } from "./test-engine.ts";

/** 10:00 in Shanghai. */
export const t0 = Date.UTC(2026, 10, 22, 2, 0);
export const meter = "f2/gw-1/meter-1";

export const engineOf = (more: Partial<EngineParts> = {}): Promise<Engine> =>
  createEngine({
    ...world,
    versions: always(testRegistry(false)),
    clock,
    provisionalIntervalMs: 0,
    txPerTick: 3,
    ...more,
  });

/** Counting rests for nine times as long as it took: looks again until it has. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 10_000; i += 1) if (await holds()) return;
  throw new Error("it never did");
}

async function seriesOf(metric: string, device = "meter-1", more: Partial<MetricDefinition> = {}): Promise<number> {
  const definition: MetricDefinition =
    metric === accountMetric
      ? { name: metric, datatype: DataType.String, simulated: false }
      : { name: metric, datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false, ...more };
  const [series = 0] = await world.telemetry.ensureSeries([{ group: "f2", node: "gw-1", device, metric, definition }]);
  return series;
}

/** Stores samples of a metric in one transaction. */
export async function store(
  rows: readonly (readonly [number, number | string])[],
  metric = "energy",
  device?: string,
  more?: Partial<MetricDefinition>,
) {
  const series = await seriesOf(metric, device, more);
  const samples = rows.map(([sourceTimeMs, value]) => {
    return { series, sourceTimeMs, value, status: 0, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

export function account(hour: number, counts: Partial<Account>): string {
  return encodeAccount({ ...noCounts, hourMs: hour, part: "0000000a", gapMs: {}, ...counts });
}
export const tell = (atMs: number, hour: number, counts: Partial<Account>, device?: string) =>
  store([[atMs, account(hour, counts)]], accountMetric, device);

/** 0.1 kWh every ten seconds. */
export const every10s = (fromMs: number, toMs: number) =>
  Array.from(
    { length: (toMs - fromMs) / 10_000 },
    (_, i) => [fromMs + i * 10_000, (fromMs - t0) / 100_000 + i / 10] as const,
  );

export const sums = (device = meter) =>
  world.ledger.completeness({
    members: [{ device, entity: device }],
    period: "hour",
    fromMs: t0 - 24 * hourMs,
    toMs: t0 + 24 * hourMs,
  });

export function figure(indicator = "energy.electricity", startMs = t0): LoggedResult {
  const found = world.ledger.readResult({ indicator, level: "factory", entity: "f2", period: "hour", startMs });
  return found ?? expect.fail(`no ${indicator}`);
}

/** Changes of the factory's hour since a position of the change log. */
export const changes = (after: number) =>
  world.ledger
    .changesAfter(after, 999)
    .filter(({ indicator, level, period, startMs }) => {
      return indicator === "energy.electricity" && level === "factory" && period === "hour" && startMs === t0;
    })
    .map(({ status, revision, completeness }) => ({ status, revision, completeness }));

/** Both meters give all the time, so that the factory's figure has both. */
export const both = async (fromMs: number, toMs: number) => {
  for (const device of ["meter-1", "meter-2"]) await store(every10s(fromMs, toMs), "energy", device);
};
