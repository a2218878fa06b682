import {
  BIGINT,
  BOOLEAN,
  DOUBLE,
  type DuckDBDataChunk,
  type DuckDBMaterializedResult,
  INTEGER,
  UINTEGER,
  VARCHAR,
} from "@duckdb/node-api";
import { append } from "@jilian/domain/lists.ts";
import { emptyColumns, Kind, type SampleColumns } from "../columns/columns.ts";
import { type Places, placesOf } from "../columns/places.ts";
import { emptyReadings, type ReadingColumns } from "../columns/readings.ts";
import type { Column } from "./database.ts";

/**
 * Select list of a sample, in the order of `readSamples`. Times leave as DOUBLE, exact to 2^53, and so cost no bigint each. No column but
 * the text has nulls: the binding looks up each item's validity with bigints, which costs more than all the rest.
 */
export function sampleList(from: string): string {
  const { kind, number, integer } = valueList(from);
  const times = ["gateway_ms", "ingest_ms", "tx"].map((name) => `${from}.${name}::DOUBLE`);
  const own = [`${from}.series`, `${from}.source_ms::DOUBLE`, `${from}.status`, ...times];
  return [...own, kind, number, integer, `${from}.vt`].join(", ");
}

function valueList(from: string) {
  const column = (name: string) => `${from}.${name}`;
  return {
    kind: `CASE WHEN ${column("vd")} IS NOT NULL THEN ${Kind.number} WHEN ${column("vi")} IS NOT NULL THEN ${Kind.integer}
    WHEN ${column("vb")} IS NOT NULL THEN ${Kind.boolean} WHEN ${column("vt")} IS NOT NULL THEN ${Kind.text} ELSE ${Kind.none} END::UTINYINT`,
    number: `coalesce(${column("vd")}, ${column("vb")}::INTEGER::DOUBLE, 0)`,
    integer: `coalesce(${column("vi")}, 0)`,
  };
}

/** A sample with a usable value: good or uncertain, and not null (OPC 10000-4, 7.39: severity in the top two bits). */
export const usable =
  "(status < 2147483648 AND (vb IS NOT NULL OR vi IS NOT NULL OR vd IS NOT NULL OR vt IS NOT NULL))";
/** Likewise, good only. */
export const good = "(status < 1073741824 AND (vb IS NOT NULL OR vi IS NOT NULL OR vd IS NOT NULL OR vt IS NOT NULL))";

/** Columns of the table `sample`, from the named rows. */
export function appendedSamples(from: SampleColumns, rows: ArrayLike<number>, tx?: number): Column[] {
  const row = (i: number) => rows[i] as number;
  const whole = (column: Float64Array): Column => [BIGINT, (i) => BigInt(column[row(i)] as number)];
  const is = (i: number, kind: number) => from.kind[row(i)] === kind;
  const at = tx === undefined ? undefined : BigInt(tx);
  return [
    [INTEGER, (i) => from.series[row(i)] as number],
    whole(from.sourceMs),
    [BOOLEAN, (i) => (is(i, Kind.boolean) ? from.number[row(i)] === 1 : null)],
    [BIGINT, (i) => (is(i, Kind.integer) ? (from.integer[row(i)] as bigint) : null)],
    [DOUBLE, (i) => (is(i, Kind.number) ? (from.number[row(i)] as number) : null)],
    [VARCHAR, (i) => (is(i, Kind.text) ? (from.text.get(row(i)) as string) : null)],
    [UINTEGER, (i) => from.status[row(i)] as number],
    whole(from.gatewayMs),
    whole(from.ingestMs),
    at === undefined ? whole(from.tx) : [BIGINT, () => at],
  ];
}

type Numbers = { [i: number]: number };

/** Numbers of one column of a chunk into an array; the column must hold no null. @param places where each row goes; in order if absent */
export function readNumbers(
  chunk: DuckDBDataChunk,
  column: number,
  to: Numbers,
  from: number,
  places?: Int32Array,
): void {
  const vector = chunk.getColumnVector(column);
  // Asking for it is a call out of JavaScript.
  const { rowCount } = chunk;
  if (places) for (let i = 0; i < rowCount; i += 1) to[places[from + i] as number] = vector.getItem(i) as number;
  else for (let i = 0; i < rowCount; i += 1) to[from + i] = vector.getItem(i) as number;
}

/** Integers of one column, of the rows that are of that kind. */
function readIntegers(
  chunk: DuckDBDataChunk,
  column: number,
  to: Pick<SampleColumns, "kind" | "integer">,
  from: number,
  places?: Int32Array,
): void {
  const vector = chunk.getColumnVector(column);
  const { rowCount } = chunk;
  for (let i = 0; i < rowCount; i += 1) {
    const row = places ? (places[from + i] as number) : from + i;
    if (to.kind[row] === Kind.integer) to.integer[row] = vector.getItem(i) as bigint;
  }
}

function readTexts(chunk: DuckDBDataChunk, column: number, to: SampleColumns, from: number, places?: Int32Array): void {
  const vector = chunk.getColumnVector(column);
  const { rowCount } = chunk;
  for (let i = 0; i < rowCount; i += 1) {
    const row = places ? (places[from + i] as number) : from + i;
    if (to.kind[row] === Kind.text) to.text.set(row, vector.getItem(i) as string);
  }
}

const rowsOf = (chunks: readonly DuckDBDataChunk[]) => chunks.reduce((sum, { rowCount }) => sum + rowCount, 0);

/** Where the rows of chunks belong, by the number of their span and the source time in the named columns. */
function placed(chunks: readonly DuckDBDataChunk[], spans: number, [span, time]: readonly [number, number]): Places {
  const rows = rowsOf(chunks);
  const [spanOf, timeOf] = [new Int32Array(rows), new Float64Array(rows)];
  let from = 0;
  for (const chunk of chunks) {
    readNumbers(chunk, span, spanOf, from);
    readNumbers(chunk, time, timeOf, from);
    from += chunk.rowCount;
  }
  return placesOf(spanOf, timeOf, spans);
}

/** Columns that `fillSamples` reads; the number of a span comes after them. */
const sampleFields = 10;

function fillSamples(to: SampleColumns, chunks: readonly DuckDBDataChunk[], places?: Int32Array): SampleColumns {
  let from = 0;
  for (const chunk of chunks) {
    const numbers = [to.series, to.sourceMs, to.status, to.gatewayMs, to.ingestMs, to.tx, to.kind, to.number];
    for (const [k, column] of numbers.entries()) readNumbers(chunk, k, column, from, places);
    readIntegers(chunk, 8, to, from, places);
    readTexts(chunk, 9, to, from, places);
    from += chunk.rowCount;
  }
  return to;
}

/** Rows of a query of `sampleList` and the number of a span, in any order: by span, and by source time in each. */
export async function readPlaced(
  result: DuckDBMaterializedResult,
  spans: number,
): Promise<{ rows: SampleColumns; ends: Int32Array<ArrayBuffer> }> {
  const chunks = await result.fetchAllChunks();
  const { of, ends } = placed(chunks, spans, [sampleFields, 1]);
  return { rows: fillSamples(emptyColumns(of.length), chunks, of), ends };
}

/** Select list of a reading, in the order of `readReadings`; the number of its span comes after it. */
export function readingList(from: string): string {
  const { kind, number, integer } = valueList(from);
  return [`${from}.source_ms::DOUBLE`, `${from}.ingest_ms::DOUBLE`, kind, number, integer].join(", ");
}

/** Rows of queries of `readingList` and the number of a span, in any order: by span, and by source time in each. */
export async function readReadings(
  results: readonly DuckDBMaterializedResult[],
  spans: number,
): Promise<{ rows: ReadingColumns; ends: Int32Array<ArrayBuffer> }> {
  const chunks: DuckDBDataChunk[] = [];
  for (const result of results) append(chunks, await result.fetchAllChunks());
  const { of: places, ends } = placed(chunks, spans, [5, 0]);
  const rows = emptyReadings(places.length);
  let from = 0;
  for (const chunk of chunks) {
    for (const [k, column] of [rows.sourceMs, rows.ingestMs, rows.kind, rows.number].entries())
      readNumbers(chunk, k, column, from, places);
    readIntegers(chunk, 4, rows, from, places);
    from += chunk.rowCount;
  }
  return { rows, ends };
}

/** Rows of a query of `sampleList`. */
export async function readSamples(result: DuckDBMaterializedResult): Promise<SampleColumns> {
  const chunks = await result.fetchAllChunks();
  return fillSamples(emptyColumns(rowsOf(chunks)), chunks);
}

/** Rows of a query of numbers, as one array a column. */
export async function readNumberColumns(
  result: DuckDBMaterializedResult,
  columns: number,
): Promise<Float64Array<ArrayBuffer>[]> {
  const chunks = await result.fetchAllChunks();
  const rows = rowsOf(chunks);
  const to = Array.from({ length: columns }, () => new Float64Array(rows));
  let from = 0;
  for (const chunk of chunks) {
    for (const [k, column] of to.entries()) readNumbers(chunk, k, column, from);
    from += chunk.rowCount;
  }
  return to;
}
