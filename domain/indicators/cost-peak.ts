import { bandCost } from "./cost-band.ts";
import type { Indicator } from "./definition.ts";

export const costPeak: Indicator = bandCost({
  band: "peak",
  zh: "峰时电费",
  en: "Cost of electricity, peak time",
  zhBand: "峰",
  example: {
    zh: "峰时段 300 kWh × 1.2 元 = 360 元。",
    en: "Peak time: 300 kWh x 1.2 CNY = 360 CNY.",
    value: "360",
  },
});
