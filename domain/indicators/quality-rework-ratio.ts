import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition } from "./ratio.ts";

export const qualityReworkRatio: RatioDefinition = {
  id: "quality.rework_ratio",
  version: 1,
  zh: "返工率",
  en: "Rework ratio",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_data", "no_production"],
  formula: "Rework ratio = RQ / PQ: rework quantity over produced quantity, over the machines that count both",
  source: "ISO 22400-2:2014, rework ratio",
  scope: "period",
  terms: ["production.rework", "production.total"],
  ratio: (sums) => over(sums["production.rework"], sums["production.total"], "no_production"),
};
