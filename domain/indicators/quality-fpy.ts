import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator } from "./ratio.ts";

export const qualityFpy = ratioIndicator({
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
  formulaZh: "一次合格率 = 首检合格数 ÷ 首检数，仅计两项俱全的设备；不用 GQ/PQ，因合格品含返工",
  source: "ISO 22400-2:2014, first pass yield",
  better: "more",
  scope: "period",
  terms: ["inspection.passed", "inspection.inspected"],
  ratio: (sums) => over(sums["inspection.passed"], sums["inspection.inspected"], "no_production"),
  example: {
    zh: "首检 1,000 件，首检合格 950 件：950 ÷ 1,000 = 0.95。返工后合格的不算一次合格。",
    en: "Of 1,000 inspected parts 950 passed at first inspection: 950 / 1,000 = 0.95. Parts that were good after rework are not among them.",
    site: site([machine("press", { pieces: { "inspection.passed": "950", "inspection.inspected": "1000" } })]),
    value: "0.95",
  },
});
