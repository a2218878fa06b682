import { codeOf } from "@jilian/domain/errors.ts";
import { leastOf } from "@jilian/domain/lists.ts";
import { checkSamples } from "../columns/check.ts";
import { pickRows, type SampleColumns, sameContent } from "../columns/columns.ts";
import { checkCommits } from "../columns/commit-set.ts";
import type { ChangedColumns } from "../columns/packing.ts";
import type { CommitEntry, Window, WriteOutcome } from "../telemetry.ts";
import { changesOf } from "./changes.ts";
import type { InfluxClient } from "./client.ts";
import { isRefusal } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { NewestBook } from "./newest.ts";
import type { RecentBook } from "./recent.ts";
import { sampleLine } from "./samples.ts";
import type { SeriesBook } from "./series.ts";
import type { SampleReader } from "./spans.ts";
import { lastTimeMs } from "./text.ts";

/** Late samples of a series nearer to each other than this are looked up together. */
const lookupGapMs = 60_000;

/** What the store's one writer knows of what is stored. */
export type Books = { series: SeriesBook; journal: Journal; newest: NewestBook; recent: RecentBook };

/** Rows of columns by series and source time. */
type Keyed = { columns: SampleColumns; keys: Map<number, Map<number, number>> };

function addKey({ columns, keys }: Keyed, i: number): void {
  const series = columns.series[i] as number;
  const times = keys.get(series) ?? new Map<number, number>();
  keys.set(series, times.set(columns.sourceMs[i] as number, i));
}

function findKey({ keys }: Keyed, batch: SampleColumns, i: number): number | undefined {
  return keys.get(batch.series[i] as number)?.get(batch.sourceMs[i] as number);
}

/** Windows that hold the given rows: those near to each other share one. */
function windowsOf(batch: SampleColumns, rows: readonly number[]): Window[] {
  const windows: Window[] = [];
  const order = [...rows].sort(
    (a, b) =>
      (batch.series[a] as number) - (batch.series[b] as number) ||
      (batch.sourceMs[a] as number) - (batch.sourceMs[b] as number),
  );
  for (const i of order) {
    const [series, ms] = [batch.series[i] as number, batch.sourceMs[i] as number];
    const last = windows.at(-1);
    if (last?.series === series && ms < last.toMs + lookupGapMs) last.toMs = ms + 1;
    else windows.push({ series, fromMs: ms, toMs: ms + 1 });
  }
  return windows;
}

/** Stored samples that may have the keys of the given rows: from memory where it is complete, else from InfluxDB. */
async function lookUp(
  batch: SampleColumns,
  rows: readonly number[],
  { recent }: Books,
  reader: SampleReader,
): Promise<Keyed[]> {
  const found: Keyed[] = [];
  const old: number[] = [];
  const near = new Map<number, Set<number>>();
  for (const i of rows) {
    const series = batch.series[i] as number;
    const ms = batch.sourceMs[i] as number;
    if (ms < recent.completeFromMs(series)) old.push(i);
    else near.set(series, (near.get(series) ?? new Set()).add(ms));
  }
  const memory: number[] = [];
  for (const [series, times] of near) {
    const oldest = leastOf(times);
    for (const slot of recent.slots(series)) {
      const ms = recent.rows().sourceMs[slot] as number;
      if (times.has(ms)) memory.push(slot);
      if (ms <= oldest) break;
    }
  }
  for (const columns of [pickRows(recent.rows(), memory), ...(await reader.windows(windowsOf(batch, old)))]) {
    const keyed: Keyed = { columns, keys: new Map() };
    for (let j = 0; j < columns.length; j += 1) addKey(keyed, j);
    if (columns.length > 0) found.push(keyed);
  }
  return found;
}

/** Rows to write, and rows that are left out though their minute counts as changed. */
type Sifted = { kept: number[]; touched: number[]; duplicates: number; conflicts: number };

/** One lookup per row: the stored samples of many windows, as one. */
function oneKeyed(all: readonly Keyed[]): (batch: SampleColumns, i: number) => [Keyed, number] | undefined {
  const bySeries = new Map<number, Keyed[]>();
  for (const keyed of all) {
    for (const series of keyed.keys.keys()) bySeries.set(series, [...(bySeries.get(series) ?? []), keyed]);
  }
  return (batch, i) => {
    for (const keyed of bySeries.get(batch.series[i] as number) ?? []) {
      const row = findKey(keyed, batch, i);
      if (row !== undefined) return [keyed, row];
    }
    return undefined;
  };
}

/**
 * Which rows are new. A sample later than everything of its series is; of the others, those late or repeated, each is compared with what
 * is stored and with what comes before it in the batch. The first of a key stays. What a transaction that was never confirmed left behind
 * counts as not stored: it is written again if it is the same, and stays, being the first, if it is not; its minute has changed either way.
 */
async function sift(batch: SampleColumns, books: Books, reader: SampleReader): Promise<Sifted> {
  const { journal, newest, series } = books;
  const running = newest.newestMs(series.last()).slice();
  const kept: number[] = [];
  const late: number[] = [];
  for (let i = 0; i < batch.length; i += 1) {
    const id = batch.series[i] as number;
    const sourceMs = batch.sourceMs[i] as number;
    if (sourceMs > (running[id] as number)) {
      running[id] = sourceMs;
      kept.push(i);
    } else late.push(i);
  }
  if (late.length === 0) return { kept, touched: [], duplicates: 0, conflicts: 0 };

  const lateSeries = new Set(late.map((i) => batch.series[i]));
  const first: Keyed = { columns: batch, keys: new Map() };
  for (const i of kept) if (lateSeries.has(batch.series[i])) addKey(first, i);
  const doubtful = late.filter((i) => findKey(first, batch, i) === undefined);
  const stored = oneKeyed(doubtful.length > 0 ? await lookUp(batch, doubtful, books, reader) : []);

  const touched: number[] = [];
  let duplicates = 0;
  let conflicts = 0;
  for (const i of late) {
    const before = findKey(first, batch, i);
    const there = before === undefined ? stored(batch, i) : ([first, before] as const);
    const same = there !== undefined && sameContent(batch, i, there[0].columns, there[1]);
    const unfinished =
      there !== undefined && there[0] !== first && !journal.isConfirmed(there[0].columns.tx[there[1]] as number);
    if (!there || (same && unfinished)) {
      addKey(first, i);
      kept.push(i);
    } else if (same) duplicates += 1;
    else {
      conflicts += 1;
      if (unfinished) touched.push(i);
    }
  }
  return { kept, touched, duplicates, conflicts };
}

/** A transaction between its first request and its last answer. */
type Pending = {
  batch: SampleColumns;
  commits: readonly CommitEntry[];
  kept: readonly number[];
  changed: ChangedColumns;
  outcome: WriteOutcome;
  /** True once InfluxDB has refused its lines. */
  refused: boolean;
};

/** True when a batch is the one under way: the caller tries it again. */
function isSame({ batch, commits }: Pending, again: SampleColumns, againCommits: readonly CommitEntry[]): boolean {
  if (batch.length !== again.length || JSON.stringify(commits) !== JSON.stringify(againCommits)) return false;
  for (let i = 0; i < batch.length; i += 1) {
    if (batch.series[i] !== again.series[i] || batch.sourceMs[i] !== again.sourceMs[i]) return false;
    if (!sameContent(batch, i, again, i)) return false;
  }
  return true;
}

export type Writer = {
  readonly write: (batch: SampleColumns, commits: readonly CommitEntry[]) => Promise<WriteOutcome>;
  /** True when nothing is under way, so that an end now is an end in order. */
  readonly isSettled: () => boolean;
};

/** The one writer of samples; one call at a time. See journal.ts for why nothing is lost or counted twice. */
export function createWriter(client: InfluxClient, books: Books, reader: SampleReader): Writer {
  const { series, journal, newest, recent } = books;
  let pending: Pending | undefined;

  function* linesOf({ batch, kept, outcome }: Pending): Generator<string> {
    for (const i of kept) yield sampleLine(batch, i, series.get(batch.series[i] as number).tags, outcome.tx);
  }

  function note({ batch, kept, outcome }: Pending): void {
    for (const i of kept) {
      batch.tx[i] = outcome.tx;
      newest.note(batch, i);
      recent.add(batch, i);
    }
  }

  /** Completes what is under way: with the same lines, or by taking its number out of use. */
  async function settle(): Promise<void> {
    if (!pending) return;
    const { commits, changed } = pending;
    let refusal: unknown;
    if (!pending.refused) {
      try {
        await client.write(linesOf(pending));
        await journal.write(commits, changed);
        note(pending);
      } catch (error) {
        if (!isRefusal(codeOf(error))) throw error;
        pending.refused = true;
        refusal = error;
      }
    }
    if (pending.refused) await journal.writeVoid();
    pending = undefined;
    if (refusal !== undefined) throw refusal;
  }

  async function write(batch: SampleColumns, commits: readonly CommitEntry[]): Promise<WriteOutcome> {
    checkSamples(batch, { ...series, lastTimeMs });
    checkCommits(commits);
    if (pending) {
      const { outcome, refused } = pending;
      const again = !refused && isSame(pending, batch, commits);
      // Its own error concerns this batch only when it is the same one.
      await settle().catch((error: unknown) => {
        if (again || pending) throw error;
      });
      if (again) return outcome;
    }
    const { kept, touched, duplicates, conflicts } = await sift(batch, books, reader);
    const empty = kept.length + touched.length === 0 && commits.every(({ ranges }) => ranges.length === 0);
    // A transaction that leaves nothing would have its number given out again after a restart, so it gets none.
    if (empty) return { tx: journal.lastTx(), written: 0, duplicates, conflicts };
    const outcome = { tx: journal.lastTx() + 1, written: kept.length, duplicates, conflicts };
    pending = { batch, commits, kept, changed: changesOf(batch, [...kept, ...touched]), outcome, refused: false };
    await settle();
    return outcome;
  }

  return { write, isSettled: () => pending === undefined };
}
