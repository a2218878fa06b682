import { costFigure } from "./cost.ts";
import { factoryLevels, type Indicator, ratioPeriods } from "./definition.ts";
import { tariffSite } from "./examples.ts";

export const costElectricity: Indicator = {
  id: "cost.electricity",
  version: 1,
  zh: "电费",
  en: "Cost of electricity",
  unit: "CNY",
  levels: factoryLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_tariff", "no_data"],
  formula:
    "Sum over the incoming electricity meters and the bands of the factory's tariff (sharp, peak, flat, valley) of the kWh in the minutes of the band times its price. No basic charge, no power factor adjustment. null: no incoming meter, no tariff, no readings",
  formulaZh:
    "进线电表在尖、峰、平、谷各时段的电量乘以该时段电价之和；不含基本电费与力调电费。空值：无进线表、未登记电价或无读数",
  source: "国家发展改革委 发改价格〔2021〕1093号 分时电价; the factory's tariff in the registry",
  figure: (of) => costFigure(of, ["sharp", "peak", "flat", "valley"]),
  example: {
    zh: "尖 100 kWh × 1.5 元 + 峰 300 × 1.2 + 平 400 × 0.7 + 谷 200 × 0.3 = 150 + 360 + 280 + 60 = 850 元。",
    en: "Sharp 100 kWh x 1.5 CNY + peak 300 x 1.2 + flat 400 x 0.7 + valley 200 x 0.3 = 150 + 360 + 280 + 60 = 850 CNY.",
    site: tariffSite,
    value: "850",
  },
};
