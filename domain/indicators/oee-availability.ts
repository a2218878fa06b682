import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator } from "./ratio.ts";

export const oeeAvailability = ratioIndicator({
  id: "oee.availability",
  version: 1,
  zh: "可用率",
  en: "Availability",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_register", "no_state", "no_calendar", "not_planned", "no_data"],
  formula:
    "A = APT / PBT: time in a running state over planned busy time, of the planned minutes in which the state was observed",
  formulaZh: "可用率 A = APT ÷ PBT：计划时间内运行状态的时间 ÷ 计划工作时间，取状态可见的计划分钟",
  source: "ISO 22400-2:2014, availability",
  better: "more",
  scope: "planned",
  terms: ["apt", "pbt"],
  ratio: (sums) => over(sums.apt, sums.pbt, "not_planned"),
  example: {
    zh: "计划 8 小时（480 分钟），运行 384 分钟：384 ÷ 480 = 0.8。",
    en: "Planned for 8 hours, 480 minutes, running for 384 of them: 384 / 480 = 0.8.",
    site: site([machine("press", { plannedMinutes: 480, runningMinutes: 384 })]),
    value: "0.8",
  },
});
