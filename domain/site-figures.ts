import { getOrMake } from "./get-or-make.ts";
import { indicators } from "./indicators/catalogue.ts";
import type { IndicatorVersion } from "./indicators/definition.ts";
import type { SiteSums } from "./period-sums.ts";
import type { Result } from "./result.ts";

/** What figures say of how they were made, beside their input. */
export type Stamp = Pick<Result, "registryVersion" | "inputWatermark" | "asOfMs" | "simulated">;

/**
 * The figure of an indicator of a site. Pure: equal sums give equal digits. Status and revision are the caller's to set, who knows what was
 * published before; here they are provisional and 0.
 */
export function indicatorFigure(indicator: IndicatorVersion, site: SiteSums, stamp: Stamp): Result {
  const { level, entity, period, startMs, endMs } = site;
  const { value, reason, completeness, estimatedShare, lowerBound } = indicator.figure(site);
  const { registryVersion, inputWatermark, asOfMs, simulated } = stamp;
  // Each field for itself: figures are made by the hundred thousand, all of one shape.
  return {
    indicator: indicator.id,
    level,
    entity,
    period,
    startMs,
    endMs,
    value,
    reason,
    unit: indicator.unit,
    completeness,
    estimatedShare,
    lowerBound,
    status: "provisional",
    revision: 0,
    definitionVersion: indicator.version,
    factorTable: indicator.factors?.(site) ?? null,
    registryVersion,
    inputWatermark,
    asOfMs,
    simulated,
  };
}

/** Those of a catalogue that a kind of site has over a kind of period. */
const chosen = new WeakMap<readonly IndicatorVersion[], Map<string, IndicatorVersion[]>>();

/** Every figure of the catalogue that a site has over its period. @param catalogue by the versions in force at the period's end */
export function siteFigures(
  site: SiteSums,
  stamp: Stamp,
  catalogue: readonly IndicatorVersion[] = indicators,
): Result[] {
  const { level, period } = site;
  const byKind = getOrMake(chosen, catalogue, () => new Map<string, IndicatorVersion[]>());
  const own = getOrMake(byKind, `${level} ${period}`, () =>
    catalogue.filter((one) => one.levels.includes(level) && one.periods.includes(period)),
  );
  return own.map((indicator) => indicatorFigure(indicator, site, stamp));
}
