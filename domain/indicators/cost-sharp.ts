import { bandCost } from "./cost-band.ts";
import type { Indicator } from "./definition.ts";

export const costSharp: Indicator = bandCost({
  band: "sharp",
  zh: "尖峰电费",
  en: "Cost of electricity, sharp time",
  zhBand: "尖",
  example: {
    zh: "尖时段 100 kWh × 1.5 元 = 150 元。",
    en: "Sharp time: 100 kWh x 1.5 CNY = 150 CNY.",
    value: "150",
  },
});
