import {
  type AlarmCondition,
  type AlarmEvent,
  type AlarmPart,
  type AlarmReading,
  alarmReachMs,
  maxAlarmParts,
  primeMs,
  raisedMsOf,
  worsePeak,
} from "./alarm.ts";
import { type AlarmState, beginState, copyState, eventsOf, feed, prime, settled, start } from "./alarm-machine.ts";

/** A stretch of source time in which readings are new, both ends inclusive, UTC ms. */
export type NewReadings = { readonly firstMs: number; readonly lastMs: number };

/** What a review came to: the events that stand instead of the known ones from `sinceMs` up to `untilMs`. */
export type Reviewed = {
  /** Known events that had not ended by this moment are replaced. */
  readonly sinceMs: number;
  /** Known events raised after this moment stay; undefined where the review went to the last reading. */
  readonly untilMs: number | undefined;
  readonly events: readonly AlarmEvent[];
  /** Where the series stands after its last reading; undefined where the review ended before. */
  readonly state: AlarmState | undefined;
  /** Set: nothing came of it, review again with new readings from here on. */
  readonly againFromMs: number | undefined;
};

export type AlarmReview = {
  /** Read from here on, in order. */
  readonly readFromMs: number;
  /** Takes the next reading. @returns false when no further one is wanted: from there on the known events stand */
  readonly feed: (reading: AlarmReading) => boolean;
  /** What it came to, once, after the last reading. */
  readonly result: (nowMs: number) => Reviewed;
};

type Stretch = { readonly fromMs: number; readonly toMs: number };

/** When events were open inside [fromMs, toMs). */
function openIn(events: readonly AlarmEvent[], fromMs: number, toMs: number): Stretch[] {
  return events.flatMap((event) => {
    const own = { fromMs: Math.max(raisedMsOf(event), fromMs), toMs: Math.min(event.clearedMs ?? toMs, toMs) };
    return own.fromMs < own.toMs ? [own] : [];
  });
}

const sameStretches = (a: readonly Stretch[], b: readonly Stretch[]): boolean =>
  a.length === b.length && a.every((one, i) => one.fromMs === b[i]?.fromMs && one.toMs === b[i]?.toMs);

/** The parts of a known event as far as they had begun by a moment, the last one as it lasted then. */
function partsUntil({ parts }: AlarmEvent, atMs: number): AlarmPart[] {
  return parts
    .filter(({ fromMs }) => fromMs <= atMs)
    .map((part) => (part.toMs !== undefined && part.toMs > atMs ? { ...part, toMs: undefined } : part));
}

/** Where a review begins: the last moment at which the known events tell the whole state, or one from which all delays are over. */
function beginning(condition: AlarmCondition, known: readonly AlarmEvent[], firstMs: number, segmentMs: number) {
  const turns = known.flatMap((event) => [raisedMsOf(event), event.clearedMs ?? Infinity]).filter((at) => at < firstMs);
  const startMs = Math.max(segmentMs, firstMs - alarmReachMs(condition), ...turns);
  const open = known.find((event) => raisedMsOf(event) <= startMs && startMs < (event.clearedMs ?? Infinity));
  // An event raised at the first new reading itself is judged anew.
  return { startMs, open: open && raisedMsOf(open) < firstMs ? open : undefined };
}

/**
 * Judges a series again from just before its first new reading, beside what is known of it, until the two agree: from there on the known
 * events stand. So that late data costs what it brings, and comes to the events that arrival in order comes to (alarm-review.test.ts).
 * They agree when no new reading is left and both were open at the same times for as long as any earlier reading can make a
 * difference. What stays of a known event then is its parts, whole; a part that now begins later is followed to its end, because its peak
 * may have lain before.
 *
 * @param known events of the series under this condition that had not ended before `readFromMs`, in order
 * @param fresh stretches of new readings, in order and apart; one at least
 * @param segmentMs since when the rule is in force; readings before it do not count
 * @param isWhole true: known events are of another condition, nothing of them stands
 */
export function alarmReview(
  condition: AlarmCondition,
  known: readonly AlarmEvent[],
  fresh: readonly NewReadings[],
  { segmentMs, endMs, isWhole = false }: { segmentMs: number; endMs: number; isWhole?: boolean },
): AlarmReview {
  const reachMs = alarmReachMs(condition);
  const [{ firstMs }] = fresh as [NewReadings];
  const { startMs, open } = beginning(condition, known, firstMs, segmentMs);
  const initial = open ? partsUntil(open, startMs) : [];
  /** Of the part in force at the start the peak that is known may lie ahead; it is wrong if the part turns out to end before it. */
  const borrowed = initial.at(-1)?.toMs === undefined ? initial.at(-1) : undefined;
  const state = beginState(startMs, initial);
  const readFromMs = Math.max(segmentMs, startMs - primeMs(condition));
  let started = false;
  let agreed: { atMs: number; events: AlarmEvent[] } | undefined;
  let nextLookMs = firstMs;

  function begin(): void {
    if (!started) start(state, startMs);
    started = true;
  }

  /** When every reading that is new by now can make no difference any more; undefined while one can. */
  function quietFromMs(atMs: number): number | undefined {
    const last = fresh.findLast((one) => one.firstMs <= atMs);
    return last && last.lastMs + reachMs < atMs ? atMs - reachMs : undefined;
  }

  /** A rate is made of two readings: one that is known from a moment at or after the first new reading may be another now. */
  const isDoubtful = ({ peakMs }: AlarmPart): boolean => condition.test.kind === "rate" && peakMs >= firstMs;

  /** The event that is open now, with what is known of it from now on; undefined where that cannot be told. */
  function spliced(atMs: number): AlarmEvent | undefined {
    const own = state.open?.parts ?? [];
    const event = known.find((one) => raisedMsOf(one) <= atMs && atMs < (one.clearedMs ?? Infinity));
    if (!event || event.ending === "gaps") return undefined;
    const present = own.at(-1) as AlarmPart;
    const later = event.parts.filter(({ fromMs }) => fromMs > atMs);
    const there = event.parts.find(({ fromMs, toMs = Infinity }) => fromMs <= atMs && atMs < toMs);
    if ((present.toMs === undefined) !== (there !== undefined)) return undefined;
    if (there && present.fromMs > there.fromMs) return undefined;
    if (there && isDoubtful(there) && there.peakMs <= atMs) return undefined;
    const joined = there ? { ...present, ...worsePeak(condition.test, present, there), toMs: there.toMs } : present;
    const parts = [...own.slice(0, -1), joined, ...later];
    return parts.length > maxAlarmParts ? undefined : { ...event, parts };
  }

  function agrees(atMs: number): boolean {
    const quietMs = quietFromMs(atMs);
    if (isWhole || quietMs === undefined || atMs < nextLookMs) return false;
    nextLookMs = atMs + reachMs;
    const events = eventsOf(state);
    if (!sameStretches(openIn(events, quietMs, atMs + 1), openIn(known, quietMs, atMs + 1))) return false;
    const last = state.open ? spliced(atMs) : undefined;
    if (state.open && !last) return false;
    agreed = { atMs, events: last ? [...state.ended, last] : events };
    return true;
  }

  return {
    readFromMs,
    feed: (reading) => {
      if (reading.atMs < startMs) {
        prime(condition, state, reading);
        return true;
      }
      begin();
      feed(condition, state, reading);
      return !agrees(reading.atMs);
    },
    result: (nowMs) => {
      begin();
      const events = agreed?.events ?? eventsOf(settled(condition, state, nowMs, endMs));
      const own = borrowed && events[0]?.parts.find(({ fromMs }) => fromMs === borrowed.fromMs);
      const isBeyond = own !== undefined && own.toMs !== undefined && own.toMs <= own.peakMs;
      const isWrong = isBeyond || (own !== undefined && isDoubtful(own) && own.peakMs === borrowed?.peakMs);
      return {
        sinceMs: startMs,
        untilMs: agreed?.atMs,
        events,
        state: agreed ? undefined : copyState(state),
        againFromMs: isWrong ? own.fromMs : undefined,
      };
    },
  };
}
