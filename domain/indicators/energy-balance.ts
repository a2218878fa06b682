import { absentFigure, nearestReason, share } from "../result.ts";
import { factoryLevels, type Indicator, ratioPeriods } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { balanceOf } from "./feeders.ts";
import { formatFraction, ratioPlaces } from "./fraction.ts";

/** What the incoming meters count and no feeder does: losses, loads without a meter of their own, or a meter that is wrong. */
export const energyBalance: Indicator = {
  id: "energy.balance",
  version: 1,
  zh: "电能平衡差率",
  en: "Energy balance deviation",
  unit: "1",
  levels: factoryLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_feeder", "no_data", "no_energy"],
  formula:
    "(incoming - feeders) / incoming: kWh of the incoming electricity meters less those of the feeders directly behind them, over the incoming, over the factories that have both. Below 0 the feeders count more than came in",
  formulaZh: "（进线电量 − 直接其后的分路电量）÷ 进线电量，仅计两者俱有的工厂；为负表示分路之和大于进线",
  source: "GB 17167 energy measuring instruments; GB/T 3484 energy balance of enterprises",
  figure: (of) => {
    const found = of.factories.map((one) => balanceOf(one, of));
    const both = found.filter((one) => one.reason === null);
    const due = found.filter((one) => one.reason !== null && one.due).length;
    const parts = both.flatMap(({ incoming, feeders }) => [incoming, feeders]);
    const sum = (side: "incoming" | "feeders", field: "amount" | "estimated") =>
      both.reduce((total, one) => total + one[side][field], 0n);
    const covered = both.map(({ incoming, feeders }) =>
      Math.min(...[incoming, feeders].map((part) => Math.floor(part.coveredMs / (part.dueMs / of.elapsedMs)))),
    );
    const coveredMs = covered.reduce((ms, own) => ms + own, 0);
    const factories = both.length + due;
    const completeness = factories > 0 ? share(BigInt(coveredMs), BigInt(of.elapsedMs * factories)) : null;
    if (both.length === 0)
      return absentFigure(nearestReason(found.flatMap(({ reason }) => reason ?? [])) ?? "no_meter", completeness);
    const [incoming, feeders] = [sum("incoming", "amount"), sum("feeders", "amount")];
    if (incoming === 0n) return absentFigure("no_energy", completeness);
    return {
      value: formatFraction({ numerator: incoming - feeders, denominator: incoming }, ratioPlaces),
      reason: null,
      completeness,
      estimatedShare: Math.max(
        share(sum("incoming", "estimated"), incoming),
        share(sum("feeders", "estimated"), feeders),
      ),
      lowerBound: parts.some(({ lowerBound }) => lowerBound) || due > 0,
    };
  },
  example: {
    zh: "进线 1,000 kWh；其后三路 500、300、160 kWh，第三路之后还有一块 90 kWh 的表（已含在内，不再计）：(1,000 − 960) ÷ 1,000 = 0.04。",
    en: "1,000 kWh came in; three feeders behind it counted 500, 300 and 160 kWh, and a meter of 90 kWh lies behind the third and is in it: (1,000 - 960) / 1,000 = 0.04.",
    site: site([
      meter("main", "electricity", "1000"),
      meter("a", "electricity", "500", { point: "feeder" }),
      meter("b", "electricity", "300", { point: "feeder", parent: "f1/gw-1/main" }),
      meter("c", "electricity", "160", { point: "feeder", parent: "f1/gw-1/main" }),
      meter("d", "electricity", "90", { point: "feeder", parent: "f1/gw-1/c" }),
    ]),
    value: "0.04",
  },
};
