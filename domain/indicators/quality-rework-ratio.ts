import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator } from "./ratio.ts";

export const qualityReworkRatio = ratioIndicator({
  id: "quality.rework_ratio",
  version: 1,
  zh: "返工率",
  en: "Rework ratio",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_data", "no_production"],
  formula: "Rework ratio = RQ / PQ: rework quantity over produced quantity, over the machines that count both",
  formulaZh: "返工率 = 返工数 ÷ 产量",
  source: "ISO 22400-2:2014, rework ratio",
  better: "less",
  scope: "period",
  terms: ["production.rework", "production.total"],
  ratio: (sums) => over(sums["production.rework"], sums["production.total"], "no_production"),
  example: {
    zh: "产量 400 件，返工 14 件：14 ÷ 400 = 0.035。",
    en: "400 pieces produced, 14 reworked: 14 / 400 = 0.035.",
    site: site([machine("press", { pieces: { "production.total": "400", "production.rework": "14" } })]),
    value: "0.035",
  },
});
