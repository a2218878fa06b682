import { hourMs } from "@jilian/domain/periods.ts";
import type { CountColumns } from "../columns/packing.ts";
import type { SeriesId } from "../telemetry.ts";
import type { InfluxClient } from "./client.ts";
import { bySeries, type SeriesBook } from "./series.ts";
import { lastTimeMs, within } from "./text.ts";

/** Series whose condition still makes one statement; more are counted all together and sorted out here. */
const fewSeries = 100;
/** Time that one statement covers. */
const pieceMs = 24 * hourMs;

/** Pieces [from, to) of a range as InfluxDB's time can hold it. */
function* pieces(fromMs: number, toMs: number): Generator<[number, number]> {
  const endMs = Math.min(toMs, lastTimeMs + 1);
  for (let from = Math.max(0, fromMs); from < endMs; from += pieceMs) yield [from, Math.min(endMs, from + pieceMs)];
}

/** Stored samples of series by hour: the status is written with every sample, so its count is theirs. */
export async function readCounts(
  client: InfluxClient,
  book: SeriesBook,
  series: readonly SeriesId[],
  fromMs: number,
  toMs: number,
): Promise<CountColumns> {
  const wanted = new Set(series);
  const found: [number, number, number][] = [];
  if (wanted.size === 0) return columnsOf(found);
  const rule = [...wanted].map((id) => `(${book.get(id).condition})`).join(" OR ");
  const only = wanted.size <= fewSeries ? ` AND (${rule})` : "";
  for (const [from, to] of pieces(fromMs, toMs)) {
    const blocks = await client.query(
      `SELECT count("status") FROM "sample" WHERE ${within(from, to)}${only} ${bySeries}, time(1h) fill(none)`,
    );
    for (const { tags, values } of blocks) {
      const id = book.idOf(tags);
      if (id === undefined || !wanted.has(id)) continue;
      for (const [ms, samples] of values) if (Number(samples) > 0) found.push([id, Number(ms), Number(samples)]);
    }
  }
  return columnsOf(found.sort((a, b) => a[0] - b[0] || a[1] - b[1]));
}

function columnsOf(rows: readonly [number, number, number][]): CountColumns {
  return [0, 1, 2].map((k) => Float64Array.from(rows, (row) => row[k] as number));
}
