import type { Band } from "../tariff.ts";
import { costFigure } from "./cost.ts";
import { factoryLevels, type Indicator, ratioPeriods } from "./definition.ts";
import { tariffSite } from "./examples.ts";

/** What the cost of one band says of itself; all else of it is as for the others. */
export type BandCost = Pick<Indicator, "zh" | "en"> & {
  readonly band: Band;
  /** The band in a Chinese sentence. */
  readonly zhBand: string;
  readonly example: Pick<Indicator["example"], "zh" | "en" | "value">;
};

/** The indicator of what electricity of one band of the tariff costs. Every example is of the same factory. */
export function bandCost({ band, zh, en, zhBand, example }: BandCost): Indicator {
  return {
    id: `cost.electricity_${band}`,
    version: 1,
    zh,
    en,
    unit: "CNY",
    levels: factoryLevels,
    periods: ratioPeriods,
    reasons: ["no_meter", "no_tariff", "no_data"],
    formula: `Sum over the incoming electricity meters of the kWh in the minutes of the ${band} band of the factory's tariff, times its price; 0 where the period has no such minutes. null: no incoming meter, no tariff, no readings`,
    formulaZh: `进线电表在${zhBand}时段的电量 × 该时段电价；期内无该时段为 0。空值：无进线表、未登记电价或无读数`,
    source: "国家发展改革委 发改价格〔2021〕1093号 分时电价; the factory's tariff in the registry",
    figure: (of) => costFigure(of, [band]),
    example: {
      ...example,
      site: tariffSite,
    },
  };
}
