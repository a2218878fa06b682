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
  /**
   * Notes the periods of some kinds that overlap [fromMs, toMs) and are wanted: everybody's figures, or those of the sites with a factory,
   * where only what it says differs.
   */
  readonly touchRange: (
    kinds: readonly Period[],
    fromMs: number,
    toMs: number,
    nowMs: number,
    only?: { wanted?: (span: Span) => boolean; factory?: string | undefined },
  ) => void;
  /**
   * What was noted of a kind, has begun and is not held back, in the order of the starts: all that runs, the newest of the rest, and for a
   * quarter what was noted longest ago, so that a present that fills every tick leaves nothing over. At least one of each.
   * @param most factories whose figures of periods that have ended are wanted at most, each counted once for each of its periods
   */
  readonly due: (period: Period, nowMs: number, waits: (span: Span) => boolean, most: number) => DueSpan[];
  /** Factories whose figures of periods of a kind are due that have ended, each counted once for each of its periods. */
  readonly owed: (period: Period, nowMs: number, waits: (span: Span) => boolean) => number;
  /** True where some of it is due. */
  readonly isDue: (period: Period, nowMs: number, waits: (span: Span) => boolean) => boolean;
  /** These of a kind are published. What is held back stays; what has not begun is noted again when it does. */
  readonly settled: (period: Period, spans: readonly DueSpan[], nowMs: number) => void;
  readonly isEmpty: () => boolean;
  /** Of the transactions up to this one nothing is noted any more; infinite where nothing is noted at all. */
  readonly safeTx: () => number;
};

/** What was folded when it was noted: what later transactions changed. */
type Noted = Span & { readonly factories?: Set<string>; readonly afterTx: number };

/**
 * @param start which periods have figures: no other one is noted
 * @param foldedTx up to which transaction everything is folded and noted
 */
export function spanBook(versions: () => RegistryVersions, start: FigureStart, foldedTx: () => number): SpanBook {
  const noted = new Map<Period, Map<string, Noted>>(periods.map((period) => [period, new Map()]));
  const of = (period: Period) => noted.get(period) as Map<string, Noted>;

  const factoriesOf = ({ endMs, factory, factories }: DueSpan, nowMs: number): number =>
    factory === undefined ? (factories?.size ?? versions().at(Math.min(endMs, nowMs) - 1).factories.size) : 1;

  function note(span: Span, factory: string | undefined): void {
    const known = of(span.period).get(spanKey(span));
    if (known && known.factories === undefined) return;
    const afterTx = known?.afterTx ?? foldedTx();
    if (factory === undefined) of(span.period).set(spanKey(span), { ...span, afterTx });
    else if (known) known.factories?.add(factory);
    else of(span.period).set(spanKey(span), { ...span, factories: new Set([factory]), afterTx });
  }
  const isDue = (nowMs: number, waits: (span: Span) => boolean) => (span: Noted) =>
    span.startMs <= nowMs && !waits(span);
  const touchRange: SpanBook["touchRange"] = (kinds, fromMs, toMs, nowMs, { wanted, factory } = {}) => {
    for (const period of kinds)
      for (const span of spansOver(period, versions(), fromMs, toMs, nowMs, factory))
        if (start.hasFigures(span) && (!wanted || wanted(span))) note(span, factory);
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
            { wanted: start.isBefore },
          );
      }
    },
    due: (period, nowMs, waits, most) => {
      const found = [...of(period).values()].filter(isDue(nowMs, waits)).sort((a, b) => b.startMs - a.startMs);
      // What runs is noted anew with each tick: bounded like a backlog it would be all that a small share takes, or never be done.
      const taken = new Set(found.filter(({ endMs }) => endMs > nowMs));
      const ended = found.filter((span) => !taken.has(span));
      const take = (spans: readonly Noted[], share: number) => {
        let left = share;
        for (const [i, span] of spans.entries()) {
          left -= factoriesOf(span, nowMs);
          if (left < 0 && i > 0) return;
          taken.add(span);
        }
      };
      take(ended, most * 0.75);
      take(
        ended.filter((span) => !taken.has(span)).sort((a, b) => a.afterTx - b.afterTx),
        most * 0.25,
      );
      return [...taken].sort((a, b) => a.startMs - b.startMs);
    },
    owed: (period, nowMs, waits) =>
      of(period)
        .values()
        .filter((span) => span.endMs <= nowMs && isDue(nowMs, waits)(span))
        .reduce((sum, span) => sum + factoriesOf(span, nowMs), 0),
    isDue: (period, nowMs, waits) => of(period).values().some(isDue(nowMs, waits)),
    settled: (period, spans, nowMs) => {
      for (const span of spans) of(period).delete(spanKey(span));
      for (const [key, { startMs }] of of(period)) if (startMs > nowMs) of(period).delete(key);
    },
    isEmpty: () => periods.every((period) => of(period).size === 0),
    safeTx: () => {
      let safe = Number.POSITIVE_INFINITY;
      for (const own of noted.values()) for (const { afterTx } of own.values()) safe = Math.min(safe, afterTx);
      return safe;
    },
  };
}
