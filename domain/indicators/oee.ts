import { machineLevels, ratioPeriods } from "./definition.ts";
import { over, type RatioDefinition, timesPlaces } from "./ratio.ts";

/**
 * Overall equipment effectiveness. Over several machines the factors are those of the sums: A = sum APT / sum PBT,
 * E = sum (PRI x PQ) / sum APT, Q = sum GQ / sum PQ, each over the machines that have all terms. The product is rounded once, not the
 * factors; where each machine has all terms it is that of the three factors' own figures.
 */
export const oee: RatioDefinition = {
  id: "oee",
  version: 1,
  zh: "设备综合效率",
  en: "Overall equipment effectiveness",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: [
    "no_register",
    "no_state",
    "no_planned_rate",
    "no_calendar",
    "not_planned",
    "no_data",
    "not_running",
    "no_production",
  ],
  formula:
    "OEE = A x E x Q, exactly, over the machines that have all terms; production, state and plan of the same minutes, the observed planned ones. A machine that stood still all the time has no E and no Q and therefore no OEE, but its planned time counts in the sums above it",
  source: "ISO 22400-2:2014, overall equipment effectiveness index",
  scope: "planned",
  terms: ["apt", "pbt", "planned_run_time", "production.total", "production.good"],
  ratio: (sums) => {
    if (sums.pbt === 0n) return "not_planned";
    if (sums.apt === 0n) return "not_running";
    // APT cancels out: as the numerator of A and the denominator of E.
    const produced = sums["production.total"];
    return over(sums.planned_run_time * sums["production.good"], sums.pbt * produced * timesPlaces, "no_production");
  },
};
