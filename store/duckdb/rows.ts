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
import { emptyColumns, Kind, type SampleColumns } from "../columns/columns.ts";
import type { Column } from "./database.ts";

/**
 * Select list of a sample, in the order of `readSamples`. Times leave as DOUBLE, exact to 2^53, and so cost no bigint each. No column but
 * the text has nulls: the binding looks up each item's validity with bigints, which costs more than all the rest.
 */
export function sampleList(from: string): string {
  const column = (name: string) => `${from}.${name}`;
  const kind = `CASE WHEN ${column("vd")} IS NOT NULL THEN ${Kind.number} WHEN ${column("vi")} IS NOT NULL THEN ${Kind.integer}
    WHEN ${column("vb")} IS NOT NULL THEN ${Kind.boolean} WHEN ${column("vt")} IS NOT NULL THEN ${Kind.text} ELSE ${Kind.none} END::UTINYINT`;
  const number = `coalesce(${column("vd")}, ${column("vb")}::INTEGER::DOUBLE, 0)`;
  const times = ["gateway_ms", "ingest_ms", "tx"].map((name) => `${column(name)}::DOUBLE`);
  return [
    column("series"),
    `${column("source_ms")}::DOUBLE`,
    column("status"),
    ...times,
    kind,
    number,
    `coalesce(${column("vi")}, 0)`,
    column("vt"),
  ].join(", ");
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

function readValues(chunk: DuckDBDataChunk, to: SampleColumns, from: number): void {
  const [integers, texts] = [8, 9].map((k) => chunk.getColumnVector(k));
  readNumbers(chunk, 6, to.kind, from);
  readNumbers(chunk, 7, to.number, from);
  // Asking for it is a call out of JavaScript.
  const { rowCount } = chunk;
  for (let row = from; row < from + rowCount; row += 1) {
    if (to.kind[row] === Kind.integer) to.integer[row] = integers?.getItem(row - from) as bigint;
    else if (to.kind[row] === Kind.text) to.text.set(row, texts?.getItem(row - from) as string);
  }
}

/** Numbers of one column of a chunk into an array; the column must hold no null. */
export function readNumbers(chunk: DuckDBDataChunk, column: number, to: { [i: number]: number }, from: number): void {
  const vector = chunk.getColumnVector(column);
  const { rowCount } = chunk;
  for (let i = 0; i < rowCount; i += 1) to[from + i] = vector.getItem(i) as number;
}

/**
 * Rows of a query whose first columns are `sampleList`.
 * @param counts is given the number of rows by the number in the column after them
 */
export async function readSamples(
  result: DuckDBMaterializedResult,
  counts?: Int32Array<ArrayBuffer>,
): Promise<SampleColumns> {
  const chunks = await result.fetchAllChunks();
  const to = emptyColumns(chunks.reduce((sum, chunk) => sum + chunk.rowCount, 0));
  let from = 0;
  for (const chunk of chunks) {
    for (const [k, column] of [to.series, to.sourceMs, to.status, to.gatewayMs, to.ingestMs, to.tx].entries())
      readNumbers(chunk, k, column, from);
    readValues(chunk, to, from);
    if (counts) countRows(chunk, 10, counts);
    from += chunk.rowCount;
  }
  return to;
}

function countRows(chunk: DuckDBDataChunk, column: number, counts: Int32Array<ArrayBuffer>): void {
  const vector = chunk.getColumnVector(column);
  const { rowCount } = chunk;
  for (let i = 0; i < rowCount; i += 1) {
    const key = vector.getItem(i) as number;
    counts[key] = (counts[key] ?? 0) + 1;
  }
}

/** Rows of a query of numbers, as one array a column. */
export async function readNumberColumns(
  result: DuckDBMaterializedResult,
  columns: number,
): Promise<Float64Array<ArrayBuffer>[]> {
  const chunks = await result.fetchAllChunks();
  const rows = chunks.reduce((sum, chunk) => sum + chunk.rowCount, 0);
  const to = Array.from({ length: columns }, () => new Float64Array(rows));
  let from = 0;
  for (const chunk of chunks) {
    for (const [k, column] of to.entries()) readNumbers(chunk, k, column, from);
    from += chunk.rowCount;
  }
  return to;
}
