import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { CounterLeaf } from "@jilian/domain/leaf.ts";
import { hourMs, periodStart, quarterHourMs } from "@jilian/domain/periods.ts";
import { type Channels, type MinuteLeaves, type RollupSource, seriesAt } from "@jilian/domain/rollup.ts";
import type { StateLeaf } from "@jilian/domain/state-leaf.ts";
import type { SeriesId, Telemetry } from "./telemetry.ts";

/** Leaves by minute, and in it by series or device. */
export type MinuteTable<K, V> = Map<number, Map<K, V>>;

/** Leaves that are not written yet: those of open minutes. They stand before what is written. */
export type OpenLeaves = {
  readonly counters: MinuteTable<SeriesId, CounterLeaf>;
  readonly online: MinuteTable<string, number>;
  /** Time that a device was online in the minute that runs, until the time of the figures. */
  readonly onlineNow: (device: string) => number;
};

type Reads = Pick<Telemetry, "readLeaves" | "readStates" | "readConnections">;

/** What leaves some sources need: numbers of series, of states, and device keys. */
type Needs = {
  readonly series: Set<SeriesId>;
  readonly states: Set<SeriesId>;
  readonly devices: Set<string>;
};

/** Written leaves of a stretch of time. */
type Tables = {
  readonly counters: MinuteTable<SeriesId, CounterLeaf>;
  readonly online: MinuteTable<string, number>;
  readonly states: MinuteTable<SeriesId, StateLeaf>;
};

const noTables = (): Tables => ({ counters: new Map(), online: new Map(), states: new Map() });

/** Channels of the sources: what births have changed is several series under one number. */
const channelsOf = (sources: readonly RollupSource[]): Channels =>
  new Map(sources.flatMap((source) => [...(source.channels ?? [])]));

function needsOf(sources: readonly RollupSource[], channels = channelsOf(sources)): Needs {
  const seriesOf = (id: SeriesId) => channels.get(id)?.map(({ series }) => series) ?? [id];
  const numbers = sources.flatMap((s) => [...s.counters, ...s.gauges, ...s.demand.filter((id) => id !== undefined)]);
  return {
    series: new Set(numbers.flatMap(seriesOf)),
    states: new Set(sources.flatMap(({ states }) => states).flatMap(seriesOf)),
    devices: new Set(sources.filter(({ key }) => key.includes("/")).map(({ key }) => key)),
  };
}

async function readTables(
  telemetry: Reads,
  { series, states: stateIds, devices }: Needs,
  fromMs: number,
  toMs: number,
): Promise<Tables> {
  const [leaves, connections, states] = await Promise.all([
    series.size > 0 ? telemetry.readLeaves([...series], fromMs, toMs) : [],
    // All of them are one scan; many names in a question are slower than rows that nobody asked for.
    devices.size > 0 ? telemetry.readConnections(devices.size > 500 ? [] : [...devices], fromMs, toMs) : [],
    stateIds.size > 0 ? telemetry.readStates([...stateIds], fromMs, toMs) : [],
  ]);
  const found = noTables();
  const row = <K, V>(table: MinuteTable<K, V>, minute: number) => getOrMake(table, minute, () => new Map<K, V>());
  for (const { series: id, minuteMs: at, leaf } of leaves) row(found.counters, at).set(id, leaf);
  for (const { device, minuteMs: at, onlineMs } of connections) row(found.online, at).set(device, onlineMs);
  for (const { series: id, minuteMs: at, leaf } of states) row(found.states, at).set(id, leaf);
  return found;
}

/** Leaves by the numbers that sources have for them: those of series, and of channels. What is not written yet stands before what is. */
function leavesOf(found: Tables, open: OpenLeaves | undefined, channels: Channels): MinuteLeaves {
  const counterAt = (series: SeriesId, at: number) =>
    open?.counters.get(at)?.get(series) ?? found.counters.get(at)?.get(series);
  const stateAt = (series: SeriesId, at: number) => found.states.get(at)?.get(series);
  /** Of a channel, the leaf of the series that it is in the minute. */
  const inChannels = <L>(leafAt: (series: SeriesId, at: number) => L | undefined): typeof leafAt =>
    channels.size === 0
      ? leafAt
      : (id, at) => {
          const series = seriesAt(channels, id, at);
          return series === undefined ? undefined : leafAt(series, at);
        };
  return {
    counterAt: inChannels(counterAt),
    onlineAt: (device, at) => open?.online.get(at)?.get(device) ?? found.online.get(at)?.get(device) ?? 0,
    stateAt: inChannels(stateAt),
  };
}

/**
 * Leaves that are kept at most, with the names of whose they are, some 80 MB, or an hour and a half of the largest quarter hour: of hundreds
 * of factories that is more. And quarter hours of which some are kept.
 */
const leavesKept = 400_000;
const quartersOfLargest = 6;
const quartersKept = 192;

/** Leaves of an ended quarter hour: those of the series and devices that it names, as they are stored. */
type KeptQuarter = Needs & { readonly tables: Tables; leaves: number };

const noNeeds = (): Needs => ({ series: new Set(), states: new Set(), devices: new Set() });
const parts = ["series", "states", "devices"] as const;

function addNeeds(to: Needs, more: Needs): void {
  for (const id of more.series) to.series.add(id);
  for (const id of more.states) to.states.add(id);
  for (const key of more.devices) to.devices.add(key);
}

const lacking = (needs: Needs, known: Needs): Needs => ({
  series: needs.series.difference(known.series),
  states: needs.states.difference(known.states),
  devices: needs.devices.difference(known.devices),
});

const countOf = (needs: Needs): number => parts.reduce((sum, part) => sum + needs[part].size, 0);

function quartersIn(fromMs: number, toMs: number): number[] {
  const starts: number[] = [];
  for (let at = periodStart("quarter_hour", fromMs); at < toMs; at += quarterHourMs) starts.push(at);
  return starts;
}

/** Quarter hours that follow each other, as runs [fromMs, toMs). */
function runsOf(quarters: readonly number[]): { fromMs: number; toMs: number }[] {
  const runs: { fromMs: number; toMs: number }[] = [];
  for (const at of quarters) {
    const last = runs.at(-1);
    if (last?.toMs === at) last.toMs = at + quarterHourMs;
    else runs.push({ fromMs: at, toMs: at + quarterHourMs });
  }
  return runs;
}

/** Adds the minutes of [fromMs, toMs) of some tables to others. @returns how many leaves are new there */
function addTables(to: Tables, from: Tables, fromMs: number, toMs: number): number {
  let added = 0;
  const add = <K, V>(table: MinuteTable<K, V>, more: MinuteTable<K, V>) => {
    for (const [at, own] of more) {
      if (at < fromMs || at >= toMs) continue;
      const row = getOrMake(table, at, () => new Map<K, V>());
      const before = row.size;
      for (const [key, leaf] of own) row.set(key, leaf);
      added += row.size - before;
    }
  };
  add(to.counters, from.counters);
  add(to.online, from.online);
  add(to.states, from.states);
  return added;
}

/**
 * Leaves of ended quarter hours in memory: late data asks for each minute, quarter hour and hour that it touches, with the leaves of all
 * that did not change. What is touched is forgotten, and read again by itself.
 */
function keptQuarters(telemetry: Reads) {
  const kept = new Map<number, KeptQuarter>();
  /** What sources of a key ever needed: no more than there are series. */
  const byKey = new Map<string, Needs>();
  const noted = new WeakSet<RollupSource>();

  function trim(): void {
    const sizeOf = (quarter: KeptQuarter) => quarter.leaves + countOf(quarter);
    let [size, largest] = [0, 0];
    for (const quarter of kept.values()) {
      size += sizeOf(quarter);
      largest = Math.max(largest, sizeOf(quarter));
    }
    const most = Math.max(leavesKept, largest * quartersOfLargest);
    for (const [at, quarter] of kept) {
      if (size <= most && kept.size <= quartersKept) return;
      size -= sizeOf(quarter);
      kept.delete(at);
    }
  }

  async function fill(quarters: readonly number[], needs: Needs): Promise<void> {
    for (const { fromMs, toMs } of runsOf(quarters)) {
      const tables = await readTables(telemetry, needs, fromMs, toMs);
      for (const at of quartersIn(fromMs, toMs)) {
        const own = getOrMake(kept, at, () => ({ ...noNeeds(), tables: noTables(), leaves: 0 }));
        own.leaves += addTables(own.tables, tables, at, at + quarterHourMs);
        addNeeds(own, needs);
      }
    }
  }

  return {
    has: (quarter: number) => kept.has(quarter),
    /** Notes whose leaves a source needs: they are forgotten with it. */
    note: (sources: readonly RollupSource[]) => {
      for (const source of sources) {
        if (!noted.has(source)) addNeeds(getOrMake(byKey, source.key, noNeeds), needsOf([source]));
        noted.add(source);
      }
    },
    /** The leaves of some quarter hours in their order; those that are not kept are read, all that follow each other by one question. */
    read: async (quarters: readonly number[], needs: Needs): Promise<Tables> => {
      const wanting = (at: number) => lacking(needs, kept.get(at) ?? noNeeds());
      const isNew = (at: number) => !kept.has(at);
      await fill(quarters.filter(isNew), needs);
      const left = noNeeds();
      const partly = quarters.filter((at) => {
        const missing = wanting(at);
        addNeeds(left, missing);
        return countOf(missing) > 0;
      });
      await fill(partly, left);
      const tables = noTables();
      for (const at of quarters) {
        const own = kept.get(at) as KeptQuarter;
        // The youngest are kept longest.
        kept.delete(at);
        kept.set(at, own);
        for (const [minute, row] of own.tables.counters) tables.counters.set(minute, row);
        for (const [minute, row] of own.tables.online) tables.online.set(minute, row);
        for (const [minute, row] of own.tables.states) tables.states.set(minute, row);
      }
      trim();
      return tables;
    },
    touch: (key: string, minute: number) => {
      const own = kept.get(periodStart("quarter_hour", minute));
      const needs = byKey.get(key);
      if (!own || !needs) return;
      for (const id of needs.series) own.series.delete(id);
      for (const id of needs.states) own.states.delete(id);
      for (const device of needs.devices) own.devices.delete(device);
    },
  };
}

/** Reads leaves of minutes. */
export type MinuteReader = {
  /**
   * The leaves of some sources in [fromMs, toMs). @param nowMs what has ended by then may be kept
   * @param soon sources that are asked for next, of the same time: where leaves are kept, theirs are read too
   */
  readonly read: (
    sources: readonly RollupSource[],
    fromMs: number,
    toMs: number,
    nowMs: number,
    soon?: () => readonly RollupSource[],
  ) => Promise<MinuteLeaves>;
  /** Forgets what is kept of a subject's quarter hour with this minute, whose leaves may differ now. */
  readonly touch: (key: string, minute: number) => void;
};

/** @param keeps whether leaves are kept: only where every change of one is told by `touch` */
export function minuteReader(
  { telemetry, open }: { telemetry: Reads; open?: OpenLeaves },
  keeps: boolean,
): MinuteReader {
  const kept = keptQuarters(telemetry);

  /** The quarter hours of a stretch, where its leaves may be kept: all have ended, and they are few, or known. */
  function keepable(fromMs: number, toMs: number, nowMs: number): number[] | undefined {
    const quarters = quartersIn(fromMs, toMs);
    const hasEnded = (quarters.at(-1) ?? nowMs) + quarterHourMs <= nowMs;
    return keeps && hasEnded && (toMs - fromMs <= hourMs || quarters.every(kept.has)) ? quarters : undefined;
  }

  return {
    read: async (sources, fromMs, toMs, nowMs, soon = () => []) => {
      const channels = channelsOf(sources);
      const needs = needsOf(sources, channels);
      const asked = async () => leavesOf(await readTables(telemetry, needs, fromMs, toMs), open, channels);
      const quarters = keepable(fromMs, toMs, nowMs);
      if (!quarters) return await asked();
      const more = soon();
      const all = noNeeds();
      for (const some of [needs, needsOf(more)]) addNeeds(all, some);
      kept.note([...sources, ...more]);
      return leavesOf(await kept.read(quarters, all), open, channels);
    },
    touch: kept.touch,
  };
}
