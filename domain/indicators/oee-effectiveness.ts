import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator, timesPlaces } from "./ratio.ts";

export const oeeEffectiveness = ratioIndicator({
  id: "oee.effectiveness",
  version: 1,
  zh: "性能效率",
  en: "Effectiveness",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_state", "no_planned_rate", "no_calendar", "not_planned", "no_data", "not_running"],
  formula:
    "E = PRI x PQ / APT: planned run time of what was produced over the time in a running state, of the observed planned minutes and the machines that have all terms. Above 1 it stands as it is, and a finding says so",
  formulaZh: "性能效率 E = PRI × PQ ÷ APT：产量按计划节拍应需的时间 ÷ 实际运行时间；大于 1 时照列并提示",
  source: "ISO 22400-2:2014, effectiveness",
  better: "more",
  scope: "planned",
  terms: ["planned_run_time", "apt"],
  ratio: (sums) => over(sums.planned_run_time, sums.apt * timesPlaces, "not_running"),
  example: {
    zh: "计划节拍每件 1 分钟，产量 360 件应需 360 分钟，实际运行 384 分钟：360 ÷ 384 = 0.9375。",
    en: "Planned is 1 minute a piece; 360 pieces ought to take 360 minutes, the machine ran for 384: 360 / 384 = 0.9375.",
    site: site([
      machine("press", {
        plannedMinutes: 480,
        runningMinutes: 384,
        perItemMs: "60000",
        pieces: { "production.total": "360" },
      }),
    ]),
    value: "0.9375",
  },
});
