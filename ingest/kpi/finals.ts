import {
  dayMs,
  hourMs,
  isFixedPeriod,
  type Period,
  periodLengthMs,
  periodStart,
  periods,
  watermarkMs,
} from "@jilian/domain/periods.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { type Span, spansOver } from "@jilian/store/spans.ts";
import { figuresWeight, shares } from "./progress.ts";
import type { FigureStart } from "./since.ts";
import type { Computing } from "./withdraw.ts";

export type FinalsParts = {
  readonly versions: () => RegistryVersions;
  readonly start: FigureStart;
  /** Until when periods of a kind are final. */
  readonly finalMs: (period: Period) => number;
  /** Factories at a time. */
  readonly all: (nowMs: number) => number;
  /** Factories whose minutes have as many figures as are made final at once, about. */
  readonly most: (nowMs: number) => number;
};

/** Periods of a kind that are looked at in one part at most, of those that are as long as each other; of the others a month. */
const finalsAtOnce = 240;
const longestMs = 31 * dayMs;

/** What is looked at of a kind: the periods that end in (afterMs, upToMs], by their ends, and what each costs. */
type Window = Omit<Computing, "untilMs"> & { readonly spans: readonly Span[]; readonly costs: readonly number[] };

/** As much of it as a share pays for, and at least what ends first. Periods that end together stay together: progress is a time. */
function cut({ period, spans, costs, afterMs, upToMs }: Window, share: number): Omit<Computing, "untilMs"> {
  let taken = 0;
  for (let [paid, n] = [0, 0]; n < spans.length; taken = n) {
    const { endMs } = spans[n] as Span;
    for (; spans[n]?.endMs === endMs; n += 1) paid += costs[n] as number;
    if (paid > share && taken > 0) break;
  }
  if (taken === spans.length) return { period, spans, afterMs, upToMs };
  return { period, spans: spans.slice(0, taken), afterMs, upToMs: (spans[taken - 1] as Span).endMs };
}

/**
 * What the watermark has passed and is not final yet, a bounded part of it: after weeks in which no engine ran there are as many minutes, hours
 * and days as a factory has in weeks. Each kind of period gets on in the order of its ends; the kinds share what is done at once.
 * @returns for each kind which periods are to be computed, as what its progress is then, and whether something is left after that
 */
export function finalsDue({ versions, start, finalMs, all, most }: FinalsParts) {
  function windowMs(period: Period, nowMs: number): number {
    if (isFixedPeriod(period)) return finalsAtOnce * periodLengthMs(period);
    // Each factory has its own shifts, some each day.
    if (period === "shift") return Math.min(longestMs, dayMs * Math.max(2, Math.ceil(most(nowMs) / all(nowMs))));
    return longestMs;
  }

  function windowOf(period: Period, limitMs: number, nowMs: number): Window {
    const afterMs = finalMs(period);
    const upToMs = Math.min(limitMs, afterMs + windowMs(period, nowMs));
    const spans = spansOver(period, versions(), afterMs, upToMs, nowMs)
      .filter((span) => span.endMs > afterMs && span.endMs <= upToMs && start.hasFigures(span))
      .sort((a, b) => a.endMs - b.endMs);
    const cost = ({ factory }: Span) => figuresWeight[period] * (factory === undefined ? all(nowMs) : 1);
    return { period, spans, costs: spans.map(cost), afterMs, upToMs };
  }

  return (nowMs: number): { parts: Computing[]; isLeft: boolean } => {
    const limitMs = periodStart("minute", nowMs - watermarkMs);
    const windows = periods.map((period) => windowOf(period, limitMs, nowMs));
    const needs = new Map(windows.map(({ period, costs }) => [period, costs.reduce((sum, cost) => sum + cost, 0)]));
    const share = shares(needs, most(nowMs));
    const parts = windows.map((window) => ({ ...cut(window, share.get(window.period) ?? 0), untilMs: nowMs }));
    return { parts, isLeft: parts.some(({ upToMs }) => upToMs < limitMs) };
  };
}

/** Whether progress of a kind is to be noted: where nothing ended it need not be durable each time. */
export const isProgress = ({ spans, afterMs, upToMs }: Computing): boolean =>
  spans.length > 0 || upToMs - afterMs >= hourMs;
