import type { Value } from "@jilian/domain/datatypes.ts";
import { inOrderOf } from "@jilian/domain/lists.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import { type Converter, checkedRange, converterOf } from "./convert.ts";
import { deadbandOf } from "./definitions.ts";
import { createDeriver } from "./derive.ts";
import { heartbeatOf } from "./drivers/rates.ts";
import type { CommonDevice, CommonTag, DerivedTag } from "./drivers/tag-config.ts";
import { isCounter } from "./drivers/tag-facts.ts";
import type { LastValue } from "./last-values.ts";
import type { RawReading, ShapedSample } from "./model.ts";
import { isWithin } from "./scale.ts";

/**
 * What became of the readings of one poll. One that is held back is counted when that is decided, with a later poll: readings polled, less
 * those suppressed, with the samples marked, are samples, always.
 */
export type PollCounts = {
  readonly polled: number;
  /** Those that made no sample. */
  readonly suppressed: number;
  /** Those of bad quality, suppressed or not. */
  readonly bad: number;
  /** Samples of derived tags, which the device has not told: a ratio without a value is no reading that failed. Absent for none. */
  readonly marked?: number;
};

export type Shaper = {
  /** What of one poll is worth a sample, in time order. @param nowMs time of observation, UTC ms */
  readonly shape: (readings: readonly RawReading[], nowMs: number) => ShapedSample[];
  /** Of the last call of `shape`; of `rest` and `lost` what had been held back. */
  readonly counts: () => PollCounts;
  /** What each tag was when it was read last, tags before those that are derived of them. */
  readonly last: () => LastValue[];
  /** What is held back: for when no poll will follow. */
  readonly rest: () => ShapedSample[];
  /**
   * The device cannot be read any more: what was held back, and one bad sample for each metric that was reported, once until it is read
   * again.
   */
  readonly lost: (status: number, nowMs: number) => ShapedSample[];
};

export type ShaperOptions = {
  readonly lastSourceTimeMs: number;
  readonly rate?: number;
  readonly onUnlisted?: (tag: string, value: Value) => void;
};

/** The gateway's clock may step back this far (a correction by NTP) without its times being doubted. */
const toleratedStepMs = 1000;
/** How far the clock of a source may be from the gateway's, ahead or behind, for its times to be taken as they are. */
export const toleratedSkewMs = 10_000;

/** A reading that is not reported and must not be lost either: reported when what comes after it would hide it. */
type Held = {
  readonly value: Value;
  readonly status: number;
  readonly timeMs: number;
  /** Whether that is a time of its own, not its poll's. */
  readonly isTimed: boolean;
  readonly nowMs: number;
};

type TagState = {
  /** Its place in the columns of times. */
  readonly index: number;
  readonly tag: CommonTag | DerivedTag;
  /** None for a derived tag: it is computed from converted values. */
  readonly converter: Converter | undefined;
  readonly isCounter: boolean;
  readonly deadband: number;
  readonly heartbeatMs: number;
  reported: boolean;
  value: Value;
  status: number;
  held: Held | undefined;
  /** What was read last, whether or not it made a sample: changed in place, since what lives on is what garbage collection costs. */
  seen: { value: Value; status: number } | undefined;
};

/**
 * Times of all tags of a device, UTC ms. In columns: of a time that is kept in an object the compiler makes an object of its own, which lives
 * until the next one comes, long enough for only a large collection of garbage to find it.
 */
type Times = {
  /** Source time of the last sample; the next one's is later. */
  readonly last: Float64Array;
  /** Time of observation of the last sample, not its source time: that one stands still while a clock that ran back catches up. */
  readonly observed: Float64Array;
  /** Time of what was read last. */
  readonly seen: Float64Array;
};

function stateOf(device: CommonDevice, tag: CommonTag | DerivedTag, index: number): TagState {
  return {
    index,
    tag,
    converter: "of" in tag ? undefined : converterOf(tag),
    isCounter: isCounter(tag),
    deadband: deadbandOf(tag),
    // Polls never fall exactly on the heartbeat: the nearest poll counts, not the one after.
    heartbeatMs: heartbeatOf(tag, device) - device.pollIntervalMs / 2,
    reported: false,
    value: null,
    status: Status.BadWaitingForInitialData,
    held: undefined,
    seen: undefined,
  };
}

function see(state: TagState, value: Value, status: number): void {
  const { seen } = state;
  if (seen === undefined) {
    state.seen = { value, status };
    return;
  }
  seen.value = value;
  seen.status = status;
}

const sourceTimeOf = ({ sourceTimeMs }: ShapedSample): number => sourceTimeMs;

/** Whether a counter was set back, or started again from 0. */
function hasFallen(before: Value, after: Value): boolean {
  const isNumber = (value: Value) => typeof value === "number" || typeof value === "bigint";
  return isNumber(before) && isNumber(after) && (after as number | bigint) < (before as number | bigint);
}

/** Of a poll. */
type Time = { readonly timeMs: number; readonly certain: boolean };

/**
 * What becomes of a reading, converted and timed, against the last sample of its tag. A change in less than `minIntervalMs` is held: it is
 * reported by the first reading after that which still differs. So is what a counter's deadband keeps back: both come out as soon as they
 * would be hidden, since what a counter said last before a gap or before it fell is what it has counted up to there. The fall itself is
 * reported at once: what the counter counts from then on begins there.
 */
function fateOf(state: TagState, value: Value, status: number, elapsedMs: number, sinceMs: number) {
  const { minIntervalMs = 0 } = state.tag;
  const isDue = elapsedMs < 0 || elapsedMs >= state.heartbeatMs;
  if (!state.reported || status !== state.status || isDue) return "report";
  if (value === state.value) return "suppress";
  if (state.isCounter && hasFallen(state.value, value)) return "report";
  const isEarly = sinceMs >= 0 && sinceMs < minIntervalMs;
  if (isWithin(state.deadband, value, state.value)) return state.isCounter ? "hold" : "suppress";
  return isEarly ? "hold" : "report";
}

/**
 * Decides what of a device's readings becomes samples: conversion, deadband, least interval, heartbeat, quality, derived tags, and source
 * times that strictly increase (CONTRACTS 3). Pure but for its state; one per device.
 *
 * A sample is made when the status changes, the value leaves the deadband around the last reported one, or the heartbeat is due. A value
 * outside `range` is kept as read and marked BadOutOfRange: nothing is clamped in silence.
 *
 * A reading without a time of its own has the time of the poll, one for all. A reading with one keeps it, and one that is not later than
 * the sample before comes a millisecond after that; where it is far earlier, some clock ran back: gateway time, uncertain.
 * @param lastSourceTimeMs greatest source time the device ever had, durable over restarts; 0 for none
 * @param rate of the clock that times are told in
 * @param onUnlisted told of a number that is not in its tag's enumeration, when that turns the tag bad
 */
export function createShaper(device: CommonDevice, { lastSourceTimeMs, rate = 1, onUnlisted }: ShaperOptions): Shaper {
  const states = [...device.tags, ...(device.derived ?? [])].map((tag, i) => stateOf(device, tag, i));
  const times: Times = {
    last: new Float64Array(states.length).fill(lastSourceTimeMs),
    observed: new Float64Array(states.length),
    seen: new Float64Array(states.length),
  };
  const deriver = createDeriver(device);
  // Polls never fall exactly on their grid.
  const graceMs = device.pollIntervalMs / 10;
  let lastPollMs = lastSourceTimeMs;
  let isLost = false;
  let counts: PollCounts = { polled: 0, suppressed: 0, bad: 0 };
  let bad = 0;
  /** Readings that are held back. */
  let heldReadings = 0;

  /** One time for all samples of a poll, later than every one before it; uncertain once the clock has run back too far. */
  function pollTime(nowMs: number): Time {
    const certain = lastPollMs - nowMs <= toleratedStepMs;
    return { timeMs: nowMs > lastPollMs ? nowMs : lastPollMs + 1, certain };
  }

  function isCertain({ sourceTimeMs }: RawReading, lastMs: number, poll: Time): boolean {
    return sourceTimeMs === undefined ? poll.certain : lastMs - sourceTimeMs <= toleratedSkewMs * rate;
  }

  function timeOf({ sourceTimeMs }: RawReading, lastMs: number, poll: Time, nowMs: number, certain: boolean): number {
    if (sourceTimeMs === undefined) return Math.max(poll.timeMs, lastMs + 1);
    if (sourceTimeMs > lastMs) return sourceTimeMs;
    return certain ? lastMs + 1 : Math.max(nowMs, lastMs + 1);
  }

  function hold(state: TagState, held: Held | undefined): void {
    // Derived tags are none that are read.
    if (state.converter) heldReadings += (held === undefined ? 0 : 1) - (state.held === undefined ? 0 : 1);
    state.held = held;
  }

  function sampleOf(state: TagState, value: Value, status: number, timeMs: number, nowMs: number): ShapedSample {
    state.reported = true;
    state.value = value;
    state.status = status;
    times.last[state.index] = timeMs;
    times.observed[state.index] = nowMs;
    return { metric: state.tag.name, value, status, sourceTimeMs: timeMs, gatewayTimeMs: nowMs };
  }

  /** Adds the sample of what is held of a tag, if anything is. */
  function release(state: TagState, samples: ShapedSample[]): void {
    const { held } = state;
    if (held === undefined) return;
    hold(state, undefined);
    if (!held.isTimed) lastPollMs = Math.max(lastPollMs, held.timeMs);
    samples.push(sampleOf(state, held.value, held.status, held.timeMs, held.nowMs));
  }

  /** @param samples what becomes of the reading is added to them */
  function shapeOne(reading: RawReading, poll: Time, nowMs: number, samples: ShapedSample[]): void {
    const state = states[reading.tag] as TagState;
    const { index, converter, tag, held } = state;
    const converted = converter ? converter.convert(reading) : checkedRange(reading, tag.range);
    const { value } = converted;
    let { status } = converted;
    if (converter?.isEnumeration && value === null && reading.value !== null && status !== state.status) {
      onUnlisted?.(tag.name, reading.value);
    }
    if (converter) deriver.see(reading.tag, converted, reading.sourceTimeMs);
    const isHidden =
      qualityOf(status) === "bad" || (state.isCounter && held !== undefined && hasFallen(held.value, value));
    if (isHidden) release(state, samples);
    const lastMs = times.last[index] as number;
    const certain = isCertain(reading, lastMs, poll);
    const timeMs = timeOf(reading, lastMs, poll, nowMs, certain);
    if (!certain && qualityOf(status) !== "bad") status = Status.Uncertain;
    if (qualityOf(status) === "bad" && converter) bad += 1;
    see(state, value, status);
    times.seen[index] = timeMs;
    const elapsedMs = nowMs - (times.observed[index] as number);
    const isTimed = reading.sourceTimeMs !== undefined;
    const fate = fateOf(state, value, status, elapsedMs, isTimed ? timeMs - lastMs : elapsedMs + graceMs);
    hold(state, fate === "hold" ? { value, status, timeMs, isTimed, nowMs } : undefined);
    if (fate !== "report") return;
    if (!isTimed) lastPollMs = Math.max(lastPollMs, poll.timeMs);
    samples.push(sampleOf(state, value, status, timeMs, nowMs));
  }

  function count(polled: number, made: number, derived: number): void {
    counts = { polled, suppressed: polled - made, bad, ...(derived > 0 ? { marked: derived } : {}) };
  }

  /** Everything that is held, counted now. */
  function releaseAll(): ShapedSample[] {
    bad = 0;
    const polled = heldReadings;
    const samples: ShapedSample[] = [];
    for (const state of states) release(state, samples);
    count(polled, polled, samples.length - polled);
    return samples;
  }

  return {
    shape(readings, nowMs) {
      isLost = false;
      bad = 0;
      const before = heldReadings;
      const poll = pollTime(nowMs);
      const samples: ShapedSample[] = [];
      for (let i = 0; i < readings.length; i += 1) shapeOne(readings[i] as RawReading, poll, nowMs, samples);
      const made = samples.length;
      for (const reading of deriver.take()) shapeOne(reading, poll, nowMs, samples);
      count(readings.length + before - heldReadings, made, samples.length - made);
      return inOrderOf(samples, sourceTimeOf);
    },
    counts: () => counts,
    last: () =>
      states.map(({ tag, seen, index }) => ({ tag, seen: seen && { ...seen, timeMs: times.seen[index] as number } })),
    rest: () => inOrderOf(releaseAll(), sourceTimeOf),
    lost(status, nowMs) {
      const released = releaseAll();
      if (isLost) return released;
      isLost = true;
      deriver.forget();
      const { timeMs } = pollTime(nowMs);
      const marks = states
        .filter((state) => state.reported)
        .map((state) => {
          const lastMs = times.last[state.index] as number;
          return sampleOf(state, null, status, Math.max(timeMs, lastMs + 1), nowMs);
        });
      if (marks.length > 0) lastPollMs = timeMs;
      for (const state of states) if (state.seen) see(state, null, status);
      times.seen.set(times.last);
      return inOrderOf([...released, ...marks], sourceTimeOf);
    },
  };
}
