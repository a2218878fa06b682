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
  return {
    indicator: indicator.id,
    ...{ level, entity, period, startMs, endMs },
    ...indicator.figure(site),
    unit: indicator.unit,
    status: "provisional",
    revision: 0,
    definitionVersion: indicator.version,
    factorTable: indicator.factors?.(site) ?? null,
    ...stamp,
  };
}

/** Every figure of the catalogue that a site has over its period. @param catalogue by the versions in force at the period's end */
export function siteFigures(
  site: SiteSums,
  stamp: Stamp,
  catalogue: readonly IndicatorVersion[] = indicators,
): Result[] {
  return catalogue
    .filter(({ levels, periods }) => levels.includes(site.level) && periods.includes(site.period))
    .map((indicator) => indicatorFigure(indicator, site, stamp));
}
