import { BIGINT, type DuckDBConnection, INTEGER } from "@duckdb/node-api";
import { checkSamples } from "../columns/check.ts";
import { type SampleColumns, sameContent } from "../columns/columns.ts";
import { checkCommits } from "../columns/commit-set.ts";
import type { CommitEntry, WriteOutcome } from "../telemetry.ts";
import type { CommitBook } from "./commits.ts";
import { append, temporary, transaction } from "./database.ts";
import type { LatestBook } from "./latest.ts";
import { appendedSamples, readSamples, sampleList } from "./rows.ts";
import type { SeriesBook } from "./series.ts";

/** Late samples further apart than this are looked up apart: one that is years old must not have the whole history scanned for all. */
const lookupGapMs = 3_600_000;
const maxLookups = 16;

/** Rows by series and source time. */
type Keyed = Map<number, Map<number, number>>;

function addKey(keys: Keyed, batch: SampleColumns, i: number): void {
  const series = batch.series[i] as number;
  const times = keys.get(series) ?? new Map<number, number>();
  keys.set(series, times.set(batch.sourceMs[i] as number, i));
}

function findKey(keys: Keyed, batch: SampleColumns, i: number): number | undefined {
  return keys.get(batch.series[i] as number)?.get(batch.sourceMs[i] as number);
}

/** Splits sorted times where they are far apart, into at most `maxLookups` closed intervals. */
export function lookupIntervals(times: Float64Array): [fromMs: number, toMs: number][] {
  const gaps = times.subarray(1).map((time, i) => time - (times[i] as number));
  const widest = gaps.toSorted().at(-maxLookups) ?? 0;
  const apart = Math.max(lookupGapMs, widest);
  const intervals: [number, number][] = [];
  for (const [i, time] of times.entries()) {
    const last = intervals.at(-1);
    if (last && (gaps[i - 1] as number) <= apart) last[1] = time;
    else intervals.push([time, time]);
  }
  return intervals;
}

/** Stored samples with the keys of the given rows: a join bounded in time and series. */
async function lookUp(
  connection: DuckDBConnection,
  batch: SampleColumns,
  rows: readonly number[],
): Promise<SampleColumns[]> {
  const row = (i: number) => rows[i] as number;
  await temporary(connection, "late", rows.length, {
    series: [INTEGER, (i) => batch.series[row(i)] as number],
    source_ms: [BIGINT, (i) => BigInt(batch.sourceMs[row(i)] as number)],
  });
  const times = Float64Array.from(rows, (i) => batch.sourceMs[i] as number).sort();
  const found: SampleColumns[] = [];
  for (const [fromMs, toMs] of lookupIntervals(times)) {
    const within = `BETWEEN ${fromMs} AND ${toMs}`;
    found.push(
      await readSamples(
        await connection.run(`SELECT ${sampleList("sample")} FROM sample SEMI JOIN late USING (series, source_ms)
          WHERE sample.source_ms ${within}`),
      ),
    );
  }
  return found;
}

type Sifted = { kept: number[]; duplicates: number; conflicts: number };

/**
 * Which rows are new. A sample later than everything of its series is; of the others, those late or repeated, each is compared with what
 * is stored and with what comes before it in the batch. The first of a key stays.
 */
async function sift(connection: DuckDBConnection, batch: SampleColumns, newestMs: Float64Array): Promise<Sifted> {
  const running = newestMs.slice();
  const kept: number[] = [];
  const late: number[] = [];
  for (let i = 0; i < batch.length; i += 1) {
    const series = batch.series[i] as number;
    const sourceMs = batch.sourceMs[i] as number;
    if (sourceMs > (running[series] as number)) {
      running[series] = sourceMs;
      kept.push(i);
    } else late.push(i);
  }
  if (late.length === 0) return { kept, duplicates: 0, conflicts: 0 };

  const lateSeries = new Set(late.map((i) => batch.series[i]));
  const first: Keyed = new Map();
  for (const i of kept) if (lateSeries.has(batch.series[i])) addKey(first, batch, i);
  const doubtful = late.filter((i) => findKey(first, batch, i) === undefined);
  const stored = doubtful.length > 0 ? await lookUp(connection, batch, doubtful) : [];
  const storedKeys = stored.map((columns) => {
    const keys: Keyed = new Map();
    for (let j = 0; j < columns.length; j += 1) addKey(keys, columns, j);
    return { columns, keys };
  });

  let duplicates = 0;
  let conflicts = 0;
  for (const i of late) {
    const there = [...storedKeys, { columns: batch, keys: first }].find(
      ({ keys }) => findKey(keys, batch, i) !== undefined,
    );
    if (!there) {
      addKey(first, batch, i);
      kept.push(i);
    } else if (sameContent(batch, i, there.columns, findKey(there.keys, batch, i) as number)) duplicates += 1;
    else conflicts += 1;
  }
  return { kept, duplicates, conflicts };
}

/** What the store's one writer knows of what is stored. */
export type Books = { series: SeriesBook; latest: LatestBook; commits: CommitBook };

export type Writer = {
  readonly write: (batch: SampleColumns, commits: readonly CommitEntry[]) => Promise<WriteOutcome>;
  readonly lastTx: () => number;
};

/** The one writer of samples; one call at a time, on the connection that the books were opened with. */
export function createWriter(connection: DuckDBConnection, { series, latest, commits }: Books): Writer {
  let lastTx = Math.max(latest.lastTx(), commits.lastTx());

  async function write(batch: SampleColumns, committed: readonly CommitEntry[]): Promise<WriteOutcome> {
    checkSamples(batch, { ...series, lastTimeMs: Number.MAX_SAFE_INTEGER });
    checkCommits(committed);
    const { kept, duplicates, conflicts } = await sift(connection, batch, latest.newestMs(series.last()));
    // A transaction that leaves no row would have its number given out again after a restart, so it gets none.
    const empty = kept.length === 0 && committed.every(({ ranges }) => ranges.length === 0);
    if (empty) return { tx: lastTx, written: 0, duplicates, conflicts };
    const tx = lastTx + 1;
    await transaction(connection, async () => {
      await append(connection, "sample", kept.length, appendedSamples(batch, kept, tx));
      await commits.append(committed, tx);
    });
    lastTx = tx;
    commits.note(committed, tx);
    latest.note(batch, kept, tx);
    return { tx, written: kept.length, duplicates, conflicts };
  }

  return { write, lastTx: () => lastTx };
}
