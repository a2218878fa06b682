import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition } from "./ratio.ts";

export const qualityScrapRatio: RatioDefinition = {
  id: "quality.scrap_ratio",
  version: 1,
  zh: "报废率",
  en: "Scrap ratio",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_data", "no_production"],
  formula: "Scrap ratio = SQ / PQ: scrap quantity over produced quantity, over the machines that count both",
  source: "ISO 22400-2:2014, scrap ratio",
  scope: "period",
  terms: ["production.scrap", "production.total"],
  ratio: (sums) => over(sums["production.scrap"], sums["production.total"], "no_production"),
};
