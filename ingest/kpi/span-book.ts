import { minuteMs, type Period, periods } from "@jilian/domain/periods.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { type Span, spanKey, spansOver } from "@jilian/store/spans.ts";
import { runsOf } from "./runs.ts";

/** The periods whose figures are to be computed again. */
export type SpanBook = {
  /** Notes the periods that hold some of the minutes. */
  readonly touch: (minutes: Iterable<number>, nowMs: number) => void;
  /** Notes the periods of some kinds that overlap [fromMs, toMs) and are wanted. */
  readonly touchRange: (
    kinds: readonly Period[],
    fromMs: number,
    toMs: number,
    nowMs: number,
    wanted?: (span: Span) => boolean,
  ) => void;
  /** What was noted of a kind, has begun and is not held back, in the order of the starts. */
  readonly due: (period: Period, nowMs: number, waits: (span: Span) => boolean) => Span[];
  /** What was due is published. What is held back stays; what has not begun is noted again when it does. */
  readonly settled: (period: Period, waits: (span: Span) => boolean) => void;
  readonly isEmpty: () => boolean;
};

export function spanBook(versions: () => RegistryVersions): SpanBook {
  const noted = new Map<Period, Map<string, Span>>(periods.map((period) => [period, new Map()]));
  const of = (period: Period) => noted.get(period) as Map<string, Span>;
  const touchRange: SpanBook["touchRange"] = (kinds, fromMs, toMs, nowMs, wanted) => {
    for (const period of kinds)
      for (const span of spansOver(period, versions(), fromMs, toMs, nowMs))
        if (!wanted || wanted(span)) of(period).set(spanKey(span), span);
  };
  return {
    touchRange,
    touch: (minutes, nowMs) => {
      for (const { fromMs, toMs } of runsOf(minutes, minuteMs)) touchRange(periods, fromMs, toMs, nowMs);
    },
    due: (period, nowMs, waits) =>
      [...of(period).values()]
        .filter((span) => span.startMs <= nowMs && !waits(span))
        .sort((a, b) => a.startMs - b.startMs),
    settled: (period, waits) => {
      for (const [key, span] of of(period)) if (!waits(span)) of(period).delete(key);
    },
    isEmpty: () => periods.every((period) => of(period).size === 0),
  };
}
