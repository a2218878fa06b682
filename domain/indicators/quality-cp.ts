import { capabilityFigure, cpOf } from "./capability.ts";
import { type Indicator, machineLevels, ratioPeriods } from "./definition.ts";
import { machine, measured, site } from "./examples.ts";

export const qualityCp: Indicator = {
  id: "quality.cp",
  version: 1,
  zh: "过程能力指数 Cp",
  en: "Process capability Cp",
  unit: "1",
  levels: machineLevels,
  periods: ratioPeriods,
  reasons: ["no_limits", "no_data", "too_few", "no_spread"],
  formula:
    "Cp = (USL - LSL) / 6 sigma of the metric that the registry names for a machine, with both its specification limits; sigma is the standard deviation of the stored usable readings of the period (n - 1). Of several machines the lowest. The metric needs a deadband of 0, or readings that were left out are missing in the spread",
  formulaZh:
    "Cp = (USL − LSL) ÷ 6σ，取登记册为设备指定的指标及其上下规格限；σ 为期内可用读数的样本标准差（n − 1）。多台设备取最低者。该指标死区应为 0",
  source: "ISO 22400-2:2014, process capability index; ISO 22514-2",
  better: "more",
  figure: (of) => capabilityFigure(of, cpOf),
  example: {
    zh: "规格 9.7 到 10.3，测得 9.9、10.0、10.1、10.0、10.0：均值 10，σ = 0.070711；(10.3 − 9.7) ÷ (6 × 0.070711) = 1.414214。",
    en: "Limits 9.7 and 10.3; measured 9.9, 10.0, 10.1, 10.0, 10.0: mean 10, sigma 0.070711; (10.3 - 9.7) / (6 x 0.070711) = 1.414214.",
    site: site([
      machine(
        "press",
        {},
        {
          capability: {
            metric: "Diameter",
            lower: 9_700_000n,
            upper: 10_300_000n,
            samples: measured(["9.9", "10.0", "10.1", "10.0", "10.0"]),
          },
        },
      ),
    ]),
    value: "1.414214",
  },
};
