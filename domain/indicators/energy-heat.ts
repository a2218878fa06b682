import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { carrierOfSite, figureOfPart } from "./parts.ts";

/** Heat through the incoming meters, as electricity is counted. */
export const energyHeat: Indicator = {
  id: "energy.heat",
  version: 1,
  zh: "热力用量",
  en: "Heat",
  unit: "MJ",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "Sum over the incoming heat meters of the increase of heat.import in the period; the register is interpolated linearly at the period's edges. null: no incoming meter, or no part of the period lies between two readings of any",
  formulaZh: "进线热量表在期内 heat.import 的增量之和；周期边界处按线性插值。空值：无进线表，或期内无相邻读数",
  source: "GB/T 2589-2020, 5",
  figure: (of) => figureOfPart(carrierOfSite(of, "heat"), "MJ"),
  example: {
    zh: "进线热量表期内增加 3,600 MJ：热力用量 3,600 MJ。",
    en: "The incoming heat meter rose by 3,600 MJ: heat is 3,600 MJ.",
    site: site([meter("m1", "heat", "3600")]),
    value: "3600",
  },
};
