import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator, timesPlaces } from "./ratio.ts";

/**
 * Overall equipment effectiveness. Over several machines the factors are those of the sums: A = sum APT / sum PBT,
 * E = sum (PRI x PQ) / sum APT, Q = sum GQ / sum PQ, each over the machines that have all terms. The product is rounded once, not the
 * factors; where each machine has all terms it is that of the three factors' own figures.
 */
export const oee = ratioIndicator({
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
  formulaZh: "OEE = A × E × Q，取各项俱全的设备、同一批计划分钟；整段停机的设备没有 E 和 Q，但其计划时间计入合计",
  source: "ISO 22400-2:2014, overall equipment effectiveness index",
  better: "more",
  scope: "planned",
  terms: ["apt", "pbt", "planned_run_time", "production.total", "production.good"],
  ratio: (sums) => {
    if (sums.pbt === 0n) return "not_planned";
    if (sums.apt === 0n) return "not_running";
    // APT cancels out: as the numerator of A and the denominator of E.
    const produced = sums["production.total"];
    return over(sums.planned_run_time * sums["production.good"], sums.pbt * produced * timesPlaces, "no_production");
  },
  example: {
    zh: "计划 480 分钟，运行 384 分钟（A = 0.8）；每件 1 分钟、产量 360 件（E = 0.9375）；合格 342 件（Q = 0.95）：0.8 × 0.9375 × 0.95 = 0.7125。",
    en: "Planned 480 minutes, running 384 (A = 0.8); 1 minute a piece, 360 pieces (E = 0.9375); 342 good (Q = 0.95): 0.8 x 0.9375 x 0.95 = 0.7125.",
    site: site([
      machine("press", {
        plannedMinutes: 480,
        runningMinutes: 384,
        perItemMs: "60000",
        pieces: { "production.total": "360", "production.good": "342" },
      }),
    ]),
    value: "0.7125",
  },
});
