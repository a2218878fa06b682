import { type AlarmEvent, alarmReachMs, raisedMsOf } from "@jilian/domain/alarm.ts";
import { type AlarmState, copyState, eventsOf, feed, nextChangeMs, settled } from "@jilian/domain/alarm-machine.ts";
import { type AlarmReview, alarmReview, type NewReadings } from "@jilian/domain/alarm-review.ts";
import { greatestOf } from "@jilian/domain/lists.ts";
import type { StoredAlarm } from "@jilian/store/alarms.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { SeriesId, StoredRow, Telemetry } from "@jilian/store/telemetry.ts";
import { type AlarmTrack, alarmValue, mergedStretches } from "./alarm-tracks.ts";

/** Where a track stands after its last reading, so that the next one costs nothing but itself. */
export type AlarmTail = {
  readonly state: AlarmState;
  /** Stored events that the next reading may still change: the open one, and those that time alone has made. */
  readonly rows: readonly StoredAlarm[];
  /** When it says something else without a further reading; undefined: never. */
  readonly nextMs: number | undefined;
};

/** What a look at a track came to. */
export type AlarmOutcome = {
  readonly track: AlarmTrack;
  /** Stored events that were looked at again, and what stands instead; a stored one that stays is the same object. */
  readonly before: readonly StoredAlarm[];
  readonly events: readonly AlarmEvent[];
  readonly state: AlarmState;
  /** The last of `events` may still change from this one on. */
  readonly nextMs: number | undefined;
};

/** Rows that may still be read in a tick. */
export type RowBudget = { rows: number };

export type LookParts = {
  telemetry: Pick<Telemetry, "read">;
  /** Source time of the newest reading of a series: beyond it nothing need be asked for. */
  newestMs: (series: SeriesId) => Promise<number>;
  ledger: Pick<Ledger, "alarmsOfTrack">;
  /** Up to when time counts where no reading tells it. */
  horizonMs: number;
  /** What later transactions stored is told of later, and judged then. */
  upToTx: number;
};

/** Rows of a page. */
const fewRows = 100;
const mostRows = 8000;

function outcome(
  track: AlarmTrack,
  horizonMs: number,
  known: { before: readonly StoredAlarm[]; events: readonly AlarmEvent[]; state: AlarmState },
): AlarmOutcome {
  const then = settled(track.condition, known.state, Math.max(horizonMs, known.state.atMs), track.toMs);
  return { track, ...known, nextMs: nextChangeMs(track.condition, then, track.toMs) };
}

/**
 * Feeds the stored readings from a moment on, page by page: first up to where it is likely to end, then in pages that grow, so that a look
 * that ends soon reads little more than it takes. It ends with the newest reading: to ask a store for what may come after it is a look at
 * all that there is. @param toldMs up to when readings were told: the store may still be noting one as its newest
 * @returns where to go on when the budget is used up
 */
async function read(
  track: AlarmTrack,
  [fromMs, likelyMs, toldMs]: readonly [fromMs: number, likelyMs: number, toldMs: number],
  { telemetry, newestMs, upToTx }: LookParts,
  budget: RowBudget,
  take: (reading: { atMs: number; value: ReturnType<typeof alarmValue> }) => boolean,
): Promise<number | undefined> {
  // A reading a second is as often as most are.
  let limit = Math.min(mostRows, Math.max(fewRows, Math.ceil((likelyMs - fromMs) / 1000)));
  const endMs = Math.min(track.toMs, Math.max(toldMs, await newestMs(track.series.id)) + 1);
  for (let at = fromMs; at < endMs; ) {
    if (budget.rows <= 0) return at;
    const isLikely = at < likelyMs && likelyMs < endMs;
    const toMs = isLikely ? likelyMs : endMs;
    const rows = await telemetry.read({ series: track.series.id, fromMs: at, toMs }, limit);
    budget.rows -= rows.length;
    for (const row of rows)
      if (row.tx <= upToTx && !take({ atMs: row.sourceTimeMs, value: alarmValue(track, row) })) return undefined;
    const isPage = rows.length === limit;
    if (!isPage && !isLikely) return undefined;
    at = isPage ? (rows.at(-1) as StoredRow).sourceTimeMs + 1 : toMs;
    limit = isPage ? Math.min(limit * 2, mostRows) : fewRows;
  }
  return undefined;
}

/** Goes on from a tail with the readings after its last one; without any, with time alone. */
export function goOn(
  track: AlarmTrack,
  tail: AlarmTail,
  { horizonMs, upToTx }: Pick<LookParts, "horizonMs" | "upToTx">,
  rows: readonly StoredRow[],
): AlarmOutcome {
  const { condition } = track;
  const state = copyState(tail.state);
  for (const row of rows)
    if (row.tx <= upToTx && row.sourceTimeMs > tail.state.atMs)
      feed(condition, state, { atMs: row.sourceTimeMs, value: alarmValue(track, row) });
  const events = eventsOf(settled(condition, state, Math.max(horizonMs, state.atMs), track.toMs));
  return outcome(track, horizonMs, { before: tail.rows, events, state: { ...state, ended: [] } });
}

/** A look back at a track, over as many ticks as its readings need. */
export type LookBack = {
  /** @returns undefined while the budget was not enough */
  readonly step: (parts: LookParts, budget: RowBudget) => Promise<AlarmOutcome | undefined>;
};

/**
 * Reviews a track from its first new reading on, stretch by stretch, and to its last reading in the end.
 * @param isWhole nothing of what is known after the first new reading stands: it is of another condition
 * @param endMs from where on to look for the last reading
 */
export function lookBack(
  track: AlarmTrack,
  fresh: readonly NewReadings[],
  { isWhole, endMs }: { isWhole: boolean; endMs: number },
): LookBack {
  const { condition, fromMs: segmentMs, toMs } = track;
  const reachMs = alarmReachMs(condition);
  // The last one is to the end of all readings: a look that takes several ticks meets some that came since it was begun.
  const left = mergedStretches([...fresh, { firstMs: endMs, lastMs: Infinity }], reachMs);
  const toldMs = greatestOf(fresh.map(({ lastMs }) => lastMs));
  let stored: readonly StoredAlarm[] | undefined;
  let events: AlarmEvent[] = [];
  let review: AlarmReview | undefined;
  let nextMs = 0;

  /** What is stored from the first new reading on, and of an alarm that was open then all that led to it: a review may have to go back there. */
  function storedFrom(ledger: LookParts["ledger"], firstMs: number): StoredAlarm[] {
    const from = (ms: number) =>
      ledger.alarmsOfTrack(track.id, ms - reachMs, toMs).filter((row) => row.raisedMs >= segmentMs);
    return from(Math.min(firstMs, from(firstMs)[0]?.raisedMs ?? firstMs));
  }

  function begin({ ledger }: LookParts): AlarmReview {
    if (!stored) {
      stored = storedFrom(ledger, (left[0] as NewReadings).firstMs);
      events = [...stored];
    }
    review = alarmReview(condition, events, left, { segmentMs, endMs: toMs, isWhole });
    nextMs = review.readFromMs;
    return review;
  }

  async function step(parts: LookParts, budget: RowBudget): Promise<AlarmOutcome | undefined> {
    for (;;) {
      const own = review ?? begin(parts);
      const likelyMs = (left[0] as NewReadings).lastMs + 2 * reachMs + 1;
      const next = await read(track, [nextMs, likelyMs, toldMs], parts, budget, own.feed);
      if (next !== undefined) {
        nextMs = next;
        return undefined;
      }
      const { sinceMs, untilMs, events: made, state, againFromMs } = own.result(parts.horizonMs);
      review = undefined;
      if (againFromMs !== undefined) {
        left.splice(0, 1, { firstMs: againFromMs, lastMs: (left[0] as NewReadings).lastMs });
        continue;
      }
      events = [
        ...events.filter(({ clearedMs = Infinity }) => clearedMs <= sinceMs),
        ...made,
        ...events.filter((event) => raisedMsOf(event) > (untilMs ?? Infinity)),
      ];
      if (state)
        return outcome(track, parts.horizonMs, { before: stored ?? [], events, state: { ...state, ended: [] } });
      while ((left[0]?.firstMs ?? Infinity) <= (untilMs as number)) left.shift();
    }
  }
  return { step };
}
