import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { carrierOfSite, figureOfPart } from "./parts.ts";

/** Natural gas through the incoming meters, as electricity is counted. */
export const energyGas: Indicator = {
  id: "energy.gas",
  version: 1,
  zh: "天然气用量",
  en: "Natural gas",
  unit: "m3",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "Sum over the incoming gas meters of the increase of gas.import in the period; the register is interpolated linearly at the period's edges. null: no incoming meter, or no part of the period lies between two readings of any",
  formulaZh: "进线燃气表在期内 gas.import 的增量之和；周期边界处按线性插值。空值：无进线表，或期内无相邻读数",
  source: "GB/T 2589-2020, 5",
  figure: (of) => figureOfPart(carrierOfSite(of, "gas"), "m3"),
  example: {
    zh: "进线燃气表期内增加 120 m³：天然气用量 120 m³。",
    en: "The incoming gas meter rose by 120 m3: natural gas is 120 m3.",
    site: site([meter("m1", "gas", "120")]),
    value: "120",
  },
};
