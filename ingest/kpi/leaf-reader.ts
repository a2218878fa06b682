import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type CounterLeaf, emptyLeaf, mergeLeaves } from "@jilian/domain/leaf.ts";
import {
  addQuantities,
  type MachinePlan,
  noQuantity,
  observe,
  plannedMinutes,
  type Quantity,
  quantityOfMinutes,
} from "@jilian/domain/machine-sums.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { addStates, noState, type StateLeaf, type StateSum } from "@jilian/domain/state-leaf.ts";
import type { SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { runsOf, steps } from "./runs.ts";

/** Leaves by minute, and in it by series or device. */
export type MinuteTable<K, V> = Map<number, Map<K, V>>;

/** Leaves that are not written yet: those of open minutes. They stand before what is written. */
export type OpenLeaves = {
  readonly counters: MinuteTable<SeriesId, CounterLeaf>;
  readonly online: MinuteTable<string, number>;
};

/** A machine whose planned time is asked for. */
export type PlannedMachine = {
  /** `factory/gateway/device`. */
  readonly key: string;
  readonly plan: MachinePlan;
  /** Its counters of which the part in observed planned minutes is asked for. */
  readonly counters: readonly SeriesId[];
  /** Its state series. */
  readonly states: readonly SeriesId[];
};

/** What to read: counter series, and of machines what falls inside planned time (of whole hours alone, in minutes that have ended). */
export type Wanted = { readonly counters: readonly SeriesId[]; readonly machines: readonly PlannedMachine[] };

/**
 * What is known of a period: merged counter leaves, milliseconds online by device key, and of the planned machines what their counters and,
 * by device key, their states say in observed planned minutes; what is absent is not known.
 */
export type PeriodLeaves = {
  readonly counters: ReadonlyMap<SeriesId, CounterLeaf>;
  readonly online: ReadonlyMap<string, number>;
  readonly planned: ReadonlyMap<SeriesId, Quantity>;
  readonly states: ReadonlyMap<string, StateSum>;
};

/** The reading side of the leaves. */
export type LeafReader = {
  /** The leaves of each period of a length (a minute or whole hours) in [fromMs, toMs), in order. */
  readonly read: (
    wanted: Wanted,
    fromMs: number,
    toMs: number,
    lengthMs: number,
    nowMs: number,
  ) => Promise<{ startMs: number; leaves: PeriodLeaves }[]>;
  /** Drops what is cached of a minute whose leaves may differ now. */
  readonly forget: (minute: number) => void;
};

/** Hours whose sums are kept: a day's figures are refreshed every few seconds, of which only the last hour has changed. */
const cachedHours = 80;
/** Hours of minutes that are held at once. */
const hoursTogether = 4;

export function put<K, V>(table: MinuteTable<K, V>, minute: number, key: K, value: V): void {
  getOrMake(table, minute, () => new Map<K, V>()).set(key, value);
}

function overlay<K, V>(table: MinuteTable<K, V>, over: MinuteTable<K, V>, fromMs: number, toMs: number): void {
  for (const [minute, row] of over) {
    if (minute < fromMs || minute >= toMs) continue;
    for (const [key, value] of row) put(table, minute, key, value);
  }
}

function addOnline(parts: readonly Pick<PeriodLeaves, "online">[]): Map<string, number> {
  const online = new Map<string, number>();
  for (const part of parts) for (const [key, ms] of part.online) online.set(key, (online.get(key) ?? 0) + ms);
  return online;
}

/** The leaves of one minute. */
type Minute = {
  readonly startMs: number;
  readonly counters: ReadonlyMap<SeriesId, CounterLeaf>;
  readonly online: ReadonlyMap<string, number>;
  readonly states: ReadonlyMap<SeriesId, StateLeaf>;
};

function mergeCounters(
  series: readonly SeriesId[],
  parts: readonly Pick<PeriodLeaves, "counters">[],
): Map<SeriesId, CounterLeaf> {
  return new Map(
    series.map((id) => [id, parts.map((part) => part.counters.get(id) ?? emptyLeaf).reduce(mergeLeaves)] as const),
  );
}

/** An hour of its minutes, which are all there, in order. */
function hourOf(wanted: Wanted, minutes: readonly Minute[], startMs: number, nowMs: number): PeriodLeaves {
  const planned = new Map<SeriesId, Quantity>();
  const states = new Map<string, StateSum>();
  const byStart = new Map(minutes.map((minute) => [minute.startMs, minute]));
  for (const { key, plan, counters, states: own } of wanted.machines) {
    const asked = plannedMinutes(plan, startMs, startMs + hourMs, nowMs);
    const statesAt = (at: number) => own.flatMap((id) => byStart.get(at)?.states.get(id) ?? []);
    const { minutes: observed, state } = observe(plan, asked, own.length === 0 ? undefined : statesAt);
    states.set(key, state);
    const inside = minutes.filter((minute) => observed.has(minute.startMs));
    for (const id of counters) {
      const leaves = inside.flatMap(({ startMs: at, counters: row }) => {
        const leaf = row.get(id);
        return leaf ? [{ minuteMs: at, leaf }] : [];
      });
      planned.set(
        id,
        quantityOfMinutes(leaves, () => true),
      );
    }
  }
  return { counters: mergeCounters(wanted.counters, minutes), online: addOnline(minutes), planned, states };
}

/** Several hours of theirs. */
function mergeHours({ counters, machines }: Wanted, hours: readonly PeriodLeaves[]): PeriodLeaves {
  const planned = new Map<SeriesId, Quantity>();
  const states = new Map<string, StateSum>();
  for (const { key, counters: own } of machines) {
    for (const id of own)
      planned.set(
        id,
        hours.reduce((sum, hour) => addQuantities(sum, hour.planned.get(id) ?? noQuantity), noQuantity),
      );
    states.set(
      key,
      hours.reduce((sum, hour) => addStates(sum, hour.states.get(key) ?? noState), noState),
    );
  }
  return { counters: mergeCounters(counters, hours), online: addOnline(hours), planned, states };
}

const none = new Map<never, never>();

export function leafReader(telemetry: Telemetry, open: OpenLeaves): LeafReader {
  const hours = new Map<number, PeriodLeaves>();
  /** What the cached hours are of. */
  let cached: Wanted | undefined;

  async function readMinutes(wanted: Wanted, fromMs: number, toMs: number): Promise<Minute[]> {
    const stateSeries = wanted.machines.flatMap((machine) => machine.states);
    const [leaves, connections, found] = await Promise.all([
      telemetry.readLeaves(wanted.counters, fromMs, toMs),
      telemetry.readConnections([], fromMs, toMs),
      stateSeries.length > 0 ? telemetry.readStates(stateSeries, fromMs, toMs) : [],
    ]);
    const counters: MinuteTable<SeriesId, CounterLeaf> = new Map();
    const online: MinuteTable<string, number> = new Map();
    const states: MinuteTable<SeriesId, StateLeaf> = new Map();
    for (const { series: id, minuteMs: minute, leaf } of leaves) put(counters, minute, id, leaf);
    for (const { device, minuteMs: minute, onlineMs } of connections) put(online, minute, device, onlineMs);
    for (const { series: id, minuteMs: minute, leaf } of found) put(states, minute, id, leaf);
    overlay(counters, open.counters, fromMs, toMs);
    overlay(online, open.online, fromMs, toMs);
    return [...steps(fromMs, toMs, minuteMs)].map((startMs) => ({
      startMs,
      counters: counters.get(startMs) ?? none,
      online: online.get(startMs) ?? none,
      states: states.get(startMs) ?? none,
    }));
  }

  /** Reads hours that are not cached, neighbours together. */
  async function load(wanted: Wanted, fromMs: number, toMs: number, nowMs: number): Promise<void> {
    const missing = [...steps(fromMs, toMs, hourMs)].filter((at) => !hours.has(at));
    for (const run of runsOf(missing, hourMs, { most: hoursTogether })) {
      const found = await readMinutes(wanted, run.fromMs, run.toMs);
      for (const at of run.starts) {
        const own = found.filter(({ startMs }) => startMs >= at && startMs < at + hourMs);
        hours.set(at, hourOf(wanted, own, at, nowMs));
      }
    }
  }

  /** Keeps the newest read hours. */
  function trim(): void {
    for (const at of hours.keys()) {
      if (hours.size <= cachedHours) return;
      hours.delete(at);
    }
  }

  return {
    read: async (wanted, fromMs, toMs, lengthMs, nowMs) => {
      if (lengthMs < hourMs) {
        const minutes = await readMinutes(wanted, fromMs, toMs);
        return minutes.map(({ startMs, counters, online }) => ({
          startMs,
          leaves: { counters, online, planned: none, states: none },
        }));
      }
      if (wanted !== cached) hours.clear();
      cached = wanted;
      const found: { startMs: number; leaves: PeriodLeaves }[] = [];
      for (const startMs of steps(fromMs, toMs, lengthMs)) {
        // Hours that follow each other are read together; a day reads its own.
        const untilMs = Math.min(toMs, startMs + Math.max(lengthMs, hoursTogether * hourMs));
        await load(wanted, startMs, untilMs, nowMs);
        const parts = [...steps(startMs, startMs + lengthMs, hourMs)].map((at) => hours.get(at) as PeriodLeaves);
        found.push({ startMs, leaves: parts.length === 1 ? (parts[0] as PeriodLeaves) : mergeHours(wanted, parts) });
        trim();
      }
      return found;
    },
    forget: (minute) => hours.delete(Math.floor(minute / hourMs) * hourMs),
  };
}
