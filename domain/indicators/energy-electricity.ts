import { allPeriods, type Indicator, siteLevels } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { carrierOfSite, figureOfPart } from "./parts.ts";

/** Electricity through the incoming meters. Feeders lie behind them and would be counted twice. */
export const energyElectricity: Indicator = {
  id: "energy.electricity",
  version: 1,
  zh: "用电量",
  en: "Electricity",
  unit: "kWh",
  levels: siteLevels,
  periods: allPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "Sum over the incoming electricity meters of the increase of energy.import in the period; the register is interpolated linearly at the period's edges. On a line: over its meters that lie behind no other meter of it. null: no incoming meter, or no part of the period lies between two readings of any",
  formulaZh:
    "进线电表在期内 energy.import 的增量之和；周期边界处按线性插值。空值：无进线表，或期内无相邻读数。产线：不在本线其他表之后的表",
  source: "GB/T 2589-2020, 5; energy KPI facts: counters",
  figure: (of) => figureOfPart(carrierOfSite(of, "electricity"), "kWh"),
  example: {
    zh: "两台进线电表：一台从 1,000 kWh 走到 1,250.5 kWh，另一台走了 49.5 kWh；分路表在其后，不再相加。用电量 250.5 + 49.5 = 300 kWh。",
    en: "Two incoming meters: one went from 1,000 to 1,250.5 kWh, the other counted 49.5 kWh. A feeder lies behind them and is not added. Electricity is 250.5 + 49.5 = 300 kWh.",
    site: site([
      meter("m1", "electricity", "250.5"),
      meter("m2", "electricity", "49.5"),
      meter("m3", "electricity", "80", { point: "feeder" }),
    ]),
    value: "300",
  },
};
