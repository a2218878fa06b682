import { copyRow, emptyColumns, type SampleColumns } from "../columns/columns.ts";
import type { Window } from "../telemetry.ts";
import type { Block, Cell } from "./answer.ts";
import type { InfluxClient } from "./client.ts";
import { sampleFields, samplesOf, valueFields } from "./samples.ts";
import { bySeries, type SeriesBook } from "./series.ts";
import { within } from "./text.ts";

/** What is asked of one series: a condition on time and fields, and how many rows from which end. */
export type Asked = { series: number; where: string; order?: "ASC" | "DESC"; limit?: number };

/** Time of series that one piece of a window covers, and that the pieces of one request do: at a sample a second, 170,000 rows. */
const pieceMs = 12 * 3_600_000;
const requestMs = 4 * pieceMs;

/** The statement for points of one series in a measurement of samples or leaves. */
export function seriesStatement(
  book: SeriesBook,
  measurement: string,
  fields: string,
  { series, where, order = "ASC", limit }: Asked,
): string {
  const { condition, exact } = book.get(series);
  const rule = [condition, where].filter((part) => part !== "").join(" AND ");
  const groups = exact ? "" : ` ${bySeries}`;
  const most = limit === undefined ? "" : ` LIMIT ${limit}`;
  return `SELECT ${fields} FROM "${measurement}" WHERE ${rule}${groups} ORDER BY time ${order}${most}`;
}

/** Those blocks of its answer that are the series' own. */
export function ownBlocks(book: SeriesBook, series: number, blocks: readonly Block[]): readonly Block[] {
  return book.get(series).exact ? blocks : blocks.filter(({ tags }) => book.idOf(tags) === series);
}

export type SampleReader = {
  /** Samples of one series each, in the order asked. */
  readonly pick: (asked: readonly Asked[]) => Promise<SampleColumns[]>;
  /** Samples of windows, each by source time, in pieces that keep answers short. */
  readonly windows: (asked: readonly Window[], where?: string) => Promise<SampleColumns[]>;
  /** Source times of the samples of windows that have a value, likewise. */
  readonly times: (asked: readonly Window[], where: string) => Promise<number[][]>;
};

/** Rows of several columns, one after the other. */
export function concat(parts: readonly SampleColumns[]): SampleColumns {
  if (parts.length === 1) return parts[0] as SampleColumns;
  const to = emptyColumns(parts.reduce((sum, { length }) => sum + length, 0));
  let j = 0;
  for (const part of parts) for (let i = 0; i < part.length; i += 1) copyRow(part, i, to, j++);
  return to;
}

/** Windows cut into pieces, in groups that make one request. */
function* requestsOf(asked: readonly Window[], where: string): Generator<(Asked & { window: number })[]> {
  let request: (Asked & { window: number })[] = [];
  let sizeMs = 0;
  for (const [window, { series, fromMs, toMs }] of asked.entries()) {
    let from = fromMs;
    do {
      const to = Math.min(toMs, from + pieceMs);
      request.push({ series, where: where === "" ? within(from, to) : `${within(from, to)} AND ${where}`, window });
      sizeMs += to - from;
      if (sizeMs >= requestMs) {
        yield request;
        request = [];
        sizeMs = 0;
      }
      from = to;
    } while (from < toMs);
  }
  if (request.length > 0) yield request;
}

function timesOf(blocks: readonly Block[]): number[] {
  const withValue = (row: readonly Cell[]) => row.some((cell, k) => k > 0 && cell !== null);
  return blocks.flatMap(({ values }) => values.filter(withValue).map(([ms]) => Number(ms)));
}

/** Reads samples by statements of one series each: in 1.x they are faster than one statement for many, and each has its own times. */
export function sampleReader(client: InfluxClient, book: SeriesBook): SampleReader {
  async function ask<T>(
    asked: readonly Asked[],
    fields: string,
    decode: (series: number, blocks: readonly Block[]) => T,
  ): Promise<T[]> {
    const answers = await client.queryAll(asked.map((one) => seriesStatement(book, "sample", fields, one)));
    return asked.map(({ series }, i) => decode(series, ownBlocks(book, series, answers[i] ?? [])));
  }

  /** What the pieces of each window decode to. */
  async function inPieces<T>(
    asked: readonly Window[],
    where: string,
    fields: string,
    decode: (series: number, blocks: readonly Block[]) => T,
  ): Promise<T[][]> {
    const found: T[][] = asked.map(() => []);
    for (const request of requestsOf(asked, where)) {
      const answers = await ask(request, fields, decode);
      for (const [i, { window }] of request.entries()) found[window]?.push(answers[i] as T);
    }
    return found;
  }

  return {
    pick: (asked) => ask(asked, sampleFields, samplesOf),
    windows: async (asked, where = "") => (await inPieces(asked, where, sampleFields, samplesOf)).map(concat),
    times: async (asked, where) =>
      (await inPieces(asked, where, valueFields, (_, blocks) => timesOf(blocks))).map((pieces) => pieces.flat()),
  };
}
