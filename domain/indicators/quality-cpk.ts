import { capabilityFigure, cpkOf } from "./capability.ts";
import { type Indicator, machineLevels, ratioPeriods } from "./definition.ts";
import { machine, measured, site } from "./examples.ts";

export const qualityCpk: Indicator = {
  id: "quality.cpk",
  version: 1,
  zh: "过程能力指数 Cpk",
  en: "Process capability Cpk",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_limits", "no_data", "too_few", "no_spread"],
  formula:
    "Cpk = the lesser of (USL - mean) and (mean - LSL), over 3 sigma, of the metric that the registry names for a machine; with one limit from that one. Below 0 the mean lies outside. sigma as in quality.cp. Of several machines the lowest",
  formulaZh:
    "Cpk = min(USL − 均值, 均值 − LSL) ÷ 3σ；只有单侧规格限时取该侧；为负表示均值已出规格。σ 同 quality.cp，多台设备取最低者",
  source: "ISO 22400-2:2014, critical process capability index; ISO 22514-2",
  better: "more",
  figure: (of) => capabilityFigure(of, cpkOf),
  example: {
    zh: "规格 9.7 到 10.3，测得 10.0、10.1、10.2、10.1、10.1：均值 10.1，离上限 0.2 更近，σ = 0.070711；0.2 ÷ (3 × 0.070711) = 0.942809。",
    en: "Limits 9.7 and 10.3; measured 10.0, 10.1, 10.2, 10.1, 10.1: the mean 10.1 is 0.2 from the upper limit, the nearer one; sigma 0.070711; 0.2 / (3 x 0.070711) = 0.942809.",
    site: site([
      machine(
        "press",
        {},
        {
          capability: {
            metric: "Diameter",
            lower: 9_700_000n,
            upper: 10_300_000n,
            samples: measured(["10.0", "10.1", "10.2", "10.1", "10.1"]),
          },
        },
      ),
    ]),
    value: "0.942809",
  },
};
