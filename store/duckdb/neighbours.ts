import { BIGINT, type DuckDBConnection, INTEGER } from "@duckdb/node-api";
import { emptyColumns, pickRows, type SampleColumns } from "../columns/columns.ts";
import { emptyReadings, seek } from "../columns/readings.ts";
import { type Span, spansOf } from "../columns/windows.ts";
import type { Window } from "../telemetry.ts";
import type { ReadingWindows, WindowColumns } from "../thread/engine.ts";
import { append, snapshot, temporary } from "./database.ts";
import { whole, wholeMs } from "./reads.ts";
import {
  appendedSamples,
  readingList,
  readNumberColumns,
  readPlaced,
  readReadings,
  sampleList,
  usable,
} from "./rows.ts";

/** How far neighbours are sought, step by step: most are a heartbeat away, and only what is not found costs a longer scan. */
const reachesMs = [120_000, 1_800_000, 28_800_000, 432_000_000, Number.POSITIVE_INFINITY];

type Side = "before" | "after";

async function fillSpans(connection: DuckDBConnection, spans: readonly Span[]): Promise<void> {
  const span = (i: number) => spans[i] as Span;
  await temporary(connection, "span", spans.length, {
    span: [INTEGER, (i) => i],
    series: [INTEGER, (i) => span(i).series],
    from_ms: [BIGINT, (i) => wholeMs(span(i).fromMs)],
    to_ms: [BIGINT, (i) => wholeMs(span(i).toMs)],
  });
}

/** Row numbers of the usable sample nearest to each sought span's edge, by span; those with none are left out. */
async function nearest(
  connection: DuckDBConnection,
  spans: readonly Span[],
  sought: ReadonlySet<number>,
  side: Side,
  [nearMs, farMs]: readonly [number, number],
): Promise<Map<number, number>> {
  const edges = Array.from(sought, (i) => (side === "before" ? (spans[i] as Span).fromMs : (spans[i] as Span).toMs));
  const [low, high] = edges.reduce(([a, b], edge) => [Math.min(a, edge), Math.max(b, edge)], [Infinity, -Infinity]);
  // The fixed bounds let the scan skip what lies outside all spans; those of each span come with the join.
  const rule =
    side === "before"
      ? `source_ms < from_ms AND source_ms >= ${whole(low - farMs)} AND source_ms < ${whole(high - nearMs)}`
      : `source_ms >= to_ms AND source_ms >= ${whole(low + nearMs)} AND source_ms < ${whole(high + farMs)}`;
  const aggregate = side === "before" ? "arg_max" : "arg_min";
  const listed = sought.size < spans.length ? `AND span IN (${Array.from(sought).join(", ")})` : "";
  const result = await connection.run(`SELECT span::DOUBLE, ${aggregate}(sample.rowid, source_ms)::DOUBLE
    FROM sample JOIN span USING (series) WHERE ${rule} AND ${usable} ${listed} GROUP BY span`);
  const [indexes, rowIds] = await readNumberColumns(result, 2);
  return new Map(Array.from(indexes ?? [], (span, i) => [span, rowIds?.[i] as number]));
}

/** Row numbers of the neighbours of the sought spans on one side. */
async function neighbours(
  connection: DuckDBConnection,
  spans: readonly Span[],
  sought: Set<number>,
  side: Side,
): Promise<[span: number, row: number][]> {
  const found: [number, number][] = [];
  let nearMs = 0;
  for (const farMs of reachesMs) {
    if (sought.size === 0) break;
    for (const [span, row] of await nearest(connection, spans, sought, side, [nearMs, farMs])) {
      found.push([span, row]);
      sought.delete(span);
    }
    nearMs = farMs;
  }
  return found;
}

type Known = { before: Set<number>; after: Set<number>; ended: number[]; rows: SampleColumns };

/**
 * What need not be sought. After a series' newest usable sample there is none; and for a span after it, it is the neighbour before: copied
 * now, because the next write may replace it.
 */
function fromMemory(spans: readonly Span[], usableRows: SampleColumns): Known {
  const [before, after] = [new Set<number>(), new Set<number>()];
  const ended: number[] = [];
  for (const [i, { series, fromMs, toMs }] of spans.entries()) {
    const newestMs = usableRows.sourceMs[series] ?? -1;
    if (newestMs >= toMs) after.add(i);
    if (newestMs >= fromMs) before.add(i);
    else if (newestMs >= 0) ended.push(i);
  }
  const rows = ended.map((i) => (spans[i] as Span).series);
  return { before, after, ended, rows: pickRows(usableRows, rows) };
}

/** Fixed bounds of all spans: they let a scan skip what lies outside. */
function boundsOf(spans: readonly Span[]): string {
  const fromMs = spans.reduce((low, span) => Math.min(low, span.fromMs), Infinity);
  const toMs = spans.reduce((high, span) => Math.max(high, span.toMs), -Infinity);
  return `source_ms >= ${whole(fromMs)} AND source_ms < ${whole(toMs)}`;
}

/** The rows of a list that lie in their spans, with the number of the span. */
const within = (list: string, spans: readonly Span[]) => `SELECT ${list}, span FROM sample JOIN span USING (series)
  WHERE source_ms >= from_ms AND source_ms < to_ms AND ${boundsOf(spans)}`;

/** The spans' usable samples with their neighbours, by span and source time, and where each span ends in them. */
async function readSpans(connection: DuckDBConnection, spans: readonly Span[], known: Known) {
  await fillSpans(connection, spans);
  const before = await neighbours(connection, spans, known.before, "before");
  const after = await neighbours(connection, spans, known.after, "after");
  // In the order of time, as far as it goes: what lies in the spans is mostly stored so.
  const results = [
    ...(await readPicked(connection, before)),
    ...(await readKnown(connection, known)),
    await connection.run(`${within(readingList("sample"), spans)} AND ${usable}`),
    ...(await readPicked(connection, after)),
  ];
  return await readReadings(results, spans.length);
}

/** Rows that were picked by their numbers. */
async function readPicked(connection: DuckDBConnection, picked: readonly (readonly [span: number, row: number])[]) {
  if (picked.length === 0) return [];
  await temporary(connection, "neighbour", picked.length, {
    span: [INTEGER, (i) => picked[i]?.[0] as number],
    row_number: [BIGINT, (i) => BigInt(picked[i]?.[1] as number)],
  });
  return [
    await connection.run(
      `SELECT ${readingList("sample")}, span FROM sample JOIN neighbour ON sample.rowid = row_number`,
    ),
  ];
}

/** Rows that are known without the table. */
async function readKnown(connection: DuckDBConnection, { ended, rows }: Known) {
  if (ended.length === 0) return [];
  await connection.run("CREATE OR REPLACE TEMP TABLE ended AS SELECT 0 AS span, sample.* FROM sample LIMIT 0");
  const own = appendedSamples(rows, Array.from(ended.keys()));
  await append(connection, "ended", ended.length, [[INTEGER, (i) => ended[i] as number], ...own]);
  return [await connection.run(`SELECT ${readingList("ended")}, span FROM ended`)];
}

/** For each window its samples, of any quality. */
export async function readWindows(connection: DuckDBConnection, windows: readonly Window[]): Promise<WindowColumns> {
  if (windows.length === 0) return { rows: emptyColumns(0), firsts: new Int32Array(0), counts: new Int32Array(0) };
  return await snapshot(connection, async () => {
    await fillSpans(connection, windows);
    const result = await connection.run(within(sampleList("sample"), windows));
    const { rows, ends } = await readPlaced(result, windows.length);
    const firsts = ends.map((_, i) => ends[i - 1] ?? 0);
    return { rows, firsts, counts: ends.map((end, i) => end - (firsts[i] as number)) };
  });
}

/**
 * For each window its usable samples and the nearest usable one before and after. Near windows of a series are read together, once; rows
 * of one span are contiguous in time, so a window's neighbours are the rows beside it.
 * @param usableRows the newest usable sample by series number, at least as new as every acknowledged write
 */
export async function readNeighbours(
  connection: DuckDBConnection,
  windows: readonly Window[],
  usableRows: SampleColumns,
): Promise<ReadingWindows> {
  const firsts = new Int32Array(windows.length);
  const counts = new Int32Array(windows.length);
  if (windows.length === 0) return { rows: emptyReadings(0), firsts, counts };
  const { spans, spanOf } = spansOf(windows);
  const known = fromMemory(spans, usableRows);
  const { rows, ends } = await snapshot(connection, () => readSpans(connection, spans, known));
  for (const [i, { fromMs, toMs }] of windows.entries()) {
    const span = spanOf[i] as number;
    const low = span === 0 ? 0 : (ends[span - 1] as number);
    const high = ends[span] as number;
    const first = Math.max(low, seek(rows.sourceMs, low, high, fromMs) - 1);
    const end = Math.min(high, seek(rows.sourceMs, low, high, toMs) + 1);
    firsts[i] = first;
    counts[i] = Math.max(0, end - first);
  }
  return { rows, firsts, counts };
}
