import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator } from "./ratio.ts";

export const qualityScrapRatio = ratioIndicator({
  id: "quality.scrap_ratio",
  version: 1,
  zh: "报废率",
  en: "Scrap ratio",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_data", "no_production"],
  formula: "Scrap ratio = SQ / PQ: scrap quantity over produced quantity, over the machines that count both",
  formulaZh: "报废率 = 报废数 ÷ 产量",
  source: "ISO 22400-2:2014, scrap ratio",
  better: "less",
  scope: "period",
  terms: ["production.scrap", "production.total"],
  ratio: (sums) => over(sums["production.scrap"], sums["production.total"], "no_production"),
  example: {
    zh: "产量 400 件，报废 6 件：6 ÷ 400 = 0.015。",
    en: "400 pieces produced, 6 scrapped: 6 / 400 = 0.015.",
    site: site([machine("press", { pieces: { "production.total": "400", "production.scrap": "6" } })]),
    value: "0.015",
  },
});
