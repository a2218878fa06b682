import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { carrierOfSite, figureOfPart } from "./parts.ts";

/** Fresh water through the incoming meters, as electricity is counted. */
export const energyWater: Indicator = {
  id: "energy.water",
  version: 1,
  zh: "用水量",
  en: "Fresh water",
  unit: "m3",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "Sum over the incoming water meters of the increase of water.import in the period; the register is interpolated linearly at the period's edges. null: no incoming meter, or no part of the period lies between two readings of any",
  formulaZh: "进线水表在期内 water.import 的增量之和；周期边界处按线性插值。空值：无进线表，或期内无相邻读数",
  source: "GB/T 2589-2020, 5",
  figure: (of) => figureOfPart(carrierOfSite(of, "water"), "m3"),
  example: {
    zh: "两台进线水表增加 3.2 m³ 与 0.8 m³：用水量 4 m³。",
    en: "Two incoming water meters rose by 3.2 and 0.8 m3: fresh water is 4 m3.",
    site: site([meter("m1", "water", "3.2"), meter("m2", "water", "0.8")]),
    value: "4",
  },
};
