import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition } from "./ratio.ts";

export const oeeQuality: RatioDefinition = {
  id: "oee.quality",
  version: 1,
  zh: "质量合格率",
  en: "Quality ratio of planned time",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_calendar", "not_planned", "no_data", "no_production"],
  formula:
    "Q = GQ / PQ: good quantity over produced quantity of the observed planned minutes, over the machines that count both",
  source: "ISO 22400-2:2014, quality ratio",
  scope: "planned",
  terms: ["production.good", "production.total"],
  ratio: (sums) => over(sums["production.good"], sums["production.total"], "no_production"),
};
