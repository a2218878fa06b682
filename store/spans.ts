import { shiftsIn } from "@jilian/domain/calendar.ts";
import { dayMs, isCalendarPeriod, type Period, periodEnd, periodStart } from "@jilian/domain/periods.ts";
import type { Level } from "@jilian/domain/result.ts";
import type { RegistryVersions } from "./registry-versions.ts";

/** One period: a certain hour, shift, month. */
export type Span = {
  readonly period: Period;
  readonly startMs: number;
  /** Exclusive. */
  readonly endMs: number;
  /** The factory whose shift it is; undefined for what is everybody's. */
  readonly factory?: string;
  /** What people call it: the name of a shift or of a pilot's period. */
  readonly name?: string;
};

/** One string for a span, for maps. */
export function spanKey({ period, startMs, factory = "" }: Span): string {
  return `${period}|${startMs}|${factory}`;
}

/** True where figures of a period exist: shifts are of one factory, and of a pilot's sums the short ones are those of its cluster. */
export function existsAt(level: Level, period: Period): boolean {
  if (period === "shift") return level === "device" || level === "line" || level === "factory";
  if (level === "pilot") return !["minute", "quarter_hour", "hour"].includes(period);
  return true;
}

/** True for figures of the ledger and its change log: of a quarter hour and longer, from factory upward. */
export function isLogged({ level, period }: { readonly level: Level; readonly period: Period }): boolean {
  return period !== "minute" && level !== "line" && level !== "device";
}

/** The shifts that overlap [fromMs, toMs). Which ones there are, tells the calendar in force when each begins. */
function shiftsOver(versions: RegistryVersions, fromMs: number, toMs: number, factory: string | undefined): Span[] {
  // No shift is longer than a day.
  const earliestMs = fromMs - dayMs;
  const edges = [earliestMs, ...versions.changesIn(earliestMs, toMs), toMs];
  const found = new Map<string, Span>();
  for (const [i, edgeMs] of edges.slice(0, -1).entries()) {
    for (const { id, calendar } of versions.at(edgeMs).factories.values()) {
      if (!calendar || (factory !== undefined && factory !== id)) continue;
      for (const { fromMs: startMs, toMs: endMs, name } of shiftsIn(calendar, edgeMs, edges[i + 1] as number)) {
        if (endMs <= fromMs) continue;
        const span: Span = { period: "shift", startMs, endMs, factory: id, ...(name !== undefined && { name }) };
        // Of shifts that begin together the longest one counts: a figure is named by its start.
        const known = found.get(spanKey(span));
        if (!known || known.endMs < endMs) found.set(spanKey(span), span);
      }
    }
  }
  return [...found.values()].sort((a, b) => a.startMs - b.startMs);
}

/** The periods that the pilot declares. */
function pilotPeriods(versions: RegistryVersions, nowMs: number): Span[] {
  const { pilotPeriods: declared } = versions.at(nowMs);
  return declared.map(({ fromMs: startMs, toMs: endMs, name }) => ({ period: "pilot", startMs, endMs, name }));
}

/**
 * The periods of a kind that overlap [fromMs, toMs), in the order of their starts.
 * @param nowMs whose version of the registry declares the pilot's periods
 * @param factory shifts of this one alone
 */
export function spansOver(
  period: Period,
  versions: RegistryVersions,
  fromMs: number,
  toMs: number,
  nowMs: number,
  factory?: string,
): Span[] {
  if (toMs <= fromMs) return [];
  if (period === "shift") return shiftsOver(versions, fromMs, toMs, factory);
  if (period === "pilot")
    return pilotPeriods(versions, nowMs).filter(({ startMs, endMs }) => startMs < toMs && endMs > fromMs);
  if (!isCalendarPeriod(period)) return [];
  const spans: Span[] = [];
  for (let startMs = periodStart(period, fromMs); startMs < toMs; ) {
    const endMs = periodEnd(period, startMs);
    spans.push({ period, startMs, endMs });
    startMs = endMs;
  }
  return spans;
}
