import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition } from "./ratio.ts";

export const qualityRatio: RatioDefinition = {
  id: "quality.ratio",
  version: 1,
  zh: "合格率",
  en: "Quality ratio",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_data", "no_production"],
  formula:
    "Q = GQ / PQ: good quantity over produced quantity of the whole period, over the machines that count both. The factor oee.quality takes planned time alone",
  source: "ISO 22400-2:2014, quality ratio",
  scope: "period",
  terms: ["production.good", "production.total"],
  ratio: (sums) => over(sums["production.good"], sums["production.total"], "no_production"),
};
