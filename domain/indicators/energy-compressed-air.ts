import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { carrierOfSite, figureOfPart } from "./parts.ts";

/** Compressed air bought through the incoming meters, as electricity is counted. */
export const energyCompressedAir: Indicator = {
  id: "energy.compressed_air",
  version: 1,
  zh: "外购压缩空气用量",
  en: "Compressed air bought",
  unit: "m3",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "Sum over the incoming compressed air meters of the increase of compressed_air.import in the period; the register is interpolated linearly at the period's edges. null: no incoming meter, or no part of the period lies between two readings of any",
  formulaZh:
    "进线压缩空气表在期内 compressed_air.import 的增量之和；周期边界处按线性插值。空值：无进线表，或期内无相邻读数",
  source: "GB/T 2589-2020, 5",
  figure: (of) => figureOfPart(carrierOfSite(of, "compressed_air"), "m3"),
  example: {
    zh: "进线压缩空气表增加 900 m³：用量 900 m³；厂内空压站自产的不算进线。",
    en: "The incoming meter of compressed air rose by 900 m3: 900 m3. Air from the factory's own compressors is not incoming.",
    site: site([meter("m1", "compressed_air", "900"), meter("m2", "compressed_air", "500", { point: "feeder" })]),
    value: "900",
  },
};
