import { outputByProduct } from "@jilian/domain/indicators/output.ts";
import { type Period, periodStart } from "@jilian/domain/periods.ts";
import type { Level } from "@jilian/domain/result.ts";
import { registrySeries } from "@jilian/store/device-series.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { hourSet } from "@jilian/store/rollup-pieces.ts";
import { rollupReader } from "@jilian/store/rollups.ts";
import { type Site, siteSums } from "@jilian/store/site-sums.ts";
import { sitesOf } from "@jilian/store/sites.ts";
import type { Span } from "@jilian/store/spans.ts";
import { type DeviceSources, readDeviceFigures } from "./device-pages.ts";
import type { Directory } from "./directory.ts";
import { type FigureSources, type FoundResult, readFigures } from "./read-figures.ts";

/** Whose figures of one period are asked for. */
export type PeriodOf = { level: Level; entity: string; period: Period; startMs: number };

export type PeriodSources = FigureSources & DeviceSources;

/** Figures of one entity and period at most: indicators, and of a device its counter roles. */
const mostFigures = 1000;

/** The figures of one entity and period as they are now, by indicator. */
export async function figuresOfPeriod(
  { level, entity, period, startMs }: PeriodOf,
  nowMs: number,
  sources: PeriodSources,
  directory: Directory,
): Promise<Map<string, FoundResult>> {
  const query = { level, entity, period, fromMs: startMs, toMs: startMs + 1 };
  const { results } =
    level === "device"
      ? await readDeviceFigures(query, undefined, mostFigures, nowMs, sources)
      : await readFigures(query, undefined, mostFigures, sources, directory);
  return new Map(results.map((result) => [result.indicator, result]));
}

function siteOf(registry: Registry, level: Level, entity: string): Site | undefined {
  if (level !== "device") return sitesOf(registry).find((site) => site.level === level && site.entity === entity);
  const placed = registry.devices.get(entity);
  return placed && { level, entity, factories: new Map([[placed.factoryId, [entity]]]) };
}

/**
 * Good pieces by product of one entity and period, integers at 6 places, from the leaves and rollups of its output machines and the version
 * of the registry that the period's figures are of. Empty where nothing is told.
 */
export async function productsOfPeriod(
  { level, entity }: PeriodOf,
  span: Span,
  nowMs: number,
  { telemetry, ledger, versions }: DeviceSources,
): Promise<Map<string, bigint>> {
  const { startMs, endMs } = span;
  const registry = versions.at(Math.min(endMs, nowMs) - 1);
  const site = siteOf(registry, level, entity);
  if (!site) return new Map();
  const series = registrySeries(registry, await telemetry.series());
  const machines = [...site.factories.values()].flat().flatMap((key) => series.devices.get(key) ?? []);
  const sources = machines.filter(({ placed }) => placed.device.output === true).map(({ source }) => source);
  if (sources.length === 0) return new Map();
  const hours = hourSet(ledger.knownHours(periodStart("hour", startMs), endMs));
  const rollups = await rollupReader({ telemetry, hours }).read(sources, startMs, endMs, nowMs);
  const none = new Map<never, never>();
  const others = { lostMs: none, firstBirths: none, polls: none, days: none };
  const input = { span, asOfMs: nowMs, rollups, ...others, alarms: [], droppedAlarms: ledger.droppedAlarms() };
  return outputByProduct(siteSums(registry, series, input)(site));
}
