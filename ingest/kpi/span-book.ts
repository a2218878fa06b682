import { minuteMs, type Period, periodEnd, periodStart, periods } from "@jilian/domain/periods.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { type Span, spanKey, spansOver } from "@jilian/store/spans.ts";
import { runsOf } from "./runs.ts";
import type { FigureStart } from "./since.ts";

/** A period whose figures are to be computed again: those of sites with one of the factories, or all. */
export type DueSpan = Span & { readonly factories?: ReadonlySet<string> };

/** The periods whose figures are to be computed again. */
export type SpanBook = {
  /**
   * Notes the periods that hold some of the minutes; of those that ended before the installation's start everybody's, by whole hours.
   * @param factory whose readings they are; without it everybody's figures are noted
   */
  readonly touch: (minutes: Iterable<number>, nowMs: number, factory?: string) => void;
  /** Notes the periods of some kinds that overlap [fromMs, toMs) and are wanted, everybody's figures. */
  readonly touchRange: (
    kinds: readonly Period[],
    fromMs: number,
    toMs: number,
    nowMs: number,
    wanted?: (span: Span) => boolean,
  ) => void;
  /**
   * What was noted of a kind, has begun and is not held back, in the order of the starts: the newest, at least one.
   * @param most factories whose figures are wanted at most, each counted once for each of its periods
   */
  readonly due: (period: Period, nowMs: number, waits: (span: Span) => boolean, most: number) => DueSpan[];
  /** These of a kind are published. What is held back stays; what has not begun is noted again when it does. */
  readonly settled: (period: Period, spans: readonly DueSpan[], nowMs: number) => void;
  readonly isEmpty: () => boolean;
};

type Noted = Span & { readonly factories?: Set<string> };

/** @param start which periods have figures: no other one is noted */
export function spanBook(versions: () => RegistryVersions, start: FigureStart): SpanBook {
  const noted = new Map<Period, Map<string, Noted>>(periods.map((period) => [period, new Map()]));
  const of = (period: Period) => noted.get(period) as Map<string, Noted>;

  const factoriesOf = ({ endMs, factory, factories }: DueSpan, nowMs: number): number =>
    factory === undefined ? (factories?.size ?? versions().at(Math.min(endMs, nowMs) - 1).factories.size) : 1;

  function note(span: Span, factory: string | undefined): void {
    const known = of(span.period).get(spanKey(span));
    if (known && known.factories === undefined) return;
    if (factory === undefined) of(span.period).set(spanKey(span), span);
    else if (known) known.factories?.add(factory);
    else of(span.period).set(spanKey(span), { ...span, factories: new Set([factory]) });
  }
  const touchRange: SpanBook["touchRange"] = (kinds, fromMs, toMs, nowMs, wanted) => {
    for (const period of kinds)
      for (const span of spansOver(period, versions(), fromMs, toMs, nowMs))
        if (start.hasFigures(span) && (!wanted || wanted(span))) note(span, undefined);
  };
  return {
    touchRange,
    touch: (minutes, nowMs, factory) => {
      for (const { fromMs, toMs } of runsOf(minutes, minuteMs)) {
        for (const period of periods)
          for (const span of spansOver(period, versions(), fromMs, toMs, nowMs, factory))
            if (!start.isBefore(span)) note(span, factory);
        if (fromMs < start.sinceMs)
          touchRange(
            periods,
            periodStart("hour", fromMs),
            Math.min(start.sinceMs, periodEnd("hour", toMs - 1)),
            nowMs,
            start.isBefore,
          );
      }
    },
    due: (period, nowMs, waits, most) => {
      const found = [...of(period).values()].filter((span) => span.startMs <= nowMs && !waits(span));
      found.sort((a, b) => b.startMs - a.startMs);
      let left = most;
      const beyond = found.findIndex((span, i) => {
        left -= factoriesOf(span, nowMs);
        return left < 0 && i > 0;
      });
      return (beyond < 0 ? found : found.slice(0, beyond)).reverse();
    },
    settled: (period, spans, nowMs) => {
      for (const span of spans) of(period).delete(spanKey(span));
      for (const [key, { startMs }] of of(period)) if (startMs > nowMs) of(period).delete(key);
    },
    isEmpty: () => periods.every((period) => of(period).size === 0),
  };
}
