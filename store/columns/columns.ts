import type { Value } from "@jilian/domain/datatypes.ts";
import { qualityOf } from "@jilian/domain/quality.ts";
import type { SampleRow, StoredRow } from "../telemetry.ts";

/** What a row's value is; decides which column holds it. */
export const Kind = { none: 0, boolean: 1, number: 2, integer: 3, text: 4, misfit: 255 } as const;

/**
 * Samples as columns: how they cross between threads (the buffers are handed over, not copied) and how the newest of each series is
 * kept. 64-bit integers have a column of their own and never become a JavaScript number.
 */
export type SampleColumns = {
  readonly length: number;
  readonly series: Int32Array<ArrayBuffer>;
  readonly sourceMs: Float64Array<ArrayBuffer>;
  readonly kind: Uint8Array<ArrayBuffer>;
  /** Numbers; booleans as 0 and 1. */
  readonly number: Float64Array<ArrayBuffer>;
  readonly integer: BigInt64Array<ArrayBuffer>;
  /** By row: most batches hold no text at all. */
  readonly text: Map<number, string>;
  readonly status: Uint32Array<ArrayBuffer>;
  readonly gatewayMs: Float64Array<ArrayBuffer>;
  readonly ingestMs: Float64Array<ArrayBuffer>;
  readonly tx: Float64Array<ArrayBuffer>;
};

export function emptyColumns(length: number): SampleColumns {
  return {
    length,
    series: new Int32Array(length),
    sourceMs: new Float64Array(length),
    kind: new Uint8Array(length),
    number: new Float64Array(length),
    integer: new BigInt64Array(length),
    text: new Map(),
    status: new Uint32Array(length),
    gatewayMs: new Float64Array(length),
    ingestMs: new Float64Array(length),
    tx: new Float64Array(length),
  };
}

/**
 * Sets the value of a row. An integer beyond 64 bits becomes `misfit` and is refused where the series has a name. A lone surrogate
 * becomes U+FFFD as it would in UTF-8: else the same text written twice would differ from what was stored.
 */
export function setValue(to: SampleColumns, i: number, value: Value): void {
  if (typeof value === "number") {
    to.kind[i] = Kind.number;
    to.number[i] = value;
  } else if (typeof value === "bigint") {
    const fits = BigInt.asIntN(64, value) === value;
    to.kind[i] = fits ? Kind.integer : Kind.misfit;
    if (fits) to.integer[i] = value;
  } else if (typeof value === "boolean") {
    to.kind[i] = Kind.boolean;
    to.number[i] = value ? 1 : 0;
  } else if (value === null) {
    to.kind[i] = Kind.none;
  } else {
    to.kind[i] = Kind.text;
    to.text.set(i, value.toWellFormed());
  }
}

export function valueAt(
  from: Pick<SampleColumns, "kind" | "number" | "integer"> & { text: Pick<Map<number, string>, "get"> },
  i: number,
): Value {
  switch (from.kind[i]) {
    case Kind.number:
      return from.number[i] as number;
    case Kind.integer:
      return from.integer[i] as bigint;
    case Kind.boolean:
      return from.number[i] === 1;
    case Kind.text:
      return from.text.get(i) as string;
    default:
      return null;
  }
}

/** Columns of samples to store; `tx` is the store's to set. */
export function packSamples(rows: readonly SampleRow[]): SampleColumns {
  const to = emptyColumns(rows.length);
  for (let i = 0; i < rows.length; i += 1) {
    const row = rows[i] as SampleRow;
    to.series[i] = row.series;
    to.sourceMs[i] = row.sourceTimeMs;
    setValue(to, i, row.value);
    to.status[i] = row.status;
    to.gatewayMs[i] = row.gatewayTimeMs;
    to.ingestMs[i] = row.ingestTimeMs;
  }
  return to;
}

export function unpackSamples(from: SampleColumns): StoredRow[] {
  const rows: StoredRow[] = [];
  for (let i = 0; i < from.length; i += 1) {
    rows.push({
      series: from.series[i] as number,
      sourceTimeMs: from.sourceMs[i] as number,
      value: valueAt(from, i),
      status: from.status[i] as number,
      gatewayTimeMs: from.gatewayMs[i] as number,
      ingestTimeMs: from.ingestMs[i] as number,
      tx: from.tx[i] as number,
    });
  }
  return rows;
}

/** Copies row i of one set of columns over row j of another. */
export function copyRow(from: SampleColumns, i: number, to: SampleColumns, j: number): void {
  to.series[j] = from.series[i] as number;
  to.sourceMs[j] = from.sourceMs[i] as number;
  to.kind[j] = from.kind[i] as number;
  to.number[j] = from.number[i] as number;
  to.integer[j] = from.integer[i] as bigint;
  const text = from.text.get(i);
  if (text === undefined) to.text.delete(j);
  else to.text.set(j, text);
  to.status[j] = from.status[i] as number;
  to.gatewayMs[j] = from.gatewayMs[i] as number;
  to.ingestMs[j] = from.ingestMs[i] as number;
  to.tx[j] = from.tx[i] as number;
}

/** The named rows of some columns, in that order, in columns of their own. */
export function pickRows(from: SampleColumns, rows: ArrayLike<number>): SampleColumns {
  const to = emptyColumns(rows.length);
  for (let j = 0; j < rows.length; j += 1) copyRow(from, rows[j] as number, to, j);
  return to;
}

/** True for a row that a figure may use: good or uncertain, and not null. */
export function isUsable(from: SampleColumns, i: number): boolean {
  return from.kind[i] !== Kind.none && qualityOf(from.status[i] as number) !== "bad";
}

/** True when two rows say the same: value (of the same type) and status. When and by what way they came does not count. */
export function sameContent(a: SampleColumns, i: number, b: SampleColumns, j: number): boolean {
  return a.kind[i] === b.kind[j] && a.status[i] === b.status[j] && valueAt(a, i) === valueAt(b, j);
}
