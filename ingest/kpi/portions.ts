import { minuteMs } from "@jilian/domain/periods.ts";
import type { ChangedMinute, SeriesId } from "@jilian/store/telemetry.ts";
import type { Fold } from "./series-folds.ts";

/** Minutes that the readings of a portion tell something of for sure, about: what is noted of a portion is in memory. */
const minutesAtOnce = 200_000;

/** How long a reading of a series tells something by itself: its device is online, its state holds. Milliseconds. */
const holdsMs = (folds: readonly Fold[]) =>
  folds.reduce((most, { onlineMs = 0, holdMs = 0 }) => Math.max(most, onlineMs, holdMs), minuteMs);

/**
 * Cuts changed minutes into portions, the oldest first: of readings that come every second one is of many readings, of those that come every
 * hour of few, since each tells something of the minutes that follow. In the order of time, so that what one portion reaches lies together
 * in the store, whichever series are in it.
 */
export function* portionsOf(
  changed: readonly ChangedMinute[],
  foldsOf: (series: SeriesId) => readonly Fold[],
): Generator<ChangedMinute[]> {
  const before = new Map<SeriesId, { minute: number; mostMs: number }>();
  let portion: ChangedMinute[] = [];
  let heldMs = 0;
  for (const one of changed.toSorted((a, b) => a.minuteMs - b.minuteMs)) {
    const last = before.get(one.series);
    const mostMs = last?.mostMs ?? holdsMs(foldsOf(one.series));
    heldMs += last ? Math.min(mostMs, one.minuteMs - last.minute) : minuteMs;
    before.set(one.series, { minute: one.minuteMs, mostMs });
    portion.push(one);
    if (heldMs < minutesAtOnce * minuteMs) continue;
    yield portion;
    [portion, heldMs] = [[], 0];
  }
  if (portion.length > 0) yield portion;
}
