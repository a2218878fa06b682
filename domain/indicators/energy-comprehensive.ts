import { allPeriods, type IndicatorDefinition, siteLevels } from "./definition.ts";
import { factorTable } from "./factors.ts";

/** Comprehensive energy of the carriers that are metered: electricity so far. */
export const energyComprehensive: IndicatorDefinition = {
  id: "energy.comprehensive",
  version: 1,
  zh: "综合能耗",
  en: "Comprehensive energy",
  unit: "kgce",
  levels: siteLevels,
  periods: allPeriods,
  reasons: ["no_meter", "no_data"],
  formula: "E = sum(e_i * k_i) over the metered carriers, equivalent value; null where energy.electricity is null",
  source: "GB/T 2589-2020, 6.1 and annex A",
};

/**
 * Electricity as standard coal, exactly.
 * @param electricity kWh as an integer at 6 places
 * @returns kgce as an integer at 10 places (6 of the energy, 4 of the factor)
 */
export function comprehensiveEnergy(electricity: bigint): bigint {
  return electricity * factorTable.electricityPer10000;
}
