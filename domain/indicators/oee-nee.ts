import { machineLevels, ratioPeriods } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { over, ratioIndicator, timesPlaces } from "./ratio.ts";

/** Net equipment effectiveness: as OEE, but set-up is used time, so that many small lots do not look like idle machines. */
export const nee = ratioIndicator({
  id: "oee.nee",
  version: 1,
  zh: "设备净效率",
  en: "Net equipment effectiveness",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: [
    "no_register",
    "no_state",
    "no_setup_state",
    "no_planned_rate",
    "no_calendar",
    "not_planned",
    "no_data",
    "not_running",
    "no_production",
  ],
  formula:
    "NEE = AUPT / PBT x E x Q, exactly, over the machines that have all terms: AUPT is the time in a running state (APT) and in a state of set-up; E and Q as in OEE. null where the registry does not say which states are set-up",
  formulaZh:
    "NEE = AUPT ÷ PBT × E × Q，取各项俱全的设备；AUPT 为运行（APT）与换型调整状态的时间之和，E、Q 同 OEE。登记册未指明调整状态时为空",
  source: "ISO 22400-2:2014, net equipment effectiveness index",
  better: "more",
  scope: "planned",
  terms: ["aupt", "apt", "pbt", "planned_run_time", "production.total", "production.good"],
  ratio: (sums) => {
    if (sums.pbt === 0n) return "not_planned";
    if (sums.apt === 0n) return "not_running";
    const produced = sums["production.total"];
    const numerator = sums.aupt * sums.planned_run_time * sums["production.good"];
    return over(numerator, sums.pbt * sums.apt * produced * timesPlaces, "no_production");
  },
  example: {
    zh: "计划 480 分钟，运行 384 分钟，换型 36 分钟：AUPT ÷ PBT = 420 ÷ 480 = 0.875；E = 0.9375，Q = 0.95：0.875 × 0.9375 × 0.95 = 0.779297。",
    en: "Planned 480 minutes, running 384, set-up 36: AUPT / PBT = 420 / 480 = 0.875; E = 0.9375, Q = 0.95: 0.875 x 0.9375 x 0.95 = 0.779297.",
    site: site([
      machine("press", {
        plannedMinutes: 480,
        runningMinutes: 384,
        setupMinutes: 36,
        perItemMs: "60000",
        pieces: { "production.total": "360", "production.good": "342" },
      }),
    ]),
    value: "0.779297",
  },
});
