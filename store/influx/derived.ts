import type { Result } from "@jilian/domain/result.ts";
import type {
  ConnectionRow,
  LeafRow,
  MinuteResultQuery,
  RollupRow,
  RollupUnit,
  SeriesId,
  StateRow,
} from "../telemetry.ts";
import type { Block, Cell } from "./answer.ts";
import type { InfluxClient } from "./client.ts";
import { readResults, resultPoint } from "./results.ts";
import { bySeries, type SeriesBook } from "./series.ts";
import { ownBlocks, seriesStatement } from "./spans.ts";
import { fromTagValue, lineTag, lineText, type Point, tagIs, within } from "./text.ts";

/** More series or devices than this are cheaper to read all together and to pick from. */
const mostApart = 200;

const leafFields = `"amount", "left", "right", "in_gap", "covered_ms", "gap_ms", "samples", "resets"`;
const stateFields = `"ms", "unknown_ms", "samples"`;
const deviceTags = ["factory", "gateway", "device"] as const;
const byDevice = `GROUP BY ${deviceTags.map((name) => `"${name}"`).join(", ")}`;

async function writePoints(client: InfluxClient, points: Iterable<Point>): Promise<void> {
  const lines = new Map<string, string>();
  for (const { head, fields, timeMs } of points) lines.set(`${head} ${timeMs}`, `${head} ${fields} ${timeMs}`);
  if (lines.size > 0) await client.write([...lines.values()]);
}

/** Sums may be of any size: they are decimal texts. Every field is always written, as a rewrite keeps what it does not name. */
function leafPoint({ series, minuteMs: timeMs, leaf }: LeafRow, book: SeriesBook): Point {
  const sums = `amount="${leaf.amount}",left="${leaf.left}",right="${leaf.right}",in_gap=${leaf.inGap}`;
  const counts = `covered_ms=${leaf.coveredMs}i,gap_ms=${leaf.gapMs}i,samples=${leaf.samples}i,resets=${leaf.resets}i`;
  return { head: `leaf${book.get(series).tags}`, fields: `${sums},${counts}`, timeMs };
}

function statePoint({ series, minuteMs: timeMs, leaf }: StateRow, book: SeriesBook): Point {
  const fields = `ms=${lineText(JSON.stringify(leaf.ms))},unknown_ms=${leaf.unknownMs}i,samples=${leaf.samples}i`;
  return { head: `state_leaf${book.get(series).tags}`, fields, timeMs };
}

/** The parts of `factory/gateway/device` that are there. */
function deviceParts(device: string): string[] {
  const [factory = "", gateway, ...rest] = device.toWellFormed().split("/");
  return gateway === undefined
    ? [factory]
    : rest.length === 0
      ? [factory, gateway]
      : [factory, gateway, rest.join("/")];
}

function connectionPoint({ device, minuteMs: timeMs, onlineMs }: ConnectionRow): Point {
  const parts = deviceParts(device);
  // Sorted by name, as InfluxDB keeps them.
  const tags = [2, 0, 1].map((k) => lineTag(deviceTags[k] as string, parts[k] ?? "")).join("");
  return { head: `connection${tags}`, fields: `online_ms=${Math.round(onlineMs)}i`, timeMs };
}

/** Leaves, connections and figures: what is computed from samples and can be computed again. */
export type Derived = {
  readonly writeLeaves: (
    leaves: readonly LeafRow[],
    connections: readonly ConnectionRow[],
    states: readonly StateRow[],
  ) => Promise<void>;
  readonly readLeaves: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<LeafRow[]>;
  readonly readStates: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<StateRow[]>;
  readonly readConnections: (devices: readonly string[], fromMs: number, toMs: number) => Promise<ConnectionRow[]>;
  readonly writeRollups: (rows: readonly RollupRow[]) => Promise<void>;
  readonly readRollups: (
    unit: RollupUnit,
    keys: readonly string[],
    fromMs: number,
    toMs: number,
  ) => Promise<RollupRow[]>;
  readonly writeResults: (results: readonly Result[]) => Promise<void>;
  readonly readResults: (query: MinuteResultQuery) => Promise<Result[]>;
};

/** Rows of some series in a measurement, by series and time. */
function seriesRows<T>(
  client: InfluxClient,
  book: SeriesBook,
  measurement: string,
  fields: string,
  toRow: (series: SeriesId, minuteMs: number, cells: readonly Cell[]) => T,
): (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<T[]> {
  return async (series, fromMs, toMs) => {
    const wanted = [...new Set(series)].sort((a, b) => a - b);
    const where = within(fromMs, toMs);
    const found = new Map<SeriesId, readonly Block[]>();
    if (wanted.length > mostApart) {
      const all = await client.query(`SELECT ${fields} FROM "${measurement}" WHERE ${where} ${bySeries}`);
      for (const block of all) {
        const id = book.idOf(block.tags);
        if (id !== undefined) found.set(id, [block]);
      }
    } else {
      const answers = await client.queryAll(
        wanted.map((id) => seriesStatement(book, measurement, fields, { series: id, where })),
      );
      for (const [i, id] of wanted.entries()) found.set(id, ownBlocks(book, id, answers[i] ?? []));
    }
    return wanted.flatMap((id) =>
      (found.get(id) ?? []).flatMap(({ values }) => values.map(([ms, ...cells]) => toRow(id, Number(ms), cells))),
    );
  };
}

function toLeafRow(series: SeriesId, minuteMs: number, cells: readonly Cell[]): LeafRow {
  const [amount, left, right, inGap, coveredMs, gapMs, samples, resets] = cells;
  const sum = (cell: Cell | undefined) => BigInt(String(cell));
  return {
    series,
    minuteMs,
    leaf: {
      amount: sum(amount),
      left: sum(left),
      right: sum(right),
      inGap: inGap === true,
      coveredMs: Number(coveredMs),
      gapMs: Number(gapMs),
      samples: Number(samples),
      resets: Number(resets),
    },
  };
}

function toStateRow(series: SeriesId, minuteMs: number, [ms, unknownMs, samples]: readonly Cell[]): StateRow {
  const leaf = { ms: JSON.parse(String(ms)), unknownMs: Number(unknownMs), samples: Number(samples) };
  return { series, minuteMs, leaf };
}

function deviceOf(tags: Block["tags"]): string {
  return deviceTags
    .map((name) => fromTagValue(tags[name] ?? ""))
    .filter((part, k) => k === 0 || part !== "")
    .join("/");
}

async function readConnections(
  client: InfluxClient,
  devices: readonly string[],
  fromMs: number,
  toMs: number,
): Promise<ConnectionRow[]> {
  const select = `SELECT "online_ms" FROM "connection" WHERE ${within(fromMs, toMs)}`;
  const wanted = new Set(devices.map((device) => device.toWellFormed()));
  const statements =
    wanted.size === 0 || wanted.size > mostApart
      ? [`${select} ${byDevice}`]
      : [...wanted].map((device) => {
          const rules = deviceParts(device).flatMap((part, k) =>
            part === "" ? [] : [tagIs(deviceTags[k] as string, part)],
          );
          return `${[select, ...rules].join(" AND ")} ${byDevice}`;
        });
  const blocks = (await client.queryAll(statements)).flat();
  const rows = blocks.flatMap(({ tags, values }) => {
    const device = deviceOf(tags);
    if (wanted.size > 0 && !wanted.has(device)) return [];
    return values.map(([ms, onlineMs]) => ({ device, minuteMs: Number(ms), onlineMs: Number(onlineMs) }));
  });
  return rows.sort((a, b) => (a.device < b.device ? -1 : a.device > b.device ? 1 : a.minuteMs - b.minuteMs));
}

function rollupPoint({ unit, startMs: timeMs, key, body }: RollupRow): Point {
  return { head: `rollup${lineTag("key", key)}${lineTag("unit", unit)}`, fields: `body=${lineText(body)}`, timeMs };
}

async function readRollups(
  client: InfluxClient,
  unit: RollupUnit,
  keys: readonly string[],
  fromMs: number,
  toMs: number,
): Promise<RollupRow[]> {
  const select = `SELECT "body" FROM "rollup" WHERE ${tagIs("unit", unit)} AND ${within(fromMs, toMs)}`;
  const some = keys.length > mostApart ? [] : [...new Set(keys)];
  const statements =
    some.length === 0
      ? [`${select} GROUP BY "key"`]
      : some.map((key) => `${select} AND ${tagIs("key", key)} GROUP BY "key"`);
  const blocks = (await client.queryAll(statements)).flat();
  return blocks.flatMap(({ tags, values }) =>
    values.map(([ms, body]) => ({
      unit,
      startMs: Number(ms),
      key: fromTagValue(tags.key ?? ""),
      body: String(body),
    })),
  );
}

export function derivedStore(client: InfluxClient, book: SeriesBook): Derived {
  return {
    writeLeaves: async (leaves, connections, states) => {
      await writePoints(client, [
        ...leaves.map((row) => leafPoint(row, book)),
        ...states.map((row) => statePoint(row, book)),
        ...connections.map(connectionPoint),
      ]);
    },
    readLeaves: seriesRows(client, book, "leaf", leafFields, toLeafRow),
    readStates: seriesRows(client, book, "state_leaf", stateFields, toStateRow),
    readConnections: (devices, fromMs, toMs) => readConnections(client, devices, fromMs, toMs),
    writeRollups: (rows) => writePoints(client, rows.map(rollupPoint)),
    readRollups: (unit, keys, fromMs, toMs) => readRollups(client, unit, keys, fromMs, toMs),
    writeResults: (results) => writePoints(client, results.map(resultPoint)),
    readResults: (query) => readResults(client, query),
  };
}
