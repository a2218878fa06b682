import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator } from "./ratio.ts";

export const oeeQuality = ratioIndicator({
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
  formulaZh: "质量合格率 Q = GQ ÷ PQ：计划时间内的合格品数 ÷ 产量",
  source: "ISO 22400-2:2014, quality ratio",
  better: "more",
  scope: "planned",
  terms: ["production.good", "production.total"],
  ratio: (sums) => over(sums["production.good"], sums["production.total"], "no_production"),
  example: {
    zh: "计划时间内产量 360 件，合格 342 件：342 ÷ 360 = 0.95。",
    en: "360 pieces in planned time, 342 of them good: 342 / 360 = 0.95.",
    site: site([
      machine("press", {
        plannedMinutes: 480,
        runningMinutes: 384,
        pieces: { "production.total": "360", "production.good": "342" },
      }),
    ]),
    value: "0.95",
  },
});
