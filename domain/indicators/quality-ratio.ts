import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator } from "./ratio.ts";

export const qualityRatio = ratioIndicator({
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
  formulaZh: "合格率 = 合格品数 ÷ 产量（全期）",
  source: "ISO 22400-2:2014, quality ratio",
  better: "more",
  scope: "period",
  terms: ["production.good", "production.total"],
  ratio: (sums) => over(sums["production.good"], sums["production.total"], "no_production"),
  example: {
    zh: "产量 400 件，合格 380 件：380 ÷ 400 = 0.95。",
    en: "400 pieces produced, 380 good: 380 / 400 = 0.95.",
    site: site([machine("press", { pieces: { "production.total": "400", "production.good": "380" } })]),
    value: "0.95",
  },
});
