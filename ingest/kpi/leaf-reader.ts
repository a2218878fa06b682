import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type CounterLeaf, emptyLeaf, mergeLeaves } from "@jilian/domain/leaf.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { runsOf, steps } from "./runs.ts";

/** Leaves by minute, and in it by series or device. */
export type MinuteTable<K, V> = Map<number, Map<K, V>>;

/** Leaves that are not written yet: those of open minutes. They stand before what is written. */
export type OpenLeaves = {
  readonly counters: MinuteTable<SeriesId, CounterLeaf>;
  readonly online: MinuteTable<string, number>;
};

/** What is known of a period: merged counter leaves and milliseconds online by device key; what is absent is not known. */
export type PeriodLeaves = {
  readonly counters: ReadonlyMap<SeriesId, CounterLeaf>;
  readonly online: ReadonlyMap<string, number>;
};

/** The reading side of the leaves. */
export type LeafReader = {
  /** The leaves of each period of a length (a minute or whole hours) in [fromMs, toMs), in order. */
  readonly read: (
    series: readonly SeriesId[],
    fromMs: number,
    toMs: number,
    lengthMs: number,
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

/** Merges minutes, or hours, in order. */
function merge(series: readonly SeriesId[], parts: readonly (PeriodLeaves | undefined)[]): PeriodLeaves {
  const counters = new Map<SeriesId, CounterLeaf>();
  for (const id of series) {
    const leaves = parts.map((part) => part?.counters.get(id) ?? emptyLeaf);
    counters.set(id, leaves.reduce(mergeLeaves));
  }
  const online = new Map<string, number>();
  for (const part of parts) for (const [key, ms] of part?.online ?? []) online.set(key, (online.get(key) ?? 0) + ms);
  return { counters, online };
}

export function leafReader(telemetry: Telemetry, open: OpenLeaves): LeafReader {
  const hours = new Map<number, PeriodLeaves>();

  async function minutes(series: readonly SeriesId[], fromMs: number, toMs: number) {
    const [leaves, connections] = await Promise.all([
      telemetry.readLeaves(series, fromMs, toMs),
      telemetry.readConnections([], fromMs, toMs),
    ]);
    const counters: MinuteTable<SeriesId, CounterLeaf> = new Map();
    const online: MinuteTable<string, number> = new Map();
    for (const { series: id, minuteMs: minute, leaf } of leaves) put(counters, minute, id, leaf);
    for (const { device, minuteMs: minute, onlineMs } of connections) put(online, minute, device, onlineMs);
    overlay(counters, open.counters, fromMs, toMs);
    overlay(online, open.online, fromMs, toMs);
    return [...steps(fromMs, toMs, minuteMs)].map((startMs) => ({
      startMs,
      leaves: { counters: counters.get(startMs) ?? new Map(), online: online.get(startMs) ?? new Map() },
    }));
  }

  /** Reads hours that are not cached, neighbours together. */
  async function load(series: readonly SeriesId[], fromMs: number, toMs: number): Promise<void> {
    const missing = [...steps(fromMs, toMs, hourMs)].filter((at) => {
      const known = hours.get(at);
      return !known || series.some((id) => !known.counters.has(id));
    });
    for (const run of runsOf(missing, hourMs, { most: hoursTogether })) {
      const found = await minutes(series, run.fromMs, run.toMs);
      for (const at of run.starts) {
        const own = found.filter(({ startMs }) => startMs >= at && startMs < at + hourMs);
        const parts = own.map(({ leaves }) => leaves);
        hours.set(at, merge(series, parts));
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
    read: async (series, fromMs, toMs, lengthMs) => {
      if (lengthMs < hourMs) return await minutes(series, fromMs, toMs);
      const found: { startMs: number; leaves: PeriodLeaves }[] = [];
      for (const startMs of steps(fromMs, toMs, lengthMs)) {
        // Hours that follow each other are read together; a day reads its own.
        await load(series, startMs, Math.min(toMs, startMs + Math.max(lengthMs, hoursTogether * hourMs)));
        const parts = [...steps(startMs, startMs + lengthMs, hourMs)].map((at) => hours.get(at) as PeriodLeaves);
        found.push({ startMs, leaves: parts.length === 1 ? (parts[0] as PeriodLeaves) : merge(series, parts) });
        trim();
      }
      return found;
    },
    forget: (minute) => hours.delete(Math.floor(minute / hourMs) * hourMs),
  };
}
