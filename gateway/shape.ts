import type { Value } from "@jilian/domain/datatypes.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { type CommonDevice, type CommonTag, isCounter, isIntegerType, valueTypes } from "./drivers/tag-config.ts";
import type { RawReading, ShapedSample } from "./model.ts";
import { countsInUnit, createScaler, isWithin, type Scaler } from "./scale.ts";

function scalerOf(tag: CommonTag): Scaler {
  return createScaler(valueTypes[tag.type].datatype, tag.scale);
}

/** Counts after which the register starts again from 0: as configured; an unsigned counter's own width where nothing is said. */
function modulusOf(tag: CommonTag): bigint | undefined {
  if (tag.modulusCounts !== undefined) return BigInt(tag.modulusCounts);
  return isCounter(tag) && tag.type.startsWith("uint") ? 1n << BigInt(valueTypes[tag.type].bits) : undefined;
}

/** What the birth certificate says of a tag: everything in engineering units, after scaling. */
export function definitionOf(device: CommonDevice, tag: CommonTag, simulated: boolean): MetricDefinition {
  const definition: MetricDefinition = { name: tag.name, datatype: scalerOf(tag).datatype, simulated };
  for (const key of ["unit", "role", "carrier", "product"] as const) {
    const text = tag[key];
    if (text !== undefined) definition[key] = text;
  }
  definition.deadband = tag.deadband;
  definition.heartbeatMs = tag.heartbeatMs ?? device.heartbeatMs;
  const modulus = modulusOf(tag);
  const inUnit = modulus === undefined ? undefined : countsInUnit(modulus, tag.scale);
  if (inUnit !== undefined) definition.modulus = inUnit;
  const resolution = isIntegerType(tag.type) ? countsInUnit(1n, tag.scale) : undefined;
  if (resolution !== undefined) definition.resolution = resolution;
  return definition;
}

/** What became of the readings of one poll. */
export type PollCounts = {
  readonly polled: number;
  /** Those that made no sample. */
  readonly suppressed: number;
  /** Those of bad quality, suppressed or not. */
  readonly bad: number;
};

export type Shaper = {
  /** What of one poll is worth a sample, in time order. @param nowMs time of observation, UTC ms */
  readonly shape: (readings: readonly RawReading[], nowMs: number) => ShapedSample[];
  /** Of the last call of `shape`. */
  readonly counts: () => PollCounts;
  /** The device cannot be read any more: one bad sample for each metric that was reported, once until it is read again. */
  readonly lost: (status: number, nowMs: number) => ShapedSample[];
};

/** The gateway's clock may step back this far (a correction by NTP) without its times being doubted. */
const toleratedStepMs = 1000;
/** How far the clock of a source may be from the gateway's, ahead or behind, for its times to be taken as they are. */
export const toleratedSkewMs = 10_000;

type TagState = {
  readonly tag: CommonTag;
  readonly scaler: Scaler;
  readonly heartbeatMs: number;
  readonly min: number;
  readonly max: number;
  reported: boolean;
  value: Value;
  status: number;
  /** Source time of the last sample; the next one's is later. */
  lastMs: number;
  /** Time of observation of the last sample, not its source time: that one stands still while a clock that ran back catches up. */
  observedMs: number;
};

function stateOf(device: CommonDevice, tag: CommonTag, lastMs: number): TagState {
  return {
    tag,
    scaler: scalerOf(tag),
    // Polls never fall exactly on the heartbeat: the nearest poll counts, not the one after.
    heartbeatMs: (tag.heartbeatMs ?? device.heartbeatMs) - device.pollIntervalMs / 2,
    min: tag.range?.min ?? Number.NEGATIVE_INFINITY,
    max: tag.range?.max ?? Number.POSITIVE_INFINITY,
    reported: false,
    value: null,
    status: Status.BadWaitingForInitialData,
    lastMs,
    observedMs: 0,
  };
}

/**
 * Decides what of a device's readings becomes samples: scaling, deadband, heartbeat, quality, and source times that strictly increase
 * (CONTRACTS 3). Pure but for its state; one per device.
 *
 * A sample is made when the status changes, the value leaves the deadband around the last reported one, or the heartbeat is due. A value
 * outside `range` is kept as read and marked BadOutOfRange: nothing is clamped in silence.
 *
 * A reading without a time of its own has the time of the poll, one for all. A reading with one keeps it, and one that is not later than
 * the sample before comes a millisecond after that; where it is far earlier, some clock ran back: gateway time, uncertain.
 * @param lastSourceTimeMs greatest source time the device ever had, durable over restarts; 0 for none
 * @param rate of the clock that times are told in
 */
export function createShaper(
  device: CommonDevice,
  { lastSourceTimeMs, rate = 1 }: { lastSourceTimeMs: number; rate?: number },
): Shaper {
  const states = device.tags.map((tag) => stateOf(device, tag, lastSourceTimeMs));
  let lastPollMs = lastSourceTimeMs;
  let isLost = false;
  let counts: PollCounts = { polled: 0, suppressed: 0, bad: 0 };
  let bad = 0;

  type Time = { readonly timeMs: number; readonly certain: boolean };

  /** One time for all samples of a poll, later than every one before it; uncertain once the clock has run back too far. */
  function pollTime(nowMs: number): Time {
    const certain = lastPollMs - nowMs <= toleratedStepMs;
    return { timeMs: nowMs > lastPollMs ? nowMs : lastPollMs + 1, certain };
  }

  function timeOf({ sourceTimeMs }: RawReading, { lastMs }: TagState, poll: Time, nowMs: number): Time {
    if (sourceTimeMs === undefined) return { ...poll, timeMs: Math.max(poll.timeMs, lastMs + 1) };
    if (sourceTimeMs > lastMs) return { timeMs: sourceTimeMs, certain: true };
    const certain = lastMs - sourceTimeMs <= toleratedSkewMs * rate;
    return { timeMs: certain ? lastMs + 1 : Math.max(nowMs, lastMs + 1), certain };
  }

  function sampleOf(state: TagState, value: Value, status: number, timeMs: number, nowMs: number): ShapedSample {
    state.reported = true;
    state.value = value;
    state.status = status;
    state.lastMs = timeMs;
    state.observedMs = nowMs;
    return { metric: state.tag.name, value, status, sourceTimeMs: timeMs, gatewayTimeMs: nowMs };
  }

  function shapeOne(reading: RawReading, poll: Time, nowMs: number): ShapedSample | undefined {
    const state = states[reading.tag] as TagState;
    const { timeMs, certain } = timeOf(reading, state, poll, nowMs);
    let { value, status } = reading;
    if (!state.scaler.identity && (typeof value === "number" || typeof value === "bigint")) {
      const scaled = state.scaler.scale(value);
      value = scaled.value;
      if (qualityOf(status) === "good" && scaled.status !== Status.Good) status = scaled.status;
    }
    const outside =
      (typeof value === "number" || typeof value === "bigint") && (value < state.min || value > state.max);
    if (outside && qualityOf(status) !== "bad") status = Status.BadOutOfRange;
    if (!certain && qualityOf(status) !== "bad") status = Status.Uncertain;
    if (qualityOf(status) === "bad") bad += 1;
    const elapsedMs = nowMs - state.observedMs;
    const unchanged =
      state.reported &&
      status === state.status &&
      (value === state.value || isWithin(state.tag.deadband, value, state.value)) &&
      elapsedMs >= 0 &&
      elapsedMs < state.heartbeatMs;
    if (unchanged) return undefined;
    if (reading.sourceTimeMs === undefined) lastPollMs = poll.timeMs;
    return sampleOf(state, value, status, timeMs, nowMs);
  }

  return {
    shape(readings, nowMs) {
      isLost = false;
      bad = 0;
      const poll = pollTime(nowMs);
      const samples = readings.flatMap((reading) => shapeOne(reading, poll, nowMs) ?? []);
      counts = { polled: readings.length, suppressed: readings.length - samples.length, bad };
      return samples.sort((a, b) => a.sourceTimeMs - b.sourceTimeMs);
    },
    counts: () => counts,
    lost(status, nowMs) {
      if (isLost) return [];
      isLost = true;
      const { timeMs } = pollTime(nowMs);
      const samples = states
        .filter((state) => state.reported)
        .map((state) => sampleOf(state, null, status, Math.max(timeMs, state.lastMs + 1), nowMs));
      if (samples.length > 0) lastPollMs = timeMs;
      return samples.sort((a, b) => a.sourceTimeMs - b.sourceTimeMs);
    },
  };
}
