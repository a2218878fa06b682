import type { FactorySums, SiteSums } from "../period-sums.ts";
import { type Carrier, carriers } from "../roles.ts";
import { allPeriods, type Indicator, siteLevels } from "./definition.ts";
import { factory, meter, site } from "./examples.ts";
import { factorTable } from "./factors.ts";
import { addParts, carrierOf, figureOfPart, incomingMeters, type Part, timesFactor } from "./parts.ts";

const listed: Partial<Readonly<Record<Carrier, bigint>>> = factorTable.per100000;

/** One carrier of a factory as standard coal, kgce at 11 places. */
function coalOf(of: FactorySums, within: SiteSums, carrier: Carrier): Part {
  const part = carrierOf(of, within, carrier);
  if (part.reason === "no_meter") return part;
  const factor = listed[carrier] ?? of.factorsPer100000[carrier];
  return factor === undefined ? { reason: "no_factor", dueMs: part.dueMs } : timesFactor(part, factor);
}

/** All carriers of one factory together. A carrier without a factor is a missing term, not a small one: then it is not known. */
export function comprehensiveOf(of: FactorySums, within: SiteSums): Part {
  const parts = carriers.map((carrier) => coalOf(of, within, carrier));
  const sum = addParts(parts);
  return parts.some(({ reason }) => reason === "no_factor") ? { reason: "no_factor", dueMs: sum.dueMs } : sum;
}

/** The table and the declared factors that a site's figure is made of. */
export function coalFactors(of: SiteSums): string {
  const declared = new Set(
    of.factories.flatMap((one) =>
      (Object.keys(one.factorsPer100000) as Carrier[]).filter(
        (carrier) => incomingMeters(one, of, carrier).length > 0 && listed[carrier] === undefined,
      ),
    ),
  );
  return [factorTable.name, ...[...declared].sort().map((carrier) => `${carrier} as declared`)].join(", ");
}

/** Comprehensive energy over all carriers that are metered. */
export const energyComprehensive: Indicator = {
  id: "energy.comprehensive",
  version: 2,
  zh: "综合能耗",
  en: "Comprehensive energy",
  unit: "kgce",
  levels: siteLevels,
  periods: allPeriods,
  reasons: ["no_meter", "no_factor", "no_data"],
  formula:
    "E = sum(e_i * k_i): over all carriers with incoming meters what came in, times its factor to standard coal, equivalent value. Factors stand in the table; those of natural gas and steam are declared in the registry by measured heat. null: no incoming meter, a metered carrier without a factor, or no readings. Of several factories one that is not known makes it a lower bound",
  formulaZh:
    "E = Σ(e_i × k_i)：各进线能源实物量乘以折标准煤系数（当量值）；天然气、蒸汽系数按实测热值在登记册中声明。空值：无进线表、已计量品种无系数或无读数；多个工厂中有未知者为下限",
  source: "GB/T 2589-2020, 6.1 and annex A",
  figure: (of) => figureOfPart(addParts(of.factories.map((one) => comprehensiveOf(one, of))), "kgce"),
  factors: coalFactors,
  example: {
    zh: "用电 1,000 kWh × 0.1229 = 122.9 kgce；天然气 100 m³ × 1.2143（登记册声明）= 121.43 kgce；新水 10 m³（10 t）× 0.2571 = 2.571 kgce；合计 246.901 kgce。",
    en: "Electricity 1,000 kWh x 0.1229 = 122.9 kgce; natural gas 100 m3 x 1.2143 (declared in the registry) = 121.43 kgce; fresh water 10 m3, which are 10 t, x 0.2571 = 2.571 kgce. Together 246.901 kgce.",
    site: site([], {
      factories: [
        factory([meter("m1", "electricity", "1000"), meter("m2", "gas", "100"), meter("m3", "water", "10")], {
          factorsPer100000: { gas: 121_430n },
        }),
      ],
    }),
    value: "246.901",
  },
};
