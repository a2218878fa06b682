import { bandCost } from "./cost-band.ts";
import type { Indicator } from "./definition.ts";

export const costValley: Indicator = bandCost({
  band: "valley",
  zh: "谷时电费",
  en: "Cost of electricity, valley time",
  zhBand: "谷",
  example: {
    zh: "谷时段 200 kWh × 0.3 元 = 60 元。",
    en: "Valley time: 200 kWh x 0.3 CNY = 60 CNY.",
    value: "60",
  },
});
