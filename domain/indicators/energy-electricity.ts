import { allPeriods, type IndicatorDefinition, siteLevels } from "./definition.ts";

/** Electricity through the incoming meters. Feeders lie behind them and would be counted twice. */
export const energyElectricity: IndicatorDefinition = {
  id: "energy.electricity",
  version: 1,
  zh: "用电量",
  en: "Electricity",
  unit: "kWh",
  levels: siteLevels,
  periods: allPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "Sum over the incoming electricity meters of the increase of energy.import in the period; the register is interpolated linearly at the period's edges. null: no incoming meter, or no part of the period lies between two readings of any",
  source: "GB/T 2589-2020, 5; energy KPI facts: counters",
};
