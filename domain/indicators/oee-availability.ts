import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition } from "./ratio.ts";

export const oeeAvailability: RatioDefinition = {
  id: "oee.availability",
  version: 1,
  zh: "可用率",
  en: "Availability",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_state", "no_calendar", "not_planned", "no_data"],
  formula:
    "A = APT / PBT: time in a running state over planned busy time, of the planned minutes in which the state was observed",
  source: "ISO 22400-2:2014, availability",
  scope: "planned",
  terms: ["apt", "pbt"],
  ratio: (sums) => over(sums.apt, sums.pbt, "not_planned"),
};
