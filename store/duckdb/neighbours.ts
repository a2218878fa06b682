import { BIGINT, type DuckDBConnection, INTEGER } from "@duckdb/node-api";
import { emptyColumns, pickRows, type SampleColumns } from "../columns/columns.ts";
import { type Span, spansOf } from "../columns/windows.ts";
import type { Window } from "../telemetry.ts";
import type { WindowColumns } from "../thread/engine.ts";
import { append, snapshot, temporary } from "./database.ts";
import { whole, wholeMs } from "./reads.ts";
import { appendedSamples, readNumberColumns, readSamples, sampleList, usable } from "./rows.ts";

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

/** The rows that some queries of (span, sample) find, by span and source time, and how many of each span. */
async function readFound(connection: DuckDBConnection, queries: readonly string[], spans: number) {
  const counts = new Int32Array(spans);
  const result = await connection.run(
    `SELECT ${sampleList("found")}, span FROM (${queries.join(" UNION ALL ")}) AS found ORDER BY span, source_ms`,
  );
  return { rows: await readSamples(result, counts), counts };
}

/** Where each span ends among the rows. */
function endsOf(counts: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  let end = 0;
  return counts.map((count) => {
    end += count;
    return end;
  });
}

/** The rows that lie in their spans. */
const within = (spans: readonly Span[]) => `SELECT span, sample.* FROM sample JOIN span USING (series)
  WHERE source_ms >= from_ms AND source_ms < to_ms AND ${boundsOf(spans)}`;

/** The spans' usable samples with their neighbours, by span and source time, and where each span ends in them. */
async function readSpans(connection: DuckDBConnection, spans: readonly Span[], known: Known) {
  await fillSpans(connection, spans);
  const picked = [
    ...(await neighbours(connection, spans, known.before, "before")),
    ...(await neighbours(connection, spans, known.after, "after")),
  ];
  await temporary(connection, "neighbour", picked.length, {
    span: [INTEGER, (i) => picked[i]?.[0] as number],
    row_number: [BIGINT, (i) => BigInt(picked[i]?.[1] as number)],
  });
  const queries = [
    `${within(spans)} AND ${usable}`,
    "SELECT span, sample.* FROM sample JOIN neighbour ON sample.rowid = row_number",
  ];
  if (known.ended.length > 0) {
    await connection.run("CREATE OR REPLACE TEMP TABLE ended AS SELECT 0 AS span, sample.* FROM sample LIMIT 0");
    await append(connection, "ended", known.ended.length, [
      [INTEGER, (i) => known.ended[i] as number],
      ...appendedSamples(known.rows, Array.from(known.ended.keys())),
    ]);
    queries.push("FROM ended");
  }
  const { rows, counts } = await readFound(connection, queries, spans.length);
  return { rows, ends: endsOf(counts) };
}

/** For each window its samples, of any quality. */
export async function readWindows(connection: DuckDBConnection, windows: readonly Window[]): Promise<WindowColumns> {
  if (windows.length === 0) return { rows: emptyColumns(0), firsts: new Int32Array(0), counts: new Int32Array(0) };
  return await snapshot(connection, async () => {
    await fillSpans(connection, windows);
    const { rows, counts } = await readFound(connection, [within(windows)], windows.length);
    const firsts = endsOf(counts).map((end, i) => end - (counts[i] as number));
    return { rows, firsts, counts };
  });
}

/** First of the sorted rows [low, high) at or after a time. */
function seek(times: Float64Array, low: number, high: number, ms: number): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((times[middle] as number) < ms) from = middle + 1;
    else to = middle;
  }
  return from;
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
): Promise<WindowColumns> {
  const firsts = new Int32Array(windows.length);
  const counts = new Int32Array(windows.length);
  if (windows.length === 0) return { rows: emptyColumns(0), firsts, counts };
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
