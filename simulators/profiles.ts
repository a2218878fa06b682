/**
 * What distinguishes the three simulated plants (有色金属加工): machines, ratings, pace and working temperatures.
 * Figures are plausible for the trade and deliberately faster than life in pieces, so that a counter moves every second.
 */

export const PROFILE_NAMES = ["copper-casting", "aluminium-extrusion", "copper-rolling"] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

export type Label = { readonly en: string; readonly zh: string };

/** Parameters of one machine. Powers are drawn around these values in quanta of 36 W (see machine.ts). */
export type MachineProfile = {
  readonly label: Label;
  readonly runningW: number;
  readonly setUpW: number;
  readonly idleW: number;
  readonly faultW: number;
  /** Pieces per 1000 s while running, before the drift of a few per cent. */
  readonly piecesPer1000S: number;
  /** First inspection fails in this many of 1000 pieces; 400 of 1000 of those are scrapped, the others reworked. */
  readonly failPer1000: number;
  /** Every n-th piece is inspected. */
  readonly inspectEvery: number;
  readonly runningMilliC: number;
  readonly restMilliC: number;
};

export type PlantProfile = {
  readonly name: ProfileName;
  readonly label: Label;
  readonly product: string;
  readonly machines: readonly [MachineProfile, MachineProfile, MachineProfile];
};

export const PROFILES: Readonly<Record<ProfileName, PlantProfile>> = {
  "copper-casting": {
    name: "copper-casting",
    label: { en: "copper melting and casting", zh: "铜材熔铸" },
    product: "copper-billet",
    machines: [
      {
        label: { en: "induction melting furnace", zh: "熔炼炉" },
        runningW: 420_000,
        setUpW: 150_000,
        idleW: 62_000,
        faultW: 18_000,
        piecesPer1000S: 900,
        failPer1000: 45,
        inspectEvery: 1,
        runningMilliC: 1_180_000,
        restMilliC: 980_000,
      },
      {
        label: { en: "continuous caster", zh: "连铸机" },
        runningW: 85_000,
        setUpW: 30_000,
        idleW: 12_000,
        faultW: 4_000,
        piecesPer1000S: 1_100,
        failPer1000: 60,
        inspectEvery: 2,
        runningMilliC: 640_000,
        restMilliC: 210_000,
      },
      {
        label: { en: "billet saw", zh: "锯切机" },
        runningW: 46_000,
        setUpW: 14_000,
        idleW: 5_500,
        faultW: 1_500,
        piecesPer1000S: 1_400,
        failPer1000: 25,
        inspectEvery: 3,
        runningMilliC: 68_000,
        restMilliC: 31_000,
      },
    ],
  },
  "aluminium-extrusion": {
    name: "aluminium-extrusion",
    label: { en: "aluminium profile extrusion", zh: "铝型材挤压" },
    product: "aluminium-profile",
    machines: [
      {
        label: { en: "billet heater", zh: "铝棒加热炉" },
        runningW: 160_000,
        setUpW: 90_000,
        idleW: 28_000,
        faultW: 6_000,
        piecesPer1000S: 800,
        failPer1000: 20,
        inspectEvery: 1,
        runningMilliC: 480_000,
        restMilliC: 390_000,
      },
      {
        label: { en: "extrusion press", zh: "挤压机" },
        runningW: 240_000,
        setUpW: 70_000,
        idleW: 36_000,
        faultW: 9_000,
        piecesPer1000S: 1_250,
        failPer1000: 70,
        inspectEvery: 2,
        runningMilliC: 455_000,
        restMilliC: 300_000,
      },
      {
        label: { en: "ageing furnace", zh: "时效炉" },
        runningW: 130_000,
        setUpW: 60_000,
        idleW: 21_000,
        faultW: 5_000,
        piecesPer1000S: 1_000,
        failPer1000: 30,
        inspectEvery: 4,
        runningMilliC: 195_000,
        restMilliC: 120_000,
      },
    ],
  },
  "copper-rolling": {
    name: "copper-rolling",
    label: { en: "copper plate and strip rolling", zh: "铜板带轧制" },
    product: "copper-strip",
    machines: [
      {
        label: { en: "hot mill", zh: "热轧机" },
        runningW: 520_000,
        setUpW: 110_000,
        idleW: 58_000,
        faultW: 16_000,
        piecesPer1000S: 750,
        failPer1000: 55,
        inspectEvery: 1,
        runningMilliC: 870_000,
        restMilliC: 240_000,
      },
      {
        label: { en: "cold mill", zh: "冷轧机" },
        runningW: 380_000,
        setUpW: 80_000,
        idleW: 44_000,
        faultW: 11_000,
        piecesPer1000S: 1_150,
        failPer1000: 40,
        inspectEvery: 2,
        runningMilliC: 92_000,
        restMilliC: 38_000,
      },
      {
        label: { en: "annealing furnace", zh: "退火炉" },
        runningW: 210_000,
        setUpW: 120_000,
        idleW: 47_000,
        faultW: 8_000,
        piecesPer1000S: 950,
        failPer1000: 35,
        inspectEvery: 3,
        runningMilliC: 560_000,
        restMilliC: 430_000,
      },
    ],
  },
};

/** Narrows a string to a profile name. */
export function isProfileName(value: unknown): value is ProfileName {
  return typeof value === "string" && Object.hasOwn(PROFILES, value);
}
