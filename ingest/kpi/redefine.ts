import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKeyOf } from "@jilian/domain/identity.ts";
import { leastOf } from "@jilian/domain/lists.ts";
import { hourMs, isoTime, minuteMs, periodStart } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { definitionAt, maxDefinitions } from "@jilian/store/series-versions.ts";
import type { ChangedMinute, SeriesId } from "@jilian/store/telemetry.ts";
import type { LeafKeeper } from "./leaves.ts";
import { steps } from "./runs.ts";
import type { ChangedSeries } from "./series-index.ts";

export type RedefineParts = {
  ledger: Pick<Ledger, "noteFinding" | "addRecompute" | "nextRecompute">;
  keeper: Pick<LeafKeeper, "fold">;
};

/** A birth of so long ago at most is taken up at once; what an older one changes is computed again hour by hour. */
const atOnceMs = hourMs;
const reason = "births";

/** What of a definition people know, as text. */
function wordsOf({ role, unit, product, simulated }: MetricDefinition): string {
  return [role ?? "no role", unit, product, simulated ? "simulated" : undefined].filter((word) => word).join(" ");
}

/** From when on a series is something else than before in what people know of it: also where it is today what it was. */
function redefinedFrom({ series, before, sinceMs }: ChangedSeries): number | undefined {
  const edges = [...(before.dated ?? []), ...(series.dated ?? [])].map(({ fromMs }) => fromMs);
  return [sinceMs, ...edges.filter((at) => at > sinceMs).sort((a, b) => a - b)].find(
    (at) => wordsOf(definitionAt(before, at)) !== wordsOf(definitionAt(series, at)),
  );
}

/** Notes, once for a device, that births say something else of a metric: figures before and after do not mean the same. */
function noteRedefined({ ledger }: RedefineParts, one: ChangedSeries, nowMs: number): void {
  const { series, before } = one;
  const foundMs = redefinedFrom(one);
  const kept = series.dated?.length ?? 1;
  if (foundMs === undefined && kept < maxDefinitions) return;
  const fromMs = foundMs ?? one.sinceMs;
  const [was, is, last] = [definitionAt(before, fromMs), definitionAt(series, fromMs), series.definition].map(wordsOf);
  const now = is === last ? is : `${is} then, ${last}`;
  const bound =
    kept < maxDefinitions ? "" : `; ${kept} changes are kept, of more the one that held shortest is forgotten`;
  const detail = `${series.metric} from ${isoTime(fromMs)}: ${was} before, ${now} now${bound}`;
  ledger.noteFinding({ code: "METRIC_REDEFINED", subject: deviceKeyOf(series), detail }, nowMs);
}

/** From when on readings may be of another definition than before: at the birth, or where its doubt begins. */
function edgeOf({ series, sinceMs }: ChangedSeries): number {
  return series.dated?.find(({ fromMs }) => fromMs === sinceMs)?.doubtMs ?? sinceMs;
}

/** The minute of the edge, as if it had changed there: increases over it reach back to the reading before, and on to the next one. */
function edgeMinute(one: ChangedSeries): ChangedMinute {
  const edgeMs = edgeOf(one);
  return { series: one.series.id, minuteMs: periodStart("minute", edgeMs), firstMs: edgeMs, lastMs: edgeMs };
}

/** A minute of a series as if it had changed, from a moment on. */
const minuteOf = (series: SeriesId, minute: number, fromMs = minute): ChangedMinute => {
  return { series, minuteMs: minute, firstMs: Math.max(minute, fromMs), lastMs: minute + minuteMs - 1 };
};

/** Every minute of a series since the edge, as if it had changed. */
function minutesSince(one: ChangedSeries, nowMs: number): ChangedMinute[] {
  const edgeMs = edgeOf(one);
  const minutes = steps(periodStart("minute", edgeMs), nowMs, minuteMs);
  return [...minutes].map((minute) => minuteOf(one.series.id, minute, edgeMs));
}

/** What came of births that were taken up. */
export type TakenUpBirths = {
  /** Starts of the minutes whose leaves may differ now, by factory. */
  readonly touched: ReadonlyMap<string, Set<number>>;
  /** Those that a recompute of the ledger takes care of from now on, whoever computes it. */
  readonly kept: readonly ChangedSeries[];
};

/**
 * Takes up births that changed what known series say of themselves. As a rule nothing of the time since then is folded, because the store
 * knows a birth before its samples. What is, of a birth that came late or by a source's clock, is folded again: at once where it is short
 * ago, else as a recompute that the ledger keeps.
 */
export function redefiner(parts: RedefineParts) {
  const { ledger, keeper } = parts;
  return async (reborn: readonly ChangedSeries[], nowMs: number): Promise<TakenUpBirths> => {
    for (const one of reborn) noteRedefined(parts, one, nowMs);
    const past = reborn.filter(({ sinceMs, series }) => sinceMs < nowMs && series.device !== "");
    const isRecent = ({ sinceMs }: ChangedSeries) => sinceMs >= nowMs - atOnceMs;
    const kept = past.filter((one) => !isRecent(one));
    // What holds since ever has no edge: nothing lies before it, and no hour of 1970 is one with leaves.
    const atEdges = kept.filter(({ sinceMs }) => sinceMs > 0).map(edgeMinute);
    const edges = await keeper.fold(atEdges, undefined, nowMs);
    // A recompute folds minutes that have ended; the one that runs may be the last one with readings.
    const running = kept.map(({ series }) => minuteOf(series.id, periodStart("minute", nowMs)));
    // Increases over an edge reach back to the reading before: the recompute begins with them, since nothing else tells the next engine of it.
    const fromMs = leastOf([...kept.map(({ sinceMs }) => sinceMs), ...[...edges.values()].map(leastOf)]);
    // What a recompute that waits will come to is not asked for twice; what lies behind its end is.
    const waiting = ledger.nextRecompute();
    const isCovered = waiting?.reason === reason && waiting.cursorMs <= fromMs;
    const askedMs = isCovered ? Math.max(fromMs, waiting.toMs) : fromMs;
    if (askedMs < nowMs) ledger.addRecompute({ fromMs: periodStart("hour", askedMs), toMs: nowMs, reason }, nowMs);
    const recent = past.filter(isRecent).flatMap((one) => minutesSince(one, nowMs));
    const touched = await keeper.fold([...running, ...recent], undefined, nowMs);
    for (const [factory, minutes] of edges)
      for (const at of minutes) getOrMake(touched, factory, () => new Set()).add(at);
    return { touched, kept };
  };
}
