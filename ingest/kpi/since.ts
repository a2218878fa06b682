import { periodStart } from "@jilian/domain/periods.ts";
import type { KnownHours } from "@jilian/store/rollup-pieces.ts";
import type { Span } from "@jilian/store/spans.ts";

/**
 * Which periods have figures: the same ones however readings arrive, after restarts and recomputes. From the hour in which the first engine
 * of the installation began all of them have, data or not. An earlier one has figures, everybody's, where leaves exist in an hour that it
 * touches: whose readings made that hour known, and what else came with them, makes no difference.
 */
export type FigureStart = {
  /** Start of the hour in which the first engine began, UTC ms. */
  readonly sinceMs: number;
  /** True for a period that ended before that. */
  readonly isBefore: (span: Pick<Span, "endMs">) => boolean;
  readonly hasFigures: (span: Pick<Span, "startMs" | "endMs">) => boolean;
};

/**
 * @param startedMs when the first engine began, UTC ms
 * @param hours those of which leaves exist, as they are when a period is asked for
 */
export function figureStart(startedMs: number, hours: Pick<KnownHours, "has">): FigureStart {
  const sinceMs = periodStart("hour", startedMs);
  const isBefore: FigureStart["isBefore"] = ({ endMs }) => endMs <= sinceMs;
  return { sinceMs, isBefore, hasFigures: (span) => !isBefore(span) || hours.has(span.startMs, span.endMs) };
}
