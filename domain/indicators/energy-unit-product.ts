import type { NullReason } from "../result.ts";
import { type IndicatorDefinition, ratioPeriods, siteLevels } from "./definition.ts";
import type { Fraction } from "./fraction.ts";

/**
 * Energy of a piece. Output is the good production of the machines that the registry marks `output: true`: machines in series would
 * count a piece several times.
 */
export const energyUnitProduct: IndicatorDefinition = {
  id: "energy.unit_product",
  version: 1,
  zh: "单位产品综合能耗",
  en: "Energy per unit of product",
  unit: "kgce/pcs",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_output", "no_register", "no_data", "no_production", "mixed_products"],
  formula:
    "E / P: comprehensive energy over good production of the output machines, over the factories that have both. null where the output is of several products, which do not add up",
  source: "GB/T 2589-2020, 单位产品综合能耗: comprehensive energy per unit of qualified product",
};

/** Places of the figure: a small part takes less than a milligram of coal. */
export const unitProductPlaces = 9;

/**
 * Energy per piece as an exact fraction.
 * @param energy kgce as an integer at 10 places
 * @param output good pieces as an integer at 6 places
 */
export function unitProductEnergy(energy: bigint, output: bigint): Fraction | NullReason {
  return output > 0n ? { numerator: energy, denominator: output * 10_000n } : "no_production";
}
