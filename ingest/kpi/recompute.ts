import { hourMs, periodStart, periods } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { KnownHours } from "@jilian/store/rollup-pieces.ts";
import { spansOver } from "@jilian/store/spans.ts";
import type { FigureStart } from "./since.ts";
import type { Computing } from "./withdraw.ts";

/** Name of the ledger's number that says which versions of the registry are taken into account. */
const registrySeen = "kpi.registrySeen";

export type RecomputeParts = {
  ledger: Ledger;
  versions: () => RegistryVersions;
  /** Hours of which leaves exist, and which periods have figures. */
  hours: KnownHours;
  start: FigureStart;
  /** Folds the leaves of an hour again. */
  refold: (fromMs: number, toMs: number, nowMs: number) => Promise<void>;
  /** Minutes that are computed together at most: of many factories an hour of them would fill the memory. */
  minutesAtOnce: (nowMs: number) => number;
  /** Computes and publishes periods, given by kind, as of the step's time: the leaves are as of then. */
  publish: (kinds: readonly Computing[], nowMs: number) => Promise<void>;
  /** Called with what was made, before progress is noted. */
  store: (nowMs: number) => Promise<void>;
};

/**
 * The periods that an hour of a recompute completes: those that hold some of it and end before the hour that comes next, at the end all the
 * rest. Between the two there may be months in which nothing is known.
 */
function completedBy(
  parts: RecomputeParts,
  [hour, nextMs]: readonly [number, number],
  untilMs: number,
  nowMs: number,
): Computing[] {
  return periods.map((period) => {
    const spans = spansOver(period, parts.versions(), hour, Math.min(hour + hourMs, untilMs), nowMs).filter(
      (span) => span.startMs <= nowMs && Math.min(span.endMs, untilMs) <= nextMs && parts.start.hasFigures(span),
    );
    return { period, spans, afterMs: hour, upToMs: nextMs, untilMs };
  });
}

/** Minutes in parts of so many, then all that is longer. */
function inParts(kinds: readonly Computing[], minutesAtOnce: number): Computing[][] {
  const minutes = kinds.filter(({ period }) => period === "minute");
  const parts = minutes.flatMap((computing) => {
    const { spans } = computing;
    const starts = Array.from({ length: Math.ceil(spans.length / minutesAtOnce) }, (_, i) => i * minutesAtOnce);
    return starts.map((from) => [{ ...computing, spans: spans.slice(from, from + minutesAtOnce) }]);
  });
  return [...parts, kinds.filter(({ period }) => period !== "minute")];
}

/**
 * Computes spans again from the stored samples, leaves included, an hour in each step: whatever was folded before, it comes to the digits
 * that the samples say. What differs becomes a revision. A version of the registry that begins in the past is such a span.
 */
export function recomputer(parts: RecomputeParts) {
  const { ledger, versions, hours, start } = parts;

  /** The first hour from one on that can have figures. */
  function nextHour(hour: number): number {
    if (hour >= start.sinceMs) return hour;
    return Math.max(hour, Math.min(start.sinceMs, hours.after(hour) ?? Number.POSITIVE_INFINITY));
  }

  /** Asks for what versions of the registry that were applied since the last look have changed. */
  function noteVersions(nowMs: number): void {
    const last = versions().all().at(-1)?.number ?? 0;
    const seen = ledger.getNumber(registrySeen);
    if (seen === last) return;
    for (const { number, fromMs } of seen === undefined ? [] : versions().all()) {
      if (number <= (seen as number) || fromMs >= nowMs) continue;
      const span = { fromMs: periodStart("hour", fromMs), toMs: nowMs };
      ledger.addRecompute({ ...span, reason: `registry ${number}` }, nowMs);
    }
    ledger.setNumber(registrySeen, last);
  }

  /** One hour of the next recompute. @returns false when there was nothing to do */
  async function step(nowMs: number): Promise<boolean> {
    const job = ledger.nextRecompute();
    if (!job) return false;
    const hour = nextHour(periodStart("hour", job.cursorMs));
    const untilMs = Math.min(job.toMs, nowMs);
    if (hour < untilMs) {
      await parts.refold(hour, hour + hourMs, nowMs);
      const kinds = completedBy(parts, [hour, nextHour(hour + hourMs)], untilMs, nowMs);
      for (const some of inParts(kinds, parts.minutesAtOnce(nowMs))) await parts.publish(some, nowMs);
      await parts.store(nowMs);
    }
    if (hour + hourMs >= untilMs) ledger.endRecompute(job.id, nowMs);
    else ledger.moveRecompute(job.id, hour + hourMs);
    return true;
  }

  return { noteVersions, step };
}
