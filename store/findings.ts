import type { Period } from "@jilian/domain/periods.ts";

/**
 * Something that needs a person's eye. One row per (code, subject): count and last time grow. One that was found in a period is closed when
 * its last period is looked at again and does not show it any more; it stays in the list.
 */
export type Finding = {
  readonly code: string;
  readonly subject: string;
  readonly detail: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly count: number;
  /** When it was closed, platform time, and what cured it; null while it is open. */
  readonly closedMs: number | null;
  readonly closedBy: string | null;
};

/** What checks found in one period of one place. Looked at again later, it says what is found then, and nothing else of it stands. */
export type FindingLook = {
  /** Whose sums or readings they are: a factory, a series. */
  readonly place: string;
  readonly period: Period;
  readonly startMs: number;
  /** The checks that were made. */
  readonly codes: readonly string[];
  readonly found: readonly Pick<Finding, "code" | "subject" | "detail">[];
  /** Last store transaction that is in, and the registry in force. */
  readonly inputWatermark: number;
  readonly registryVersion: string;
  /** What else has changed since it was looked at, for people. */
  readonly cause?: string;
};

/** A finding of one period. */
export type FindingPeriod = Pick<Finding, "code" | "subject" | "detail" | "closedMs" | "closedBy"> &
  Pick<FindingLook, "place" | "period" | "startMs" | "inputWatermark" | "registryVersion"> & {
    /** When it was raised, platform time: first, or again after it had been closed. */
    readonly raisedMs: number;
  };

/** Findings of periods that the ledger keeps; beyond it the oldest periods go, counted. What was found in them is not closed any more. */
export const maxFindingPeriods = 200_000;

/** Where findings are kept. */
export type FindingLedger = {
  /** Notes one that is of no period: it is open from now on. */
  readonly noteFinding: (finding: Pick<Finding, "code" | "subject" | "detail">, atMs: number) => void;
  /**
   * Takes looks at periods, in one transaction: raises what is new, closes what is not found any more, opens again what is. The same look
   * twice changes nothing.
   */
  readonly judgeFindings: (looks: readonly FindingLook[], nowMs: number) => void;
  /** Open or closed, the last noted first. */
  readonly findings: (limit: number) => Finding[];
  /** In which periods something was found, closed ones included, in the order of their starts, at most `limit`. */
  readonly findingPeriods: (code: string, subject: string, limit: number) => FindingPeriod[];
  /** How many of the periods were let go. */
  readonly droppedFindingPeriods: () => number;
};

/** What has changed since a period was looked at, so that something is not found any more. */
export function curedBy(
  before: Pick<FindingLook, "inputWatermark" | "registryVersion">,
  now: Pick<FindingLook, "inputWatermark" | "registryVersion" | "cause">,
): string {
  const causes = [
    ...(now.cause === undefined ? [] : [now.cause]),
    ...(now.inputWatermark === before.inputWatermark
      ? []
      : [`readings up to transaction ${now.inputWatermark}, it was found with those up to ${before.inputWatermark}`]),
    ...(now.registryVersion === before.registryVersion
      ? []
      : [`registry ${now.registryVersion}, it was found with ${before.registryVersion}`]),
  ];
  return causes.length > 0 ? causes.join("; ") : "computed again from the same readings and registry";
}
