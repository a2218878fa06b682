import { bandCost } from "./cost-band.ts";
import type { Indicator } from "./definition.ts";

export const costFlat: Indicator = bandCost({
  band: "flat",
  zh: "平时电费",
  en: "Cost of electricity, flat time",
  zhBand: "平",
  example: {
    zh: "平时段 400 kWh × 0.7 元 = 280 元。",
    en: "Flat time: 400 kWh x 0.7 CNY = 280 CNY.",
    value: "280",
  },
});
