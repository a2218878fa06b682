import { Kind, type SampleColumns } from "./columns.ts";

/**
 * Usable samples as figures are made of them, by source time: a month of them is folded without an object for each. What a text says is not
 * among it: a row of that kind is a reading that is no number.
 */
export type ReadingColumns = Pick<SampleColumns, "length" | "sourceMs" | "ingestMs" | "kind" | "number" | "integer">;

/** Readings of a window: rows [first, end) of columns that windows share. */
export type Readings = { readonly columns: ReadingColumns; readonly first: number; readonly end: number };

export function emptyReadings(length: number): ReadingColumns {
  return {
    length,
    sourceMs: new Float64Array(length),
    ingestMs: new Float64Array(length),
    kind: new Uint8Array(length),
    number: new Float64Array(length),
    integer: new BigInt64Array(length),
  };
}

/** What readings have of samples. */
export function readingsOf({ length, sourceMs, ingestMs, kind, number, integer }: SampleColumns): ReadingColumns {
  return { length, sourceMs, ingestMs, kind, number, integer };
}

/** First of the rows [low, high), which are sorted, at or after a time. */
export function seek(times: Float64Array, low: number, high: number, ms: number): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((times[middle] as number) < ms) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Those of [sinceMs, untilMs). */
export function between({ columns, first, end }: Readings, sinceMs: number, untilMs: number): Readings {
  const from = seek(columns.sourceMs, first, end, sinceMs);
  return { columns, first: from, end: seek(columns.sourceMs, from, end, untilMs) };
}

/** The number that a reading says; undefined for one that says none. */
export function numberAt({ kind, number, integer }: ReadingColumns, i: number): number | bigint | undefined {
  if (kind[i] === Kind.number) return number[i];
  return kind[i] === Kind.integer ? integer[i] : undefined;
}
