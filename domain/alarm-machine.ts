import {
  type AlarmCondition,
  type AlarmEvent,
  type AlarmPart,
  type AlarmReading,
  type AlarmTest,
  type AlarmValue,
  maxAlarmParts,
  worsePeak,
} from "./alarm.ts";
import { leastOf } from "./lists.ts";

/** What a reading says to the alarm: whether its condition is there, and whether it is gone; between the two lies the hysteresis. */
type Verdict = { readonly value: AlarmValue; readonly isThere: boolean; readonly isGone: boolean };

/** A reading that is in force until `knownUntilMs`, or until the next one; without verdict nothing is known. */
type Held = { readonly verdict: Verdict | undefined; readonly knownUntilMs: number };

/** An event that has not ended. */
type Open = { parts: AlarmPart[] };

/** Where a series stands after its readings up to `atMs`. Plain data: `copyState` keeps one for later. */
export type AlarmState = {
  /** Source time of the last reading. */
  atMs: number;
  held: Held | undefined;
  /** Since when the condition is there while no alarm is raised, or gone while one is. */
  sinceMs: number | undefined;
  open: Open | undefined;
  /** Readings that a rate may go back to, oldest first. */
  recent: AlarmReading[];
  /** Events that ended, in order. */
  ended: AlarmEvent[];
};

/** A series of which nothing is known yet, or whose alarm is known to be open at a moment. */
export function beginState(atMs: number, parts: readonly AlarmPart[] = []): AlarmState {
  const open = parts.length > 0 ? { parts: [...parts] } : undefined;
  return { atMs, held: undefined, sinceMs: undefined, open, recent: [], ended: [] };
}

export function copyState(state: AlarmState): AlarmState {
  const open = state.open && { parts: [...state.open.parts] };
  return { ...state, open, recent: [...state.recent], ended: [...state.ended] };
}

function judgeNumber(test: Exclude<AlarmTest, { kind: "state" }>, value: bigint): Verdict {
  const [upper, lower] = test.kind === "threshold" ? [test.above, test.below] : [test.rise, test.fall];
  const hysteresis = test.kind === "threshold" ? test.hysteresis : 0n;
  // A fall of 5 a minute is a rate of -5.
  const floor = test.kind === "rate" && lower !== undefined ? -lower : lower;
  if (upper !== undefined) return { value, isThere: value > upper, isGone: value <= upper - hysteresis };
  const limit = floor as bigint;
  return { value, isThere: value < limit, isGone: value >= limit + hysteresis };
}

/** The rate a minute at a reading; undefined where the value a window ago is not known. Rounded toward 0, at the scale. */
function rateOf(recent: readonly AlarmReading[], reading: AlarmReading, windowMs: number, staleMs: number) {
  const thenMs = reading.atMs - windowMs;
  const before = recent.findLast(({ atMs }) => atMs <= thenMs);
  if (!before || thenMs >= before.atMs + staleMs) return undefined;
  if (typeof before.value !== "bigint" || typeof reading.value !== "bigint") return undefined;
  return ((reading.value - before.value) * 60_000n) / BigInt(windowMs);
}

function verdictOf({ test, staleMs }: AlarmCondition, state: AlarmState, reading: AlarmReading): Verdict | undefined {
  const { value } = reading;
  if (value === undefined) return undefined;
  if (test.kind === "state") {
    const isThere = typeof value === "string" && test.codes.has(value);
    return { value, isThere, isGone: !isThere };
  }
  if (test.kind === "threshold") return typeof value === "bigint" ? judgeNumber(test, value) : undefined;
  const rate = rateOf(state.recent, reading, test.windowMs, staleMs);
  return rate === undefined ? undefined : judgeNumber(test, rate);
}

/** Keeps what a rate will go back to: from the last reading that is older than the window on. */
function remember({ test }: AlarmCondition, state: AlarmState, reading: AlarmReading): void {
  if (test.kind !== "rate") return;
  const { recent } = state;
  recent.push(reading);
  const first = recent.findLastIndex(({ atMs }) => atMs <= reading.atMs - test.windowMs);
  if (first > 0) recent.splice(0, first);
}

function hold(condition: AlarmCondition, state: AlarmState, reading: AlarmReading): Verdict | undefined {
  remember(condition, state, reading);
  const verdict = verdictOf(condition, state, reading);
  state.held = { verdict, knownUntilMs: reading.atMs + (verdict ? condition.staleMs : 0) };
  state.atMs = reading.atMs;
  return verdict;
}

/** A reading before the moment at which a state begins: it may be in force there. */
export function prime(condition: AlarmCondition, state: AlarmState, reading: AlarmReading): void {
  hold(condition, state, reading);
}

/** Begins at a moment, once, with the reading that is in force there. */
export function start(state: AlarmState, startMs: number): void {
  state.atMs = startMs;
  const { held, open } = state;
  const verdict = held && startMs < held.knownUntilMs ? held.verdict : undefined;
  state.sinceMs = (open ? verdict?.isGone : verdict?.isThere) ? startMs : undefined;
}

const isRunning = (open: Open): boolean => open.parts.at(-1)?.toMs === undefined;

/** Ends the part that lasts, if one does. */
function closePart(open: Open, toMs: number): void {
  const last = open.parts.at(-1) as AlarmPart;
  if (last.toMs === undefined) open.parts[open.parts.length - 1] = { ...last, toMs };
}

function raise(state: AlarmState, atMs: number, peak: AlarmValue): void {
  state.open = { parts: [{ fromMs: atMs, toMs: undefined, peak, peakMs: atMs }] };
  state.sinceMs = undefined;
}

function end(state: AlarmState, atMs: number, ending: AlarmEvent["ending"]): void {
  const open = state.open as Open;
  closePart(open, atMs);
  state.ended.push({ parts: open.parts, clearedMs: atMs, ending });
  state.open = undefined;
  state.sinceMs = undefined;
}

/** When the delay that runs is over; undefined where none runs. */
function dueMs({ onDelayMs, offDelayMs }: AlarmCondition, { sinceMs, open }: AlarmState): number | undefined {
  return sinceMs === undefined ? undefined : sinceMs + (open ? offDelayMs : onDelayMs);
}

function fire(state: AlarmState, atMs: number): void {
  if (state.open) end(state, atMs, "cleared");
  else raise(state, atMs, ((state.held as Held).verdict as Verdict).value);
}

/** Lets time pass up to a moment (exclusive) without a reading: delays run out while the last reading is believed, then nothing is known. */
function pass(condition: AlarmCondition, state: AlarmState, toMs: number): void {
  const { held } = state;
  if (!held) return;
  const due = dueMs(condition, state);
  if (due !== undefined && due < Math.min(toMs, held.knownUntilMs)) fire(state, due);
  if (held.knownUntilMs >= toMs) return;
  state.sinceMs = undefined;
  if (state.open) closePart(state.open, held.knownUntilMs);
}

/** The part of an open event in which a usable reading lies. */
function notePart({ test }: AlarmCondition, open: Open, atMs: number, { value: peak }: Verdict): void {
  const last = open.parts.at(-1) as AlarmPart;
  if (last.toMs !== undefined) open.parts.push({ fromMs: atMs, toMs: undefined, peak, peakMs: atMs });
  else open.parts[open.parts.length - 1] = { ...last, ...worsePeak(test, last, { peak, peakMs: atMs }) };
}

/** One reading, later than all before. */
export function feed(condition: AlarmCondition, state: AlarmState, reading: AlarmReading): void {
  const { atMs } = reading;
  pass(condition, state, atMs);
  const verdict = hold(condition, state, reading);
  if (!verdict) {
    state.sinceMs = undefined;
    if (state.open) closePart(state.open, atMs);
    return;
  }
  if (state.open && !isRunning(state.open) && state.open.parts.length >= maxAlarmParts) end(state, atMs, "gaps");
  const changes = state.open ? verdict.isGone : verdict.isThere;
  state.sinceMs = changes ? (state.sinceMs ?? atMs) : undefined;
  if (dueMs(condition, state) === atMs) fire(state, atMs);
  else if (state.open) notePart(condition, state.open, atMs, verdict);
}

/** Every event so far, the one that has not ended last. */
export function eventsOf({ ended, open }: AlarmState): AlarmEvent[] {
  return open ? [...ended, { parts: open.parts, clearedMs: undefined, ending: undefined }] : [...ended];
}

/**
 * What is known at a moment, without a further reading: delays may have run out, the last reading may be stale. The state itself stays: a
 * reading that is still on its way may lie before that moment.
 * @param endMs from here on the rule is not in force: what is open ends
 */
export function settled(condition: AlarmCondition, state: AlarmState, nowMs: number, endMs = Infinity): AlarmState {
  const then = copyState(state);
  pass(condition, then, Math.min(nowMs + 1, endMs));
  if (then.open && nowMs >= endMs) end(then, endMs, "rule");
  return then;
}

/** The next moment at which `settled` says something else, if no reading comes; undefined where it never does. */
export function nextChangeMs(condition: AlarmCondition, state: AlarmState, endMs = Infinity): number | undefined {
  const { held, open } = state;
  const due = dueMs(condition, state);
  const untilMs = held?.knownUntilMs ?? Number.NEGATIVE_INFINITY;
  const moments = [
    due !== undefined && due < untilMs ? due : undefined,
    open && isRunning(open) ? untilMs : undefined,
    open && Number.isFinite(endMs) ? endMs : undefined,
  ].filter((at) => at !== undefined);
  return moments.length > 0 ? leastOf(moments) : undefined;
}

/** Judges all readings of a series from the first one on. Pure; readings in the order of their source times. */
export function alarmEvents(
  condition: AlarmCondition,
  readings: Iterable<AlarmReading>,
  nowMs: number,
  endMs = Infinity,
): AlarmEvent[] {
  const state = beginState(Number.NEGATIVE_INFINITY);
  for (const reading of readings) if (reading.atMs < endMs) feed(condition, state, reading);
  return eventsOf(settled(condition, state, nowMs, endMs));
}
