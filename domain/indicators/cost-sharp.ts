import { costFigure } from "./cost.ts";
import { factoryLevels, type Indicator, ratioPeriods } from "./definition.ts";
import { counted, factory, meter, site } from "./examples.ts";

export const costSharp: Indicator = {
  id: "cost.electricity_sharp",
  version: 1,
  zh: "尖峰电费",
  en: "Cost of electricity, sharp time",
  unit: "CNY",
  levels: factoryLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_tariff", "no_data"],
  formula:
    "Sum over the incoming electricity meters of the kWh in the minutes of the sharp band of the factory's tariff, times its price; 0 where the period has no such minutes. null: no incoming meter, no tariff, no readings",
  formulaZh: "进线电表在尖时段的电量 × 该时段电价；期内无该时段为 0。空值：无进线表、未登记电价或无读数",
  source: "国家发展改革委 发改价格〔2021〕1093号 分时电价; the factory's tariff in the registry",
  figure: (of) => costFigure(of, ["sharp"]),
  example: {
    zh: "尖时段 100 kWh × 1.5 元 = 150 元。",
    en: "Sharp time: 100 kWh x 1.5 CNY = 150 CNY.",
    site: site([], {
      factories: [
        factory(
          [
            meter("m1", "electricity", "1000", {
              bands: {
                sharp: counted("100"),
                peak: counted("300"),
                flat: counted("400"),
                valley: counted("200"),
              },
            }),
          ],
          { pricesPer10000: { sharp: 15_000n, peak: 12_000n, flat: 7000n, valley: 3000n } },
        ),
      ],
    }),
    value: "150",
  },
};
