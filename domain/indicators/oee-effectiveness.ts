import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition, timesPlaces } from "./ratio.ts";

export const oeeEffectiveness: RatioDefinition = {
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
  source: "ISO 22400-2:2014, effectiveness",
  scope: "planned",
  terms: ["planned_run_time", "apt"],
  ratio: (sums) => over(sums.planned_run_time, sums.apt * timesPlaces, "not_running"),
};
