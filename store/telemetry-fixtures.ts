import { DataType, type DataTypeNumber, type Value } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { packSamples, valueAt } from "./columns/columns.ts";
import { type Readings, readingsOf } from "./columns/readings.ts";
import type { SampleRow, SeriesId, StoredRow, Telemetry } from "./telemetry.ts";

/** A full minute to count from: 2026-03-01T00:00:00Z. */
export const startMs = 1_772_323_200_000;

/** Makes series `names`, in the order given, in one gateway. */
export async function makeSeries(
  store: Telemetry,
  names: readonly string[],
  datatype: DataTypeNumber = DataType.Double,
): Promise<SeriesId[]> {
  return await store.ensureSeries(
    names.map((metric) => ({
      group: "factory-1",
      node: "gateway-1",
      device: "press-1",
      metric,
      definition: { name: metric, datatype, simulated: true },
    })),
  );
}

/** A sample `atMs` after the start. */
export function sample(series: SeriesId, atMs: number, value: Value, status: number = Status.Good): SampleRow {
  const sourceTimeMs = startMs + atMs;
  return { series, sourceTimeMs, value, status, gatewayTimeMs: sourceTimeMs + 20, ingestTimeMs: sourceTimeMs + 300 };
}

/** A stored row as milliseconds after the start and value. */
export const brief = (row: Pick<StoredRow, "sourceTimeMs" | "value">): [number, Value] => [
  row.sourceTimeMs - startMs,
  row.value,
];

/** Rows as the store gives them for folding. */
export function asReadings(rows: readonly SampleRow[]): Readings {
  return { columns: readingsOf(packSamples(rows)), first: 0, end: rows.length };
}

/** What readings say, as rows. Of a text they say that it is one. */
export function listed({
  columns,
  first,
  end,
}: Readings): { sourceTimeMs: number; ingestTimeMs: number; value: Value }[] {
  const texts = { ...columns, text: { get: () => "a text" } };
  return Array.from({ length: end - first }, (_, i) => ({
    sourceTimeMs: columns.sourceMs[first + i] as number,
    ingestTimeMs: columns.ingestMs[first + i] as number,
    value: valueAt(texts, first + i),
  }));
}

/** All samples of a series. */
export async function readAll(store: Telemetry, series: SeriesId): Promise<StoredRow[]> {
  return await store.read({ series, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER }, 1_000_000);
}
