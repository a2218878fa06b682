import type { SiteSums } from "../period-sums.ts";
import { type Period, periods } from "../periods.ts";
import { type Figure, type Level, levels, type NullReason } from "../result.ts";

/**
 * What an indicator is: pure data beside its pure formula. A change of meaning is a new `version`; every figure names the one it used. Its unit
 * never changes: that would be another indicator.
 */
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
  /** The formula in words, with its terms and what makes it null. */
  readonly formula: string;
  /** The same in Chinese. */
  readonly formulaZh: string;
  /** Standard or notice and clause that it follows. */
  readonly source: string;
  /** Which is better. Absent where more is neither: less energy with less output saves nothing; what a piece takes tells that. */
  readonly better?: "more" | "less";
};

/** A case worked by hand, to be followed without reading code; the tests compute it. */
export type WorkedExample = {
  readonly zh: string;
  readonly en: string;
  /** What the words say, as sums (examples.ts). */
  readonly site: SiteSums;
  /** The figure's value that the words come to; null for an example of what makes it null. */
  readonly value: string | null;
};

/** A version of an indicator: definition, formula, worked example. */
export type IndicatorVersion = IndicatorDefinition & {
  /** The formula. Pure: equal sums give equal digits. It is asked at its own levels and periods alone. */
  readonly figure: (site: SiteSums) => Figure;
  /** Names of the factor tables that the figure of a site uses; null where it uses none. */
  readonly factors?: (site: SiteSums) => string | null;
  readonly example: WorkedExample;
};

/**
 * An indicator of the catalogue. It is one file, which keeps the versions of before with their formulas and examples (or imports them from beside
 * it): figures of a period that ended under one of them keep it, also when they are computed again (in-force.ts).
 */
export type Indicator = IndicatorVersion & { readonly earlier?: readonly IndicatorVersion[] };

/** Levels whose figures are kept; single devices are asked for. */
const siteLevels: readonly Level[] = levels.filter((level) => level !== "device");
/** Of several factories. */
const groupLevels: readonly Level[] = siteLevels.filter((level) => !["line", "factory"].includes(level));
/** Factories and what is above them: what is billed or connected as a whole. */
const factoryLevels: readonly Level[] = siteLevels.filter((level) => (level as string) !== "line");
/** Ratios of machines are made at every level; those of single machines when they are asked for. */
const machineLevels: readonly Level[] = levels;
/** So are alarms. */
const levelsOfAlarms: readonly Level[] = levels;

/** A ratio of a minute says little and would be most of all figures. */
const ratioPeriods: readonly Period[] = periods.filter((period) => !["minute", "quarter_hour"].includes(period));
const allPeriods: readonly Period[] = periods;

export { allPeriods, factoryLevels, groupLevels, levelsOfAlarms, machineLevels, ratioPeriods, siteLevels };
