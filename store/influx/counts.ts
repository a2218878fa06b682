import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { hourMs } from "@jilian/domain/periods.ts";
import type { CountColumns } from "../columns/packing.ts";
import type { SeriesId } from "../telemetry.ts";
import type { InfluxClient } from "./client.ts";
import { bySeries, type SeriesBook } from "./series.ts";
import { lastTimeMs, tagIs, within } from "./text.ts";

/** Devices whose condition still makes one statement; of more on one node the whole node is counted and sorted out here. */
const fewDevices = 50;
/** Time that one statement covers. */
const pieceMs = 24 * hourMs;

/** Pieces [from, to) of a range as InfluxDB's time can hold it. */
function* pieces(fromMs: number, toMs: number): Generator<[number, number]> {
  const endMs = Math.min(toMs, lastTimeMs + 1);
  for (let from = Math.max(0, fromMs); from < endMs; from += pieceMs) yield [from, Math.min(endMs, from + pieceMs)];
}

/** What holds for points of some devices of each node: never for the whole store, whose answer knows no bound. */
function conditions(book: SeriesBook, series: Iterable<SeriesId>): string[] {
  const nodes = new Map<string, Set<string>>();
  for (const id of series) {
    const { group, node, device } = book.get(id).key;
    // What is empty is no tag of a point; what else matches then is left out of the answer.
    const tags = [["group", group] as const, ["node", node] as const].filter(([, text]) => text !== "");
    const rule = tags.map(([name, text]) => tagIs(name, text)).join(" AND ");
    getOrMake(nodes, rule, () => new Set()).add(device);
  }
  return [...nodes].map(([rule, devices]) => {
    const all = devices.size > fewDevices || devices.has("");
    const own = all ? "" : `(${[...devices].map((device) => tagIs("device", device)).join(" OR ")})`;
    return [rule, own].filter((part) => part !== "").join(" AND ");
  });
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
  const rules = conditions(book, wanted);
  for (const [from, to] of pieces(fromMs, toMs)) {
    const statements = rules.map((rule) => {
      const where = [within(from, to), rule].filter((part) => part !== "").join(" AND ");
      return `SELECT count("status") FROM "sample" WHERE ${where} ${bySeries}, time(1h) fill(none)`;
    });
    for (const { tags, values } of (await client.queryAll(statements)).flat()) {
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
