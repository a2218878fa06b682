import type { Period } from "./periods.ts";

/** Levels of the tree a figure can be asked for (ISA-95: enterprise, site; plus cluster and device). */
export const levels = ["device", "factory", "enterprise", "cluster"] as const;
export type Level = (typeof levels)[number];

export type ResultStatus = "provisional" | "final" | "revised";

/** Why a figure is null. Never filled with 0 or 100 %. */
export type NullReason = "no_data" | "no_meter" | "not_due";

/** Which figure: an indicator of an entity over a period. */
export type ResultKey = {
  /** Id of a definition in indicators/: `energy.electricity`. */
  indicator: string;
  level: Level;
  /** Id of the cluster, enterprise or factory; `factory/gateway/device` for a device. */
  entity: string;
  period: Period;
  /** Start of the period, UTC ms. */
  startMs: number;
};

/** A figure in its final form: a value, and everything needed to judge and to recompute it. */
export type Result = ResultKey & {
  /** End of the period (exclusive), UTC ms. */
  endMs: number;
  /** Decimal string in `unit`, or null with a `reason`. */
  value: string | null;
  reason: NullReason | null;
  unit: string;
  /** 0-1, four places: the part of the elapsed period (up to `asOfMs`) that readings cover; null where the figure has no such part. */
  completeness: number | null;
  /** 0-1, four places: the part of the value that interpolation over a gap at the period's edge assigned to it; null likewise. */
  estimatedShare: number | null;
  /** True when an increase could not be told (unexplained counter reset): the value is a lower bound. */
  lowerBound: boolean;
  status: ResultStatus;
  /** 0 until final; n for the n-th revision by late data. */
  revision: number;
  definitionVersion: number;
  /** Version of the factor table used, or null. */
  factorTable: string | null;
  registryVersion: string;
  /** Number of the last store transaction whose samples are in: the input can be asked for again. */
  inputWatermark: number;
  /** Platform time for which it was computed, UTC ms. */
  asOfMs: number;
  simulated: boolean;
};

/** One string for the key, for maps. */
export function resultId(key: ResultKey): string {
  return `${key.indicator}|${key.level}|${key.entity}|${key.period}|${key.startMs}`;
}

/** True when two results say the same of the world; times of computing and watermarks aside. */
export function sameFigure(a: Result, b: Result): boolean {
  return (
    a.value === b.value &&
    a.reason === b.reason &&
    a.completeness === b.completeness &&
    a.estimatedShare === b.estimatedShare &&
    a.lowerBound === b.lowerBound &&
    a.definitionVersion === b.definitionVersion &&
    a.factorTable === b.factorTable &&
    a.registryVersion === b.registryVersion
  );
}

/** A share of two sums as a number with four places: exact integers in, so equal inputs give equal digits. */
export function share(part: bigint, whole: bigint): number {
  if (whole === 0n) return 0;
  return Number((part * 10_000n * 2n + whole) / (whole * 2n)) / 10_000;
}
