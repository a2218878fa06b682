import { addGauges, type GaugeSum, gaugeOf, noGauge, storedGauge } from "./gauge-leaf.ts";
import { type CounterLeaf, emptyLeaf, mergeLeaves } from "./leaf.ts";
import { addQuantities, type MachinePlan, noQuantity, observe, plannedMinutes, type Quantity } from "./machine-sums.ts";
import { minuteMs, quarterHourMs } from "./periods.ts";
import { addStates, noState, type StateLeaf, type StateSum } from "./state-leaf.ts";
import { closeStretches, mergeStretches, noStretch, type Stretches } from "./stretches.ts";
import { type Band, type DemandSum, greaterDemand } from "./tariff.ts";

/** The minutes [fromMs, toMs) in which the leaves of a channel are those of a series. */
export type ChannelPart = { readonly fromMs: number; readonly toMs: number; readonly series: number };

/** Channels by their number, each with its parts in order. */
export type Channels = ReadonlyMap<number, readonly ChannelPart[]>;

/**
 * What a subject, a device or a factory, has in its leaves, and what is to be made of them. Series are named by their number in the store.
 * Where births have changed what a series means, a number is that of a channel: of what means the same over time.
 */
export type RollupSource = {
  /** `factory/gateway/device`, or the id of a factory, whose rollup has the demand of its incoming meters and nothing else. */
  readonly key: string;
  readonly counters: readonly number[];
  readonly gauges: readonly number[];
  /** Its `machine.state` series. */
  readonly states: readonly number[];
  /** Of a machine: what of these counters falls into observed planned minutes is asked for, and what the states say in them. */
  readonly plan: MachinePlan | undefined;
  readonly planned: readonly number[];
  /** Of a meter under a tariff: what of these counters falls into each band. */
  readonly bandAt: ((minuteMs: number) => Band) | undefined;
  readonly banded: readonly number[];
  /** Registers whose demand together is asked for; undefined for a meter that was never read. */
  readonly demand: readonly (number | undefined)[];
  /** Numbers that stand for a channel and not for a series; absent where no birth of the subject has changed. */
  readonly channels?: Channels;
  /** Equal for sources that make equal rollups of equal leaves. */
  readonly signature: string;
};

/** Merged leaves of a subject over a stretch of time. Series of which nothing is known are absent. */
export type Rollup = {
  readonly counters: ReadonlyMap<number, CounterLeaf>;
  readonly gauges: ReadonlyMap<number, GaugeSum>;
  /** Parts of counters in minutes of a kind, by `partKey`. */
  readonly parts: ReadonlyMap<string, Quantity>;
  /** In minutes that have ended, until `addOnline`. */
  readonly onlineMs: number;
  /** In observed planned minutes. */
  readonly state: StateSum;
  /** Of the whole quarter hours that have passed. */
  readonly demand: DemandSum | undefined;
  /** True when some quarter hour of some meter was not told. */
  readonly untold: boolean;
};

/** A rollup inside an hour, to which more minutes of the hour can be merged. */
export type OpenRollup = Omit<Rollup, "parts"> & { readonly parts: ReadonlyMap<string, Stretches> };

/** Kinds of minutes of which a counter's part is asked for. */
export type PartKind = "planned" | Band;

export function partKey(series: number, kind: PartKind): string {
  return `${series}:${kind}`;
}

/** The series whose leaf a number stands for in a minute; undefined where it stands for none. */
export function seriesAt(channels: Channels | undefined, id: number, minute: number): number | undefined {
  const parts = channels?.get(id);
  return parts ? parts.find(({ fromMs, toMs }) => minute >= fromMs && minute < toMs)?.series : id;
}

/** True where a number stands for some series in [fromMs, toMs). */
export function isTelling(channels: Channels | undefined, id: number, fromMs: number, toMs: number): boolean {
  return channels?.get(id)?.some((part) => part.fromMs < toMs && part.toMs > fromMs) ?? true;
}

export const emptyRollup: Rollup = {
  counters: new Map(),
  gauges: new Map(),
  parts: new Map(),
  onlineMs: 0,
  state: noState,
  demand: undefined,
  untold: false,
};

/** The rollup of a time of which nothing is known; `passed` when some quarter hour of it has passed. */
export function unknownRollup(source: RollupSource, passed: boolean): Rollup {
  return source.demand.length > 0 && passed ? { ...emptyRollup, untold: true } : emptyRollup;
}

/** Leaves by minute. What is absent is not known. */
export type MinuteLeaves = {
  readonly counterAt: (series: number, minuteMs: number) => CounterLeaf | undefined;
  readonly stateAt: (series: number, minuteMs: number) => StateLeaf | undefined;
  readonly onlineAt: (device: string, minuteMs: number) => number;
};

/** The minutes of [fromMs, toMs) that begin by a time. Each minute of each subject asks: a loop, where a callback costs more than the rest. */
function minutesOf(fromMs: number, toMs: number, byMs = Number.POSITIVE_INFINITY): number[] {
  const minutes: number[] = [];
  for (let at = fromMs; at + minuteMs <= toMs && at <= byMs; at += minuteMs) minutes.push(at);
  return minutes;
}

/** The leaves of a series in some minutes as one; undefined where none is known. */
function mergedAt(leaves: MinuteLeaves, series: number, minutes: readonly number[]): CounterLeaf | undefined {
  let merged: CounterLeaf | undefined;
  let isKnown = false;
  for (const at of minutes) {
    const leaf = leaves.counterAt(series, at);
    isKnown ||= leaf !== undefined;
    merged = merged ? mergeLeaves(merged, leaf ?? emptyLeaf) : (leaf ?? emptyLeaf);
  }
  return isKnown ? merged : undefined;
}

/** The demand of the quarter hours in [fromMs, toMs) that have passed, which are whole ones there. */
function demandIn(source: RollupSource, leaves: MinuteLeaves, fromMs: number, toMs: number, nowMs: number) {
  let demand: DemandSum | undefined;
  let untold = false;
  const first = Math.ceil(fromMs / quarterHourMs) * quarterHourMs;
  const lastMs = Math.min(toMs, nowMs);
  for (let startMs = first; source.demand.length > 0 && startMs + quarterHourMs <= lastMs; startMs += quarterHourMs) {
    const minutes = minutesOf(startMs, startMs + quarterHourMs);
    const told = source.demand.flatMap((series) => {
      const leaf = series === undefined ? undefined : mergedAt(leaves, series, minutes);
      return leaf && leaf.coveredMs + leaf.gapMs > 0 ? [leaf] : [];
    });
    untold ||= told.length < source.demand.length;
    if (told.length === 0) continue;
    const one = {
      amount: told.reduce((sum, leaf) => sum + leaf.amount, 0n),
      startMs,
      estimated: told.reduce((sum, leaf) => sum + (leaf.inGap ? leaf.amount : leaf.left + leaf.right), 0n),
      partial: told.some((leaf) => leaf.resets > 0),
    };
    demand = greaterDemand(demand, one);
  }
  return { demand, untold };
}

/** The parts of counters in the minutes that count, minute by minute. */
function partsIn(
  source: RollupSource,
  leaves: MinuteLeaves,
  minutes: readonly number[],
  isPlanned: (minuteMs: number) => boolean,
): Map<string, Stretches> {
  const parts = new Map<string, Stretches>();
  if (minutes.length === 0) return parts;
  const add = (series: number, kind: PartKind, counts: (minuteMs: number) => boolean) => {
    const own = minutes.map((at): Stretches => {
      const leaf = counts(at) ? leaves.counterAt(series, at) : undefined;
      return leaf ? { through: leaf } : noStretch;
    });
    const merged = own.reduce(mergeStretches);
    if (merged !== noStretch) parts.set(partKey(series, kind), merged);
  };
  for (const series of source.planned) add(series, "planned", isPlanned);
  const { bandAt } = source;
  if (bandAt)
    for (const series of source.banded)
      for (const band of new Set(minutes.map(bandAt))) add(series, band, (at) => bandAt(at) === band);
  return parts;
}

/** Which planned minutes count; in minutes in which it gives no state, a machine is one without. */
function observeStates(
  plan: MachinePlan,
  { states, channels }: RollupSource,
  planned: readonly number[],
  leaves: MinuteLeaves,
): ReturnType<typeof observe> {
  const hasState = (at: number) => states.some((id) => seriesAt(channels, id, at) !== undefined);
  const statesAt = (at: number) => states.flatMap((series) => leaves.stateAt(series, at) ?? []);
  const { minutes, state } = observe(plan, planned.filter(hasState), statesAt);
  const others = planned.filter((at) => !hasState(at));
  return { minutes: others.length === 0 ? minutes : new Set([...minutes, ...others]), state };
}

/**
 * Rolls up the minutes of [fromMs, toMs), which lie in one hour. Pure: equal leaves give equal digits.
 * @param nowMs minutes that begin later are not in, whatever a source whose clock is fast says of them; what says something of ended
 * minutes alone, states, plan and online time, counts those that have ended by then
 */
export function rollUp(
  source: RollupSource,
  leaves: MinuteLeaves,
  fromMs: number,
  toMs: number,
  nowMs: number,
): OpenRollup {
  const minutes = minutesOf(fromMs, toMs, nowMs);
  const counters = new Map<number, CounterLeaf>();
  for (const series of source.counters) {
    const leaf = mergedAt(leaves, series, minutes);
    if (leaf) counters.set(series, leaf);
  }
  const gauges = new Map<number, GaugeSum>();
  for (const series of source.gauges) {
    const own = minutes.flatMap((at) => leaves.counterAt(series, at) ?? []);
    if (own.length > 0) gauges.set(series, own.map(gaugeOf).reduce(addGauges));
  }
  const { plan } = source;
  const asked = plan ? plannedMinutes(plan, fromMs, toMs, nowMs) : [];
  const observed = plan && observeStates(plan, source, asked, leaves);
  return {
    counters,
    gauges,
    parts: partsIn(source, leaves, minutes, (at) => observed?.minutes.has(at) === true),
    onlineMs: minutes.reduce((ms, at) => ms + (at + minuteMs <= nowMs ? leaves.onlineAt(source.key, at) : 0), 0),
    state: observed?.state ?? noState,
    ...demandIn(source, leaves, fromMs, toMs, nowMs),
  };
}

function union<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>, none: V, merge: (a: V, b: V) => V): Map<K, V> {
  const merged = new Map<K, V>();
  for (const [key, own] of a) merged.set(key, merge(own, b.get(key) ?? none));
  for (const [key, own] of b) if (!a.has(key)) merged.set(key, merge(none, own));
  return merged;
}

function mergeRest(a: Omit<Rollup, "parts">, b: Omit<Rollup, "parts">): Omit<Rollup, "parts"> {
  return {
    counters: union(a.counters, b.counters, emptyLeaf, mergeLeaves),
    gauges: union(a.gauges, b.gauges, noGauge, addGauges),
    onlineMs: a.onlineMs + b.onlineMs,
    state: addStates(a.state, b.state),
    demand: greaterDemand(a.demand, b.demand),
    untold: a.untold || b.untold,
  };
}

/** Merges two neighbouring stretches of one hour, earlier first. Associative. */
export function mergeOpen(a: OpenRollup, b: OpenRollup): OpenRollup {
  return { ...mergeRest(a, b), parts: union(a.parts, b.parts, noStretch, mergeStretches) };
}

/** Ends a rollup: what goes on beyond its edges is an estimate there (test-machine-sums.ts, `quantityOfMinutes`). */
export function closeRollup(open: OpenRollup): Rollup {
  if (open.parts.size === 0) return { ...open, parts: emptyRollup.parts };
  return { ...open, parts: new Map([...open.parts].map(([key, own]) => [key, closeStretches(own)])) };
}

/** Merges two neighbouring periods that end with an hour, or with what is asked for; earlier first. Associative. */
export function mergeRollups(a: Rollup, b: Rollup): Rollup {
  return { ...mergeRest(a, b), parts: union(a.parts, b.parts, noQuantity, addQuantities) };
}

/** Adds time online that no ended minute has: of the minute that runs, until now. */
export function addOnline(rollup: Rollup, onlineMs: number): Rollup {
  return onlineMs === 0 ? rollup : { ...rollup, onlineMs: rollup.onlineMs + onlineMs };
}

const leafFields = ["amount", "left", "right", "inGap", "coveredMs", "gapMs", "samples", "resets"] as const;
type Packed = (string | number | boolean)[];

function packLeaf(leaf: CounterLeaf): Packed {
  return leafFields.map((field) => (typeof leaf[field] === "bigint" ? String(leaf[field]) : leaf[field]));
}

function unpackLeaf(packed: Packed): CounterLeaf {
  const [amount, left, right, inGap, coveredMs, gapMs, samples, resets] = packed;
  return {
    amount: BigInt(amount as string),
    left: BigInt(left as string),
    right: BigInt(right as string),
    inGap: inGap === true,
    coveredMs: coveredMs as number,
    gapMs: gapMs as number,
    samples: samples as number,
    resets: resets as number,
  };
}

/** A rollup as text: v 1, c counters, g gauges, p parts, o online, t state, d demand. */
type Text = {
  v: 1;
  s: string;
  c?: [number, Packed][];
  g?: [number, Packed][];
  p?: [string, Packed][];
  o?: number;
  t?: [number, number, number, number];
  d?: [string, number, string, boolean];
  u?: boolean;
};

/** A rollup as text, with the signature of its source. */
export function encodeRollup(signature: string, rollup: Rollup): string {
  const { counters, gauges, parts, onlineMs, state, demand, untold } = rollup;
  const text: Text = { v: 1, s: signature };
  if (counters.size > 0) text.c = [...counters].map(([id, leaf]) => [id, packLeaf(leaf)]);
  if (gauges.size > 0) text.g = [...gauges].map(([id, own]) => [id, packLeaf(storedGauge(own))]);
  if (parts.size > 0)
    text.p = [...parts].map(([key, { amount, estimated, coveredMs, told, partial }]) => [
      key,
      [String(amount), String(estimated), coveredMs, told, partial],
    ]);
  if (onlineMs > 0) text.o = onlineMs;
  if (state.observedMs > 0) text.t = [state.observedMs, state.knownMs, state.runningMs, state.setupMs];
  if (demand) text.d = [String(demand.amount), demand.startMs, String(demand.estimated), demand.partial];
  if (untold) text.u = true;
  return JSON.stringify(text);
}

/** The rollup of a text; undefined when it was made of another source, or was withdrawn (an empty text). */
export function decodeRollup(text: string, signature: string): Rollup | undefined {
  if (!text.startsWith(`{"v":1,"s":${JSON.stringify(signature)}`)) return undefined;
  const { c = [], g = [], p = [], o = 0, t, d, u = false } = JSON.parse(text) as Text;
  return {
    counters: new Map(c.map(([id, packed]) => [id, unpackLeaf(packed)])),
    gauges: new Map(g.map(([id, packed]) => [id, gaugeOf(unpackLeaf(packed))])),
    parts: new Map(
      p.map(([key, [amount, estimated, coveredMs, told, partial]]): [string, Quantity] => [
        key,
        {
          amount: BigInt(amount as string),
          estimated: BigInt(estimated as string),
          coveredMs: coveredMs as number,
          told: told === true,
          partial: partial === true,
        },
      ]),
    ),
    onlineMs: o,
    state: t ? { observedMs: t[0], knownMs: t[1], runningMs: t[2], setupMs: t[3] } : noState,
    demand: d && { amount: BigInt(d[0]), startMs: d[1], estimated: BigInt(d[2]), partial: d[3] },
    untold: u,
  };
}
