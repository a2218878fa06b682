import { hourMs } from "../periods.ts";
import { absentFigure, type NullReason, nearestReason, share } from "../result.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { machine, site } from "./examples.ts";
import { formatFraction, ratioPlaces } from "./fraction.ts";
import { outputOf } from "./output.ts";

/** Pieces that leave a site in an hour. Output machines alone: of machines in series each would count a piece again. */
export const throughput: Indicator = {
  id: "production.throughput",
  version: 1,
  zh: "产出率",
  en: "Throughput rate",
  unit: "pcs/h",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_output", "no_register", "no_data", "mixed_products"],
  formula:
    "PQ / time: produced quantity of the output machines over what has passed of the period, over the factories that tell it. null where the output is of several products, which do not add up",
  formulaZh: "产出设备的产量 ÷ 期内已过时间（小时），仅计可知的工厂；产品不同不可相加时为空",
  source: "ISO 22400-2:2014, throughput rate; time is that of the period",
  better: "more",
  figure: (of) => {
    const found = of.factories.map((one) => ({ id: one.id, output: outputOf(one, of, "production.total") }));
    const told = found.flatMap(({ id, output }) => (typeof output === "string" ? [] : [{ id, output }]));
    const lacking = found.flatMap(({ output }): NullReason[] => (typeof output === "string" ? [output] : []));
    const due = lacking.filter((reason) => reason !== "no_output").length + told.length;
    const coveredMs = told.reduce(
      (ms, { output: { coveredMs: own, dueMs } }) => ms + Math.floor(own / (dueMs / of.elapsedMs)),
      0,
    );
    const completeness = due > 0 ? share(BigInt(coveredMs), BigInt(of.elapsedMs * due)) : null;
    if (told.length === 0) return absentFigure(nearestReason(lacking) ?? "no_output", completeness);
    const products = new Set(told.flatMap(({ id, output }) => [...output.products].map((name) => name ?? `of ${id}`)));
    if (products.size > 1) return absentFigure("mixed_products", completeness);
    const amount = told.reduce((sum, { output }) => sum + output.amount, 0n);
    const estimated = told.reduce((sum, { output }) => sum + output.estimated, 0n);
    const ratio = { numerator: amount * BigInt(hourMs), denominator: BigInt(of.elapsedMs) * 1_000_000n };
    return {
      value: formatFraction(ratio, ratioPlaces),
      reason: null,
      completeness,
      estimatedShare: share(estimated, amount),
      lowerBound: due > told.length || told.some(({ output }) => output.lowerBound),
    };
  },
  example: {
    zh: "末道设备 30 分钟内产出 180 件：180 ÷ 0.5 小时 = 360 件/小时。前道设备不计。",
    en: "The last machine made 180 pieces in the 30 minutes that have passed: 180 / 0.5 h = 360 an hour. Machines before it do not count.",
    site: site(
      [
        machine("press", { pieces: { "production.total": "180" } }, { output: true }),
        machine("saw", { pieces: { "production.total": "185" } }),
      ],
      { elapsedMs: hourMs / 2 },
    ),
    value: "360",
  },
};
