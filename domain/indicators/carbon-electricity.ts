import { allPeriods, type IndicatorDefinition, siteLevels } from "./definition.ts";
import { type GridRegion, gridFactors } from "./factors.ts";

/** Carbon dioxide of the electricity taken from the grid (scope 2, by the grid's average factor). */
export const carbonElectricity: IndicatorDefinition = {
  id: "carbon.electricity",
  version: 1,
  zh: "用电碳排放",
  en: "Carbon dioxide of electricity",
  unit: "kgCO2",
  levels: siteLevels,
  periods: allPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "energy.electricity x the average factor of the grid that the registry names (national without), kgCO2/kWh; null where energy.electricity is null",
  source: "生态环境部、国家统计局 电力二氧化碳排放因子, by year and grid",
};

/**
 * Carbon dioxide of electricity, exactly.
 * @param electricity kWh as an integer at 6 places
 * @returns kgCO2 as an integer at 10 places (6 of the energy, 4 of the factor)
 */
export function carbonOfElectricity(electricity: bigint, region: GridRegion): bigint {
  return electricity * gridFactors.per10000[region];
}
