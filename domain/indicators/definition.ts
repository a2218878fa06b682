import type { Level } from "../result.ts";

/** What an indicator is: pure data beside its pure formula. A change of meaning is a new `version`; every figure names the one it used. */
export type IndicatorDefinition = {
  /** `energy.electricity`; never changed once published. */
  readonly id: string;
  readonly version: number;
  readonly zh: string;
  readonly en: string;
  /** UCUM-like unit of the figure; "1" for counts. */
  readonly unit: string;
  /** Levels of the tree at which it is computed. */
  readonly levels: readonly Level[];
  /** The formula in words, with what makes it null. */
  readonly formula: string;
  /** Standard or notice and clause that it follows. */
  readonly source: string;
};

const siteLevels = ["factory", "enterprise", "cluster"] as const satisfies readonly Level[];
const groupLevels = ["enterprise", "cluster"] as const satisfies readonly Level[];

export { groupLevels, siteLevels };
