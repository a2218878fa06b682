import { type Period, periods } from "../periods.ts";
import type { Level, NullReason } from "../result.ts";

/** What an indicator is: pure data beside its pure formula. A change of meaning is a new `version`; every figure names the one it used. */
export type IndicatorDefinition = {
  /** `energy.electricity`; never changed once published. */
  readonly id: string;
  readonly version: number;
  readonly zh: string;
  readonly en: string;
  /** UCUM-like unit of the figure; "1" for counts and ratios. */
  readonly unit: string;
  /** Levels of the tree at which it is computed. */
  readonly levels: readonly Level[];
  /** Periods for which it is computed. */
  readonly periods: readonly Period[];
  /** Why it can be null; empty for what never is. Any figure is `not_due` before its period has begun. */
  readonly reasons: readonly NullReason[];
  /** The formula in words, with what makes it null. */
  readonly formula: string;
  /** Standard or notice and clause that it follows. */
  readonly source: string;
};

const siteLevels = ["factory", "enterprise", "cluster"] as const satisfies readonly Level[];
const groupLevels = ["enterprise", "cluster"] as const satisfies readonly Level[];
/** Ratios of machines are made at every level; those of single machines when they are asked for. */
const machineLevels = ["device", ...siteLevels] as const satisfies readonly Level[];

/** A ratio of a minute says little and would be most of all figures. */
const ratioPeriods = ["hour", "day"] as const satisfies readonly Period[];
const allPeriods: readonly Period[] = periods;

export { allPeriods, groupLevels, machineLevels, ratioPeriods, siteLevels };
