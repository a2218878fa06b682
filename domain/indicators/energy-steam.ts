import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { carrierOfSite, figureOfPart } from "./parts.ts";

/** Steam through the incoming meters, as electricity is counted. */
export const energySteam: Indicator = {
  id: "energy.steam",
  version: 1,
  zh: "蒸汽用量",
  en: "Steam",
  unit: "t",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "Sum over the incoming steam meters of the increase of steam.import in the period; the register is interpolated linearly at the period's edges. null: no incoming meter, or no part of the period lies between two readings of any",
  formulaZh: "进线蒸汽表在期内 steam.import 的增量之和；周期边界处按线性插值。空值：无进线表，或期内无相邻读数",
  source: "GB/T 2589-2020, 5",
  figure: (of) => figureOfPart(carrierOfSite(of, "steam"), "t"),
  example: {
    zh: "进线蒸汽表期内增加 2.5 t：蒸汽用量 2.5 t。",
    en: "The incoming steam meter rose by 2.5 t: steam is 2.5 t.",
    site: site([meter("m1", "steam", "2.5")]),
    value: "2.5",
  },
};
