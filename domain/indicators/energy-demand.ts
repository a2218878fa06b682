import { formatScaled } from "../decimal.ts";
import { absentFigure, share } from "../result.ts";
import { type Indicator, ratioPeriods } from "./definition.ts";
import { exampleStartMs, factory, meter, site } from "./examples.ts";
import { carrierOfSite, incomingMeters, isTold } from "./parts.ts";

/** Places of kWh, and so of kW. */
const places = 6;

/** Demand of a customer of the grid: of a factory, not of several, which are billed apart. */
export const energyDemand: Indicator = {
  id: "energy.demand_max",
  version: 1,
  zh: "最大需量",
  en: "Maximum demand",
  unit: "kW",
  levels: ["factory"],
  periods: ratioPeriods.filter((period) => period !== "shift"),
  reasons: ["no_meter", "no_data"],
  formula:
    "Greatest mean power of a quarter hour of the period through the incoming electricity meters together: energy of the quarter hour x 4. Quarter hours begin at :00, :15, :30, :45; those that have passed count. A quarter hour that a meter does not tell makes it a lower bound",
  formulaZh:
    "期内各 15 分钟平均功率的最大值：全部进线电表该 15 分钟电量之和 × 4；自整点起算，计已结束者。有表未知时为下限",
  source:
    "demand of 15 minutes as grid companies bill it; national energy-monitoring precedent: 15-minute values, labelled by their start",
  figure: (of) => {
    const [one] = of.factories;
    if (!one || incomingMeters(one, of, "electricity").length === 0) return absentFigure("no_meter");
    const energy = carrierOfSite(of, "electricity");
    if (!one.demand || !isTold(energy)) return absentFigure("no_data", 0);
    const { amount, estimated, partial } = one.demand;
    return {
      value: formatScaled(amount * 4n, places),
      reason: null,
      completeness: share(BigInt(energy.coveredMs), BigInt(energy.dueMs)),
      estimatedShare: share(estimated, amount),
      lowerBound: partial,
    };
  },
  example: {
    zh: "一小时的四个 15 分钟用电 20、25.5、22、18 kWh：最大 25.5 kWh × 4 = 102 kW。",
    en: "The four quarter hours of an hour took 20, 25.5, 22 and 18 kWh: the greatest is 25.5 kWh x 4 = 102 kW.",
    site: site([], {
      factories: [
        factory([meter("m1", "electricity", "85.5")], {
          demand: { amount: 25_500_000n, startMs: exampleStartMs + 900_000, estimated: 0n, partial: false },
        }),
      ],
    }),
    value: "102",
  },
};
