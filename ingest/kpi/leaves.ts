import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { CounterLeaf } from "@jilian/domain/leaf.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import type { ChangedMinute, ConnectionRow, LeafRow, Series, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { foldConnections, foldCounters } from "./fold.ts";
import { type LeafReader, leafReader, type MinuteTable, put } from "./leaf-reader.ts";
import { runsOf } from "./runs.ts";
import type { SeriesIndex } from "./series-index.ts";

/**
 * Keeps the leaves: folds what changed, writes the leaves of ended minutes, holds those of open minutes in memory. What it holds can be
 * lost at any time: `safeTx` says from which transaction on it has to be folded again.
 */
export type LeafKeeper = {
  /** Folds changed minutes; returns the starts of the minutes whose leaves may differ now. */
  readonly fold: (changed: readonly ChangedMinute[], upToTx: number, nowMs: number) => Promise<Set<number>>;
  /** Writes the leaves of minutes that have ended. */
  readonly flush: (nowMs: number) => Promise<void>;
  /** Everything up to this transaction is in written leaves. */
  readonly safeTx: () => number;
  readonly read: LeafReader["read"];
};

/** Leaves that are written together at most, but for those of one gap. */
const leavesAtOnce = 20_000;

/** Leaves of minutes later than this are written at once: a source whose clock runs ahead must not hold up `safeTx`. */
const openAheadMs = 10 * minuteMs;

function sameLeaf(a: CounterLeaf | undefined, b: CounterLeaf): boolean {
  return (
    a !== undefined &&
    a.amount === b.amount &&
    a.left === b.left &&
    a.right === b.right &&
    a.inGap === b.inGap &&
    a.coveredMs === b.coveredMs &&
    a.gapMs === b.gapMs &&
    a.samples === b.samples &&
    a.resets === b.resets
  );
}

/** Rows that wait for being written together. */
function pending(write: (leaves: readonly LeafRow[], connections: readonly ConnectionRow[]) => Promise<void>) {
  const leaves: LeafRow[] = [];
  const connections: ConnectionRow[] = [];
  return {
    leaves,
    connections,
    /** Writes them when there are at least so many. */
    written: async (atLeast: number) => {
      if (leaves.length + connections.length >= atLeast) await write(leaves.splice(0), connections.splice(0));
    },
  };
}

/** @param onReset told once for each series in which increases have come up that cannot be told */
export function leafKeeper(
  telemetry: Telemetry,
  index: SeriesIndex,
  fromTx: number,
  onReset: (series: Series) => void,
): LeafKeeper {
  const counters: MinuteTable<SeriesId, CounterLeaf> = new Map();
  const online: MinuteTable<string, number> = new Map();
  /** Open minute -> last transaction before the first that touched it. */
  const openSince = new Map<number, number>();
  const reader = leafReader(telemetry, { counters, online });
  let foldedTx = fromTx;

  /** Writes those leaves that differ from what is written. */
  async function write(leaves: readonly LeafRow[], connections: readonly ConnectionRow[]): Promise<void> {
    const stored: MinuteTable<SeriesId, CounterLeaf> = new Map();
    const ids = [...new Set(leaves.map((l) => l.series))];
    for (const run of runsOf(
      leaves.map((l) => l.minuteMs),
      minuteMs,
      { holes: 15 },
    ))
      for (const row of await telemetry.readLeaves(ids, run.fromMs, run.toMs))
        put(stored, row.minuteMs, row.series, row.leaf);
    const before = ({ minuteMs: minute, series }: LeafRow) => stored.get(minute)?.get(series);
    const fresh = leaves.filter((row) => !sameLeaf(before(row), row.leaf));
    if (fresh.length > 0 || connections.length > 0) await telemetry.writeLeaves(fresh, connections);
    const told = new Set<SeriesId>();
    for (const row of fresh) {
      const series = index.seriesOf(row.series);
      if (!series || told.has(row.series) || row.leaf.resets <= (before(row)?.resets ?? 0)) continue;
      told.add(row.series);
      onReset(series);
    }
  }

  async function fold(changed: readonly ChangedMinute[], upToTx: number, nowMs: number): Promise<Set<number>> {
    const touched = new Set<number>();
    /** Notes a minute; true when it is open, and the leaf therefore kept here. */
    function holds(minute: number): boolean {
      touched.add(minute);
      reader.forget(minute);
      const open = minute + minuteMs > nowMs && minute < nowMs + openAheadMs;
      if (open) getOrMake(openSince, minute, () => foldedTx);
      return open;
    }
    const ended = pending(write);
    for await (const rows of foldConnections(telemetry, index, changed)) {
      for (const row of rows) {
        if (holds(row.minuteMs)) put(online, row.minuteMs, row.device, row.onlineMs);
        else ended.connections.push(row);
      }
      await ended.written(leavesAtOnce);
    }
    for await (const rows of foldCounters(telemetry, index, changed)) {
      for (const row of rows) {
        if (holds(row.minuteMs)) put(counters, row.minuteMs, row.series, row.leaf);
        else ended.leaves.push(row);
      }
      await ended.written(leavesAtOnce);
    }
    await ended.written(1);
    foldedTx = upToTx;
    return touched;
  }

  async function flush(nowMs: number): Promise<void> {
    const ended = [...openSince.keys()].filter((minute) => minute + minuteMs <= nowMs);
    const leaves = ended.flatMap((minute) =>
      [...(counters.get(minute) ?? [])].map(([series, leaf]) => ({ series, minuteMs: minute, leaf })),
    );
    const connections = ended.flatMap((minute) =>
      [...(online.get(minute) ?? [])].map(([device, onlineMs]) => ({ device, minuteMs: minute, onlineMs })),
    );
    if (ended.length > 0) await write(leaves, connections);
    for (const minute of ended) {
      counters.delete(minute);
      online.delete(minute);
      openSince.delete(minute);
    }
  }

  return { fold, flush, safeTx: () => Math.min(foldedTx, ...openSince.values()), read: reader.read };
}
