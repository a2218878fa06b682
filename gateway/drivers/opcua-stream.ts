import type { Clock } from "@jilian/domain/clock.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import type { RawReading } from "../model.ts";
import { toleratedSkewMs } from "../shape.ts";
import type { OpcuaTag } from "./opcua-config.ts";
import { type Decoded, decodeValue, type OpcuaValue } from "./opcua-decode.ts";
import { type Sentinel, type SentinelTest, sentinelTest } from "./sentinels.ts";

/** Readings that wait for the collector; beyond it the oldest go, and the next of their tags says so. */
const maxPending = 100_000;
const droppedAtOnce = 1000;
/** InfoType DataValue and its Overflow bit (OPC 10000-4, 7.39.1): values before this one were lost. */
const overflowBits = 0x0480;
/** For so long after a silence, values from within it may still come. */
const catchUpMs = 5000;

type TagState = {
  /** Its place in the columns of times. */
  readonly index: number;
  readonly tag: OpcuaTag;
  readonly sentinels: SentinelTest | undefined;
  /** What came last, as the server sent it, and with which status it was passed on. */
  last: { value: Value; status: number; misfit: string | undefined; passedAs: number } | undefined;
  /** StatusCode of the server's refusal to monitor it. */
  refused: number | undefined;
  samplingMs: number;
  /** Machine time since which a check finds another value than was notified; until that is cleared up it has no heartbeat. */
  differsMs: number | undefined;
  overflowed: boolean;
  drain: number;
};

/** In columns, as those of gateway/shape.ts: a time that is kept in an object is an object of its own. */
type Times = {
  /** Source time of what came last, UTC ms; NaN: it has none. */
  readonly source: Float64Array;
  /** Machine time of the last notification or of the last check that found the same. */
  readonly seen: Float64Array;
};

/** Values on their way from the notifications of a subscription to the polls of the collector. */
export type OpcuaStream = {
  /** A change, in an answer for which {@link OpcuaStream.proved} was called. */
  readonly arrived: (tag: number, value: OpcuaValue) => void;
  /**
   * The server has answered for the subscription: whatever it had not sent by then had not changed.
   * @param publishedMs when it sent the answer, by its own clock (publishTime, OPC 10000-4, 7.25), UTC ms; absent: now
   */
  readonly proved: (publishedMs?: number) => void;
  readonly refuse: (tag: number, status: number) => void;
  /** The server monitors the tag, and looks at it so often. */
  readonly accept: (tag: number, samplingMs: number) => void;
  readonly refused: () => { tag: number; status: number }[];
  /** Machine time since the server last answered for the subscription, or since the start where it never has. */
  readonly silentMs: () => number;
  readonly hasSpoken: () => boolean;
  /** Resolves when every accepted tag has a value, or after the bound. */
  readonly firstValues: (boundMs: number) => Promise<void>;
  /** Tags that were quiet for the period, the longest first: to be checked by a read. */
  readonly quiet: (periodMs: number, limit: number) => number[];
  /** A value that was read because the server does not tell it: an observation. */
  readonly observed: (tag: number, value: OpcuaValue) => void;
  /** Compares what a read found. @returns true when the server must have notified another value and has not */
  readonly check: (tag: number, value: OpcuaValue) => boolean;
  /** All changes since the last drain in order, and every tag without one as it is known to be still. */
  readonly drain: () => RawReading[];
  /** The changes since the last drain alone: what is left when the server is gone. */
  readonly rest: () => RawReading[];
};

export type StreamEvents = {
  /** A tag's value cannot be used as configured: told once until it can. */
  readonly onMisfit: (tag: OpcuaTag, misfit: string) => void;
  /** A source time that far from the gateway's clock, ms, positive when ahead. */
  readonly onSkew: (tag: OpcuaTag, skewMs: number) => void;
  readonly onDropped: (count: number) => void;
};

type Options = {
  readonly tags: readonly OpcuaTag[];
  /** Of the device: for tags that have none of their own. */
  readonly sentinels?: readonly Sentinel[] | undefined;
  readonly publishingMs: number;
  readonly samplingMs: number;
  readonly keepAliveMs: number;
  readonly clock: Clock;
  /** True while changes that the server has sent already may still be on their way. */
  readonly catchesUp: () => boolean;
};

/** In place: of thousands of tags an object each second that lives on costs more than decoding what it holds. */
function keep(state: TagState, { value, status, misfit }: Decoded, passedAs: number): void {
  const { last } = state;
  if (last === undefined) {
    state.last = { value, status, misfit, passedAs };
    return;
  }
  last.value = value;
  last.status = status;
  last.misfit = misfit;
  last.passedAs = passedAs;
}

/**
 * Readings that wait for the next poll, in columns. An object for each would live just long enough to be moved to where only a large
 * collection of garbage finds it.
 */
function readingQueue() {
  let tags: number[] = [];
  let values: Value[] = [];
  let statuses: number[] = [];
  let times: number[] = [];
  return {
    size: (): number => tags.length,
    push(tag: number, value: Value, status: number, timeMs: number): void {
      tags.push(tag);
      values.push(value);
      statuses.push(status);
      times.push(timeMs);
    },
    /** Drops the oldest. @returns their tags */
    drop(count: number): number[] {
      for (const column of [values, statuses, times]) column.splice(0, count);
      return tags.splice(0, count);
    },
    take(): RawReading[] {
      const taken = tags.map((tag, i) => ({
        tag,
        value: values[i] as Value,
        status: statuses[i] as number,
        sourceTimeMs: times[i] as number,
      }));
      [tags, values, statuses, times] = [[], [], [], []];
      return taken;
    },
  };
}

function stateOf(tag: OpcuaTag, index: number, { samplingMs, sentinels }: Options): TagState {
  const none = { last: undefined, refused: undefined, differsMs: undefined };
  return {
    ...{ index, tag, sentinels: sentinelTest(tag, { sentinels }), ...none },
    ...{ samplingMs, overflowed: false, drain: 0 },
  };
}

/**
 * Keeps what notifications bring, each with its own source time and status.
 *
 * Source times count by the clock of the source, which may be wrong. One that lies ahead of the gateway's clock, or behind what sampling,
 * publishing and a silence that has just ended can explain, is not taken: gateway time, uncertain. The first value of a tag may have been
 * so for days: then it is an observation of now. So is one that comes again under the source time it had, as all do that have not changed
 * when a session is mended.
 */
export function createStream(options: Options, events: StreamEvents): OpcuaStream {
  const { clock, publishingMs, keepAliveMs } = options;
  const states = options.tags.map((tag, i) => stateOf(tag, i, options));
  const times: Times = {
    source: new Float64Array(states.length).fill(Number.NaN),
    seen: new Float64Array(states.length).fill(performance.now()),
  };
  const at = (tag: number) => states[tag] as TagState;
  const pending = readingQueue();
  const proven = { machineMs: performance.now(), clockMs: clock.now(), publishedMs: clock.now() };
  let drainedProofMs = Number.NEGATIVE_INFINITY;
  let backlog = { fromMs: 0, untilMs: Number.NEGATIVE_INFINITY };
  let spoken = false;
  let drains = 0;
  let wake: (() => void) | undefined;

  /**
   * The time of an answer in the server's clock, where that is behind ours by what a delay and two tolerable clocks explain: an answer that
   * waited on the way says nothing of the meantime, and a value that is as it was must not come after a change that the server saw later.
   */
  function publishedAt(clockMs: number, publishedMs: number | undefined): number {
    const behindMs = publishedMs === undefined ? 0 : Date.now() - publishedMs;
    return behindMs > 0 && behindMs <= toleratedSkewMs ? clockMs - behindMs * clock.rate : clockMs;
  }

  function proved(publishedMs?: number): void {
    const machineMs = performance.now();
    // A silence that was more than the keep-alive's ends: its values come now, as old as they are.
    if (machineMs - proven.machineMs > 1.5 * keepAliveMs) {
      backlog = { fromMs: proven.machineMs, untilMs: machineMs + catchUpMs };
    }
    proven.machineMs = machineMs;
    proven.clockMs = clock.now();
    proven.publishedMs = publishedAt(proven.clockMs, publishedMs);
    spoken = true;
  }

  /** When a value was true, by its source where that tells and can be believed; undefined where it tells and cannot. */
  function timeOf(state: TagState, { sourceMs }: OpcuaValue): number | undefined {
    const { machineMs, clockMs } = proven;
    if (sourceMs === undefined) return clockMs;
    const delayMs = publishingMs + state.samplingMs + (machineMs < backlog.untilMs ? machineMs - backlog.fromMs : 0);
    const isKnown = state.last === undefined || times.source[state.index] === sourceMs;
    const skewMs = sourceMs - clockMs;
    const ahead = skewMs > toleratedSkewMs * clock.rate;
    const behind = -skewMs > (toleratedSkewMs + delayMs) * clock.rate;
    if (ahead || (behind && !isKnown)) {
      events.onSkew(state.tag, skewMs);
      return undefined;
    }
    return behind ? clockMs : sourceMs;
  }

  function makeRoom(): void {
    if (pending.size() < maxPending) return;
    const gone = pending.drop(droppedAtOnce);
    for (const tag of gone) at(tag).overflowed = true;
    events.onDropped(gone.length);
  }

  /** @param atMs when it came, machine time */
  function pass(tag: number, value: OpcuaValue, atMs: number): void {
    const state = at(tag);
    const decoded = decodeValue(state.tag.type, value, state.sentinels);
    const timeMs = timeOf(state, value);
    const passedAs = timeMs === undefined && qualityOf(decoded.status) === "good" ? Status.Uncertain : decoded.status;
    if (decoded.misfit !== undefined && decoded.misfit !== state.last?.misfit)
      events.onMisfit(state.tag, decoded.misfit);
    keep(state, decoded, passedAs);
    times.source[tag] = value.sourceMs ?? Number.NaN;
    times.seen[tag] = atMs;
    state.differsMs = undefined;
    makeRoom();
    pending.push(tag, decoded.value, passedAs, timeMs ?? proven.clockMs);
  }

  /**
   * What is known of a tag that brought nothing: the value it had at the last time at which the server looked at it for certain, one sampling
   * interval before its last answer.
   */
  function still(tag: number): RawReading | undefined {
    const { last, refused, differsMs, samplingMs } = at(tag);
    if (refused !== undefined) return { tag, value: null, status: refused };
    if (last === undefined) return { tag, value: null, status: Status.BadWaitingForInitialData };
    if (differsMs !== undefined || proven.machineMs === drainedProofMs) return undefined;
    // To say that it is as it was would put the changes that still come later than they were.
    if (options.catchesUp()) return undefined;
    const status = (last.passedAs & overflowBits) === overflowBits ? last.passedAs & ~overflowBits : last.passedAs;
    const sourceTimeMs = Math.floor(proven.publishedMs - samplingMs * clock.rate);
    return { tag, value: last.value, status: status >>> 0, sourceTimeMs };
  }

  const waiting = () => states.some(({ last, refused }) => last === undefined && refused === undefined);

  function takePending(): RawReading[] {
    const readings = pending.take();
    for (let i = 0; i < readings.length; i += 1) {
      const reading = readings[i] as RawReading;
      const state = at(reading.tag);
      state.drain = drains;
      if (!state.overflowed || qualityOf(reading.status) === "bad") continue;
      state.overflowed = false;
      reading.status = (reading.status | overflowBits) >>> 0;
    }
    return readings;
  }

  return {
    rest: takePending,
    arrived(tag, value) {
      at(tag).refused = undefined;
      pass(tag, value, proven.machineMs);
      if (wake !== undefined && !waiting()) wake();
    },
    proved,
    refuse(tag, status) {
      at(tag).refused = status;
    },
    accept(tag, samplingMs) {
      Object.assign(at(tag), { refused: undefined, samplingMs });
      times.seen[tag] = performance.now();
    },
    refused: () => states.flatMap(({ refused: status }, tag) => (status === undefined ? [] : [{ tag, status }])),
    hasSpoken: () => spoken,
    observed(tag, value) {
      at(tag).last = undefined;
      pass(tag, value, performance.now());
    },
    silentMs: () => performance.now() - proven.machineMs,
    async firstValues(boundMs) {
      if (!waiting()) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, boundMs);
      wake = resolve;
      await promise;
      wake = undefined;
      clearTimeout(timer);
    },
    quiet(periodMs, limit) {
      const dueMs = performance.now() - periodMs;
      const due: number[] = [];
      for (let tag = 0; tag < states.length; tag += 1) {
        const { last, refused, differsMs } = at(tag);
        if (last === undefined || refused !== undefined) continue;
        if (differsMs !== undefined || (times.seen[tag] as number) <= dueMs) due.push(tag);
      }
      return due.sort((a, b) => (times.seen[a] as number) - (times.seen[b] as number)).slice(0, limit);
    },
    check(tag, value) {
      const state = at(tag);
      const { last } = state;
      if (last === undefined) return false;
      const found = decodeValue(state.tag.type, value, state.sentinels);
      const nowMs = performance.now();
      if (found.value === last.value && qualityOf(found.status) === qualityOf(last.status)) {
        times.seen[tag] = nowMs;
        state.differsMs = undefined;
        return false;
      }
      state.differsMs ??= nowMs;
      // The notification of what was read may still be on its way.
      return nowMs - state.differsMs > 2 * (publishingMs + state.samplingMs) + 1000;
    },
    drain() {
      drains += 1;
      const readings = takePending();
      for (let tag = 0; tag < states.length; tag += 1) {
        const reading = at(tag).drain === drains ? undefined : still(tag);
        if (reading !== undefined) readings.push(reading);
      }
      drainedProofMs = proven.machineMs;
      return readings;
    },
  };
}
