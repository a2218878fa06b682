import type { SiteSums } from "../period-sums.ts";
import type { Period } from "../periods.ts";

/** Something that needs a person's eye, as a check found it. One row per (code, subject) is kept; count and last time grow. */
export type Found = {
  /** A device (`factory/gateway/device`) or a factory. */
  readonly subject: string;
  /** What was seen, with numbers and what to do. */
  readonly detail: string;
};

/** A check of the sums of one factory, made for each period that has become final, and again when late data changes them. It is one file with one test case. */
export type FindingCheck = {
  readonly code: string;
  readonly zh: string;
  readonly en: string;
  /** When it is made. */
  readonly periods: readonly Period[];
  /** Pure. @param site the sums of one factory */
  readonly check: (site: SiteSums) => Found[];
};

/** Share of the time that readings must cover before sums are compared: what is missing would be taken for a fault. */
export const judgedFrom = 0.9;

/** True when readings cover enough of what has passed to be judged by. */
export function isJudged(coveredMs: number, { elapsedMs }: Pick<SiteSums, "elapsedMs">): boolean {
  return coveredMs >= judgedFrom * elapsedMs;
}

/** A share as people read it: 0.0725 -> "7.3 %". */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
