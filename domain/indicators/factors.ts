/**
 * Conversion factors to standard coal, equivalent value (当量值), GB/T 2589-2020 annex A. Exact decimals as integers: kgce per unit x 10^-4.
 * A change of any factor is a new table with a new name; every figure that used one names it.
 */
export const factorTable = {
  name: "GB/T 2589-2020",
  /** 0.1229 kgce/kWh */
  electricityPer10000: 1229n,
} as const;
