import type { Carrier } from "../roles.ts";

/**
 * Conversion factors to standard coal, equivalent value (当量值), GB/T 2589-2020 annex A. Exact decimals as integers: kgce per unit of the
 * carrier's role x 10^-5. A change of any factor is a new table with a new name; every figure that used one names it. What a carrier's heat
 * depends on is measured, not listed: natural gas and steam have the factors that the registry declares.
 */
export const factorTable = {
  name: "GB/T 2589-2020",
  per100000: {
    /** kgce/kWh */
    electricity: 12_290n,
    /** kgce/MJ */
    heat: 3412n,
    /** kgce/t, and a cubic metre of fresh water is a tonne. */
    water: 25_710n,
    /** kgce/m3 */
    compressed_air: 4000n,
  },
} as const satisfies { name: string; per100000: Partial<Record<Carrier, bigint>> };

/** Places of a factor to standard coal. */
export const factorPlaces = 5;

/** The carriers whose factor the registry declares, with its unit. */
export const declaredFactors = {
  gas: "kgce/m3",
  steam: "kgce/t",
} as const satisfies Partial<Record<Carrier, string>>;

/**
 * Average carbon dioxide factors of electricity of the grids, kgCO2/kWh x 10^-4, as the ministry of ecology and environment and the
 * bureau of statistics publish them for a year (生态环境部、国家统计局: 电力二氧化碳排放因子, 2023, announced January 2026). Years that
 * follow get a table of their own, never a new number in this one.
 */
export const gridFactors = {
  year: 2023,
  per10000: { national: 5306n, east: 5500n, central: 5271n, south: 4042n },
} as const;

export type GridRegion = keyof typeof gridFactors.per10000;
export const gridRegions = Object.keys(gridFactors.per10000) as GridRegion[];

/** Name of the factor in figures: "CN grid CO2 2023, national". */
export function gridFactorName(region: GridRegion): string {
  return `CN grid CO2 ${gridFactors.year}, ${region}`;
}
