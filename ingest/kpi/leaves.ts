import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKeyOf, factoryOf } from "@jilian/domain/identity.ts";
import { type CounterLeaf, emptyLeaf } from "@jilian/domain/leaf.ts";
import { append } from "@jilian/domain/lists.ts";
import { minuteMs, periodStart } from "@jilian/domain/periods.ts";
import type { MinuteTable, OpenLeaves } from "@jilian/store/minute-leaves.ts";
import type {
  ChangedMinute,
  ConnectionRow,
  LeafRow,
  Series,
  SeriesId,
  StateRow,
  Telemetry,
  Window,
} from "@jilian/store/telemetry.ts";
import { foldConnections, foldCounters, foldOnline, foldWindows } from "./fold.ts";
import { portionsOf } from "./portions.ts";
import { daysWithResets, type ResetDay, resetDays } from "./reset-days.ts";
import { runsOf, steps } from "./runs.ts";
import type { OnlineDevice, SeriesIndex } from "./series-index.ts";
import { foldStates } from "./state.ts";

/**
 * One step of a fold. @param mostRows after so many rows of leaves, online time and states it ends, all of them written or held
 * @returns the starts of the minutes whose leaves may differ now, by factory, and whether that was the last step
 */
export type Folding = (
  nowMs: number,
  mostRows: number,
) => Promise<{ touched: Map<string, Set<number>>; isDone: boolean }>;

/**
 * Keeps the leaves: folds what changed, writes the leaves of ended minutes, holds those of open minutes in memory, and of states which
 * minutes are to be folded when they have ended. What it holds can be lost at any time: `safeTx` says from which transaction on it has to
 * be folded again.
 */
export type LeafKeeper = {
  /**
   * Folds changed minutes. @param upToTx up to which transaction they are; undefined: minutes that are folded again, of whichever
   * @returns the starts of the minutes whose leaves may differ now, by factory
   */
  readonly fold: (
    changed: readonly ChangedMinute[],
    upToTx: number | undefined,
    nowMs: number,
  ) => Promise<Map<string, Set<number>>>;
  /** The same in steps. It is to be begun anew when the index has changed. */
  readonly begin: (changed: readonly ChangedMinute[], upToTx: number | undefined) => Folding;
  /** Writes the leaves of minutes that have ended. */
  readonly flush: (nowMs: number) => Promise<void>;
  /**
   * Looks how long devices have been online in the minute that runs: a reading keeps its device online beyond now, and figures end there.
   * @param exactly false: at most so long; enough for figures of minutes, which ask whether, and asks nothing of the store
   */
  readonly look: (nowMs: number, exactly: boolean) => Promise<void>;
  /** Everything up to this transaction is in written leaves. */
  readonly safeTx: () => number;
  /** Folds all series again from the stored samples, in the ended minutes of [fromMs, toMs), whatever leaves are there. */
  readonly refold: (fromMs: number, toMs: number, nowMs: number) => Promise<void>;
  /** Leaves that are not written yet. */
  readonly open: OpenLeaves;
};

export type LeafKeeperParts = {
  telemetry: Telemetry;
  index: SeriesIndex;
  /** Transaction up to which everything is in written leaves. */
  fromTx: number;
  /**
   * Told of the days on which increases that cannot be told have come up or gone, before the leaves are written that say so.
   * @param upToTx last transaction whose readings are in
   */
  onResets: (days: readonly ResetDay[], upToTx: number, nowMs: number) => void;
  /** Told of minutes of a device whose leaves may differ now. */
  onTouched: (device: string, minute: number) => void;
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

function sameState(a: StateRow["leaf"] | undefined, b: StateRow["leaf"]): boolean {
  const codes = Object.entries(b.ms);
  return (
    a !== undefined &&
    a.samples === b.samples &&
    a.unknownMs === b.unknownMs &&
    Object.keys(a.ms).length === codes.length &&
    codes.every(([code, ms]) => a.ms[code] === ms)
  );
}

/** True for a leaf that says what an absent one says. */
const saysNothing = (leaf: CounterLeaf) => sameLeaf(emptyLeaf, leaf);

type Rows = { leaves: LeafRow[]; connections: ConnectionRow[]; states: StateRow[] };

/** Rows that wait for being written together. */
function pending(write: (rows: Rows) => Promise<void>) {
  const rows: Rows = { leaves: [], connections: [], states: [] };
  return {
    ...rows,
    /** Writes them when there are at least so many. */
    written: async (atLeast: number) => {
      const { leaves, connections, states } = rows;
      if (leaves.length + connections.length + states.length < atLeast) return;
      await write({ leaves: leaves.splice(0), connections: connections.splice(0), states: states.splice(0) });
    },
  };
}

/** The stored rows of some (series, minute), read in few queries. */
async function storedOf<R extends { series: SeriesId; minuteMs: number }>(
  rows: readonly R[],
  read: (series: SeriesId[], fromMs: number, toMs: number) => Promise<R[]>,
): Promise<(row: R) => R | undefined> {
  const stored: MinuteTable<SeriesId, R> = new Map();
  const ids = [...new Set(rows.map((row) => row.series))];
  const minutes = rows.map((row) => row.minuteMs);
  // Of one series that is sparse a batch is of weeks: few long questions, no longer for that than a day's of a batch's series.
  const most = Math.max(1440, Math.floor(leavesAtOnce / Math.max(1, ids.length)));
  for (const run of runsOf(minutes, minuteMs, { holes: 5, most }))
    for (const row of await read(ids, run.fromMs, run.toMs)) put(stored, row.minuteMs, row.series, row);
  return (row) => stored.get(row.minuteMs)?.get(row.series);
}

/** Windows of the minutes of each series. */
function windowsOf(minutes: ReadonlyMap<SeriesId, ReadonlySet<number>>): Window[] {
  return [...minutes].flatMap(([series, set]) =>
    runsOf(set, minuteMs).map(({ fromMs, toMs }) => ({ series, fromMs, toMs })),
  );
}

function put<K, V>(table: MinuteTable<K, V>, minute: number, key: K, value: V): void {
  getOrMake(table, minute, () => new Map<K, V>()).set(key, value);
}

export function leafKeeper({ telemetry, index, fromTx, onResets, onTouched }: LeafKeeperParts): LeafKeeper {
  const counters: MinuteTable<SeriesId, CounterLeaf> = new Map();
  const online: MinuteTable<string, number> = new Map();
  /** Of the minute that runs, until the last look. */
  let onlineNow = new Map<string, number>();
  /** Minutes whose states are folded when they have ended. */
  const waiting = new Map<number, Set<SeriesId>>();
  /** Open minute -> last transaction before the first that touched it. */
  const openSince = new Map<number, number>();
  let foldedTx = fromTx;

  /** Writes those leaves that differ from what is written. */
  async function write({ leaves, connections, states }: Rows, upToTx: number, nowMs: number): Promise<void> {
    const before = await storedOf(leaves, telemetry.readLeaves);
    const stateBefore = await storedOf(states, telemetry.readStates);
    const fresh = leaves.filter((row) => {
      const written = before(row)?.leaf;
      return !(written ? sameLeaf(written, row.leaf) : saysNothing(row.leaf));
    });
    const freshStates = states.filter((row) => !sameState(stateBefore(row)?.leaf, row.leaf));
    // First, since a kill in between has them differ again.
    onResets(await resetDays({ telemetry, index }, fresh, before), upToTx, nowMs);
    if (fresh.length + connections.length + freshStates.length > 0)
      await telemetry.writeLeaves(fresh, connections, freshStates);
  }

  const statesOf = (minutes: ReadonlyMap<SeriesId, ReadonlySet<number>>) =>
    foldStates(telemetry, windowsOf(minutes), index.foldsOf);

  function begin(changed: readonly ChangedMinute[], upToTx: number | undefined): Folding {
    let nowMs = 0;
    let touched = new Map<string, Set<number>>();
    const deviceOf = (id: SeriesId) => deviceKeyOf(index.seriesOf(id) as Series);
    /** Noted already, by minute: a device has several series. */
    const noted = new Map<number, Set<string>>();
    function note(minute: number, device: string): void {
      const devices = getOrMake(noted, minute, () => new Set<string>());
      if (devices.has(device)) return;
      devices.add(device);
      getOrMake(touched, factoryOf(device), () => new Set()).add(minute);
      onTouched(device, minute);
    }
    /** Notes a minute of a device; true when it is open, and the leaf therefore kept here. */
    function holds(minute: number, device: string): boolean {
      note(minute, device);
      const open = minute + minuteMs > nowMs && minute < nowMs + openAheadMs;
      if (open) getOrMake(openSince, minute, () => foldedTx);
      return open;
    }
    const ended = pending((rows) => write(rows, upToTx ?? foldedTx, nowMs));

    /** Folds a portion. Yields, again and again, how many rows that were. */
    async function* foldPortion(portion: readonly ChangedMinute[]): AsyncGenerator<number> {
      for await (const rows of foldConnections(telemetry, index, portion)) {
        for (const row of rows) {
          if (holds(row.minuteMs, row.device)) put(online, row.minuteMs, row.device, row.onlineMs);
          else ended.connections.push(row);
        }
        yield rows.length;
      }
      for await (const rows of foldCounters(telemetry, index, portion)) {
        for (const row of rows) {
          if (holds(row.minuteMs, deviceOf(row.series))) put(counters, row.minuteMs, row.series, row.leaf);
          else ended.leaves.push(row);
        }
        yield rows.length;
      }
      const due = new Map<SeriesId, Set<number>>();
      for (const { series, minuteMs: minute, lastMs } of portion) {
        const hold = index.holdOf(series);
        if (hold === undefined) continue;
        for (const at of steps(minute, lastMs + hold, minuteMs)) {
          if (holds(at, deviceOf(series))) getOrMake(waiting, at, () => new Set()).add(series);
          else getOrMake(due, series, () => new Set()).add(at);
        }
      }
      for await (const rows of statesOf(due)) {
        // In the step that writes them too: what was computed since they were found due is of the leaves before.
        for (const row of rows) note(row.minuteMs, deviceOf(row.series));
        append(ended.states, rows);
        yield rows.length;
      }
    }
    async function* foldAll(): AsyncGenerator<number> {
      for (const portion of portionsOf(changed, index.foldsOf)) yield* foldPortion(portion);
    }

    const work = foldAll();
    return async (atMs, mostRows) => {
      nowMs = atMs;
      touched = new Map();
      noted.clear();
      let isDone = false;
      for (let rows = 0; rows < mostRows && !isDone; ) {
        const { value, done } = await work.next();
        isDone = done === true;
        rows += value ?? 0;
        await ended.written(leavesAtOnce);
      }
      await ended.written(1);
      if (isDone) foldedTx = upToTx ?? foldedTx;
      return { touched, isDone };
    };
  }

  const fold: LeafKeeper["fold"] = async (changed, upToTx, nowMs) =>
    (await begin(changed, upToTx)(nowMs, Number.POSITIVE_INFINITY)).touched;

  async function flush(nowMs: number): Promise<void> {
    const ended = [...openSince.keys()].filter((minute) => minute + minuteMs <= nowMs);
    const leaves = ended.flatMap((minute) =>
      [...(counters.get(minute) ?? [])].map(([series, leaf]) => ({ series, minuteMs: minute, leaf })),
    );
    const connections = ended.flatMap((minute) =>
      [...(online.get(minute) ?? [])].map(([device, onlineMs]) => ({ device, minuteMs: minute, onlineMs })),
    );
    const due = new Map<SeriesId, Set<number>>();
    for (const minute of ended)
      for (const series of waiting.get(minute) ?? []) getOrMake(due, series, () => new Set()).add(minute);
    const states: StateRow[] = [];
    for await (const rows of statesOf(due)) append(states, rows);
    if (ended.length > 0) await write({ leaves, connections, states }, foldedTx, nowMs);
    for (const minute of ended) {
      waiting.delete(minute);
      counters.delete(minute);
      online.delete(minute);
      openSince.delete(minute);
    }
  }

  async function look(nowMs: number, exactly: boolean): Promise<void> {
    const minute = periodStart("minute", nowMs);
    const passedMs = nowMs - minute;
    onlineNow = new Map([...(online.get(minute) ?? [])].map(([device, ms]) => [device, Math.min(ms, passedMs)]));
    // Who is online in all of the minute has been so until now.
    const isOpen = ({ device }: OnlineDevice) =>
      (onlineNow.get(device) ?? 0) > 0 && online.get(minute)?.get(device) !== minuteMs;
    const asked = exactly ? index.folded().devices.filter(isOpen) : [];
    const queries = asked.map(({ queryAt }) => queryAt(minute));
    if (queries.length === 0) return;
    for (const { device, onlineMs } of await telemetry.onlineMs(queries, minute, nowMs))
      onlineNow.set(device, onlineMs);
  }

  async function refold(fromMs: number, toMs: number, nowMs: number): Promise<void> {
    const untilMs = Math.min(toMs, nowMs - (nowMs % minuteMs));
    if (untilMs <= fromMs) return;
    const { series, devices } = index.folded();
    const windows = series.map((id): Window => ({ series: id, fromMs, toMs: untilMs }));
    const again = pending((rows) => write(rows, foldedTx, nowMs));
    for await (const rows of foldWindows(telemetry, index, windows)) {
      // Leaves may be as they were, and the factory not: what was found of it may be closed.
      const days = daysWithResets({ index }, rows);
      if (days.length > 0) onResets(days, foldedTx, nowMs);
      append(again.leaves, rows);
      await again.written(leavesAtOnce);
    }
    const states = windows.filter((window) => index.holdOf(window.series) !== undefined);
    for await (const rows of foldStates(telemetry, states, index.foldsOf)) {
      append(again.states, rows);
      await again.written(leavesAtOnce);
    }
    if (devices.length > 0)
      for await (const rows of foldOnline(telemetry, devices, fromMs, untilMs)) append(again.connections, rows);
    await again.written(1);
  }

  return {
    fold,
    begin,
    flush,
    look,
    refold,
    safeTx: () => Math.min(foldedTx, ...openSince.values()),
    open: { counters, online, onlineNow: (device) => onlineNow.get(device) ?? 0 },
  };
}
