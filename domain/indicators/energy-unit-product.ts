import type { SiteSums } from "../period-sums.ts";
import { absentFigure, type Figure, type NullReason, nearestReason, share } from "../result.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { coalFactors, comprehensiveOf } from "./energy-comprehensive.ts";
import { machine, meter, site } from "./examples.ts";
import { type Fraction, formatFraction } from "./fraction.ts";
import { type Output, outputOf } from "./output.ts";
import { isTold, type Part, type ToldPart } from "./parts.ts";

/** Places of the figure: a small part takes less than a milligram of coal. */
export const unitProductPlaces = 9;

/**
 * Energy per piece as an exact fraction.
 * @param energy kgce as an integer at 11 places
 * @param output good pieces as an integer at 6 places
 */
export function unitProductEnergy(energy: bigint, output: bigint): Fraction | NullReason {
  return output > 0n ? { numerator: energy, denominator: output * 100_000n } : "no_production";
}

/** What a factory lacks for good is told before what a period happens to lack. */
function lackOf(energy: Part, output: Output | NullReason): NullReason {
  const lacks = [energy.reason, typeof output === "string" ? output : null].filter((lack) => lack !== null);
  return lacks.find((lack) => lack !== "no_data") ?? "no_data";
}

/** The time that the less complete of two terms covers, each on average over its counters. */
function coveredOfBoth(energy: ToldPart, output: Output, { elapsedMs }: SiteSums): number {
  const [ofEnergy, ofOutput] = [energy, output].map(({ coveredMs, dueMs }) =>
    Math.floor(coveredMs / (dueMs / elapsedMs)),
  ) as [number, number];
  return Math.min(ofEnergy, ofOutput);
}

/**
 * Sums of both terms over the same factories. Completeness is that of the less complete of a factory's two terms, averaged over the
 * factories that have a meter or an output.
 */
function figure(of: SiteSums): Figure {
  const reasons: NullReason[] = [];
  const both: { energy: ToldPart; output: Output }[] = [];
  const products = new Set<string>();
  let factories = 0;
  for (const one of of.factories) {
    const energy = comprehensiveOf(one, of);
    const output = outputOf(one, of, "production.good");
    if (energy.reason === "no_meter" && output === "no_output") {
      reasons.push("no_meter");
      continue;
    }
    factories += 1;
    if (isTold(energy) && typeof output !== "string") {
      both.push({ energy, output });
      // What two factories make without saying what it is, is not the same.
      for (const product of output.products) products.add(product ?? `of ${one.id}`);
    } else reasons.push(lackOf(energy, output));
  }
  const coveredMs = both.reduce((ms, { energy, output }) => ms + coveredOfBoth(energy, output, of), 0);
  const completeness = factories > 0 ? share(BigInt(coveredMs), BigInt(of.elapsedMs * factories)) : null;
  if (both.length === 0) return absentFigure(nearestReason(reasons) ?? "no_meter", completeness);
  if (products.size > 1) return absentFigure("mixed_products", completeness);
  const sum = (term: "energy" | "output", field: "amount" | "estimated") =>
    both.reduce((total, terms) => total + terms[term][field], 0n);
  const [energy, output] = [sum("energy", "amount"), sum("output", "amount")];
  const ratio = unitProductEnergy(energy, output);
  if (typeof ratio === "string") return absentFigure(ratio, completeness);
  return {
    value: formatFraction(ratio, unitProductPlaces),
    reason: null,
    completeness,
    estimatedShare: Math.max(share(sum("energy", "estimated"), energy), share(sum("output", "estimated"), output)),
    lowerBound: both.some((terms) => terms.energy.lowerBound || terms.output.lowerBound),
  };
}

/**
 * Energy of a piece. Output is the good production of the machines that the registry marks `output: true`: machines in series would
 * count a piece several times.
 */
export const energyUnitProduct: Indicator = {
  id: "energy.unit_product",
  version: 2,
  zh: "单位产品综合能耗",
  en: "Energy per unit of product",
  unit: "kgce/pcs",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_meter", "no_factor", "no_output", "no_register", "no_data", "no_production", "mixed_products"],
  formula:
    "E / P: comprehensive energy over all carriers, over good production of the output machines, over the factories that have both. null where a term is missing, and where the output is of several products, which do not add up",
  formulaZh: "E / P：综合能耗 ÷ 产出设备的合格品数，仅计两项俱全的工厂。空值：缺项，或产品不同不可相加",
  source: "GB/T 2589-2020, 单位产品综合能耗: comprehensive energy per unit of qualified product",
  better: "less",
  figure,
  factors: coalFactors,
  example: {
    zh: "用电 1,000 kWh 折 122.9 kgce；末道设备合格品 4,000 件：122.9 ÷ 4,000 = 0.030725 kgce/件。",
    en: "1,000 kWh are 122.9 kgce; the last machine made 4,000 good pieces: 122.9 / 4,000 = 0.030725 kgce a piece.",
    site: site([
      meter("m1", "electricity", "1000"),
      machine("press", { pieces: { "production.good": "4000" } }, { output: true }),
    ]),
    value: "0.030725",
  },
};
