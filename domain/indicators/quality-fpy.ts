import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition } from "./ratio.ts";

export const qualityFpy: RatioDefinition = {
  id: "quality.fpy",
  version: 1,
  zh: "一次合格率",
  en: "First pass yield",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_data", "no_production"],
  formula:
    "FPY = parts passed at first inspection / inspected parts, over the machines that count both. Not GQ / PQ: good quantity includes rework",
  source: "ISO 22400-2:2014, first pass yield",
  scope: "period",
  terms: ["inspection.passed", "inspection.inspected"],
  ratio: (sums) => over(sums["inspection.passed"], sums["inspection.inspected"], "no_production"),
};
