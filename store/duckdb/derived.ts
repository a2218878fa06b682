import {
  BIGINT,
  BOOLEAN,
  DOUBLE,
  type DuckDBConnection,
  type DuckDBType,
  type DuckDBValue,
  HUGEINT,
  INTEGER,
  VARCHAR,
} from "@duckdb/node-api";
import type { Result } from "@jilian/domain/result.ts";
import {
  type ConnectionColumns,
  type FieldColumns,
  type FlatLeaf,
  type FlatState,
  type LeafColumns,
  type ResultColumns,
  type RollupColumns,
  rowsOf,
  type StateColumns,
} from "../columns/packing.ts";
import type { ConnectionRow, ResultQuery, RollupRow, RollupUnit } from "../telemetry.ts";
import { append, type Column, transaction } from "./database.ts";
import { whole } from "./reads.ts";

/** Where each field of a row is stored. 64-bit columns whose field is a number leave as DOUBLE, exact to 2^53. */
type Table<T> = {
  readonly name: string;
  readonly key: string;
  readonly columns: { readonly [K in keyof T]-?: readonly [column: string, type: DuckDBType] };
};

const leafTable: Table<FlatLeaf> = {
  name: "leaf",
  key: "series, minute_ms",
  columns: {
    series: ["series", INTEGER],
    minuteMs: ["minute_ms", BIGINT],
    amount: ["amount", HUGEINT],
    left: ["left_part", HUGEINT],
    right: ["right_part", HUGEINT],
    inGap: ["in_gap", BOOLEAN],
    coveredMs: ["covered_ms", INTEGER],
    gapMs: ["gap_ms", INTEGER],
    samples: ["samples", INTEGER],
    resets: ["resets", INTEGER],
  },
};
const stateTable: Table<FlatState> = {
  name: "state_leaf",
  key: "series, minute_ms",
  columns: {
    series: ["series", INTEGER],
    minuteMs: ["minute_ms", BIGINT],
    ms: ["ms", VARCHAR],
    unknownMs: ["unknown_ms", INTEGER],
    samples: ["samples", INTEGER],
  },
};
const connectionTable: Table<ConnectionRow> = {
  name: "connection",
  key: "device, minute_ms",
  columns: { device: ["device", VARCHAR], minuteMs: ["minute_ms", BIGINT], onlineMs: ["online_ms", INTEGER] },
};
const rollupTable: Table<RollupRow> = {
  name: "rollup",
  key: "unit, start_ms, key",
  columns: {
    unit: ["unit", VARCHAR],
    startMs: ["start_ms", BIGINT],
    key: ["key", VARCHAR],
    body: ["body", VARCHAR],
  },
};
const resultTable: Table<Result> = {
  name: "minute_result",
  key: "indicator, level, entity, period, start_ms",
  columns: {
    indicator: ["indicator", VARCHAR],
    level: ["level", VARCHAR],
    entity: ["entity", VARCHAR],
    period: ["period", VARCHAR],
    startMs: ["start_ms", BIGINT],
    endMs: ["end_ms", BIGINT],
    value: ["value", VARCHAR],
    reason: ["reason", VARCHAR],
    unit: ["unit", VARCHAR],
    completeness: ["completeness", DOUBLE],
    estimatedShare: ["estimated_share", DOUBLE],
    lowerBound: ["lower_bound", BOOLEAN],
    status: ["status", VARCHAR],
    revision: ["revision", INTEGER],
    definitionVersion: ["definition_version", INTEGER],
    factorTable: ["factor_table", VARCHAR],
    registryVersion: ["registry_version", VARCHAR],
    inputWatermark: ["input_watermark", BIGINT],
    asOfMs: ["as_of_ms", BIGINT],
    simulated: ["simulated", BOOLEAN],
  },
};

/** Fields of a table in the order of its columns. */
function fieldsOf<T>(table: Table<T>): [field: keyof T, column: string, type: DuckDBType][] {
  const entries = Object.entries<readonly [string, DuckDBType]>(table.columns);
  return entries.map(([field, [column, type]]) => [field as keyof T, column, type]);
}

async function appendVersions<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  from: FieldColumns<T>,
  version: number,
): Promise<number> {
  const rows = rowsOf(from);
  if (rows === 0) return version;
  const stored = fieldsOf(table).map(([field, , type]): Column => {
    const values = from[field] as DuckDBValue[];
    if (type !== BIGINT) return [type, (i) => values[i] as DuckDBValue];
    return [type, (i) => BigInt(values[i] as number)];
  });
  await append(connection, table.name, rows, [...stored, [BIGINT, (i) => BigInt(version + i + 1)]]);
  return version + rows;
}

/** Compares rows by columns of numbers or of texts. */
function byColumns(columns: readonly (readonly DuckDBValue[])[]) {
  return (a: number, b: number): number => {
    for (const column of columns) {
      const [x, y] = [column[a] as number | string, column[b] as number | string];
      if (x !== y) return x < y ? -1 : 1;
    }
    return 0;
  };
}

/** Numbers of the rows that count, in order: of each key the one with the greatest version. */
function newestRows(
  key: readonly (readonly DuckDBValue[])[],
  order: readonly (readonly DuckDBValue[])[],
  versions: readonly DuckDBValue[],
): number[] {
  const newest = new Map<string, number>();
  for (const [row, version] of versions.entries()) {
    const id = key.map((column) => column[row]).join("\u0000");
    const before = newest.get(id);
    if (before === undefined || (version as number) > (versions[before] as number)) newest.set(id, row);
  }
  return [...newest.values()].sort(byColumns(order));
}

type Reading = { order?: string; limit?: number };

/** The newest rows, found and sorted by the database: of many rows only a page is wanted. */
async function readPage<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  rules: readonly string[],
  values: DuckDBValue[],
  { order = table.key, limit = 0 }: Reading,
): Promise<DuckDBValue[][]> {
  const newest = `row_number() OVER (PARTITION BY ${table.key} ORDER BY version DESC) = 1`;
  const result = await connection.run(
    `SELECT ${listOf(table)} FROM (SELECT * FROM ${table.name} WHERE ${rules.join(" AND ")} QUALIFY ${newest})
      ORDER BY ${order} LIMIT ${whole(Math.max(0, limit))}`,
    values,
  );
  return await result.getColumns();
}

/**
 * The newest rows, all of them. Few rows have more than one version: finding the newest and sorting them here costs a quarter of what the
 * database's window and sort do.
 */
async function readAll<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  rules: readonly string[],
  values: DuckDBValue[],
  { order = table.key }: Reading,
): Promise<DuckDBValue[][]> {
  const result = await connection.run(
    `SELECT ${listOf(table)}, version::DOUBLE FROM ${table.name} WHERE ${rules.join(" AND ")}`,
    values,
  );
  const columns = await result.getColumns();
  const versions = columns.pop() ?? [];
  const names = fieldsOf(table).map(([, column]) => column);
  const named = (list: string) => list.split(", ").map((name) => columns[names.indexOf(name)] ?? []);
  const rows = newestRows(named(table.key), named(order), versions);
  return columns.map((column) => rows.map((row) => column[row] as DuckDBValue));
}

/** Select list of a table's fields. */
function listOf<T>(table: Table<T>): string {
  return fieldsOf(table)
    .map(([, column, type]) => (type === BIGINT ? `${column}::DOUBLE` : column))
    .join(", ");
}

async function readNewest<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  rules: readonly string[],
  values: DuckDBValue[],
  reading: Reading = {},
): Promise<FieldColumns<T>> {
  const { limit = Infinity } = reading;
  const read = limit < Number.MAX_SAFE_INTEGER ? readPage : readAll;
  const columns = await read(connection, table, rules, values, reading);
  return Object.fromEntries(fieldsOf(table).map(([field], k) => [field, columns[k] ?? []])) as FieldColumns<T>;
}

const within = (column: string, fromMs: number, toMs: number) =>
  `${column} >= ${whole(fromMs)} AND ${column} < ${whole(toMs)}`;

/** Greatest version among all derived rows: the next row written gets the one after it. */
export async function lastVersion(connection: DuckDBConnection): Promise<number> {
  const each = [leafTable, stateTable, connectionTable, rollupTable, resultTable].map(
    ({ name }) => `SELECT max(version) AS version FROM ${name}`,
  );
  const [[version] = []] = await (
    await connection.run(`SELECT max(version)::DOUBLE FROM (${each.join(" UNION ALL ")})`)
  ).getRows();
  return Number(version ?? 0);
}

/** @returns the last version given out */
export async function storeLeaves(
  connection: DuckDBConnection,
  leaves: LeafColumns,
  connections: ConnectionColumns,
  states: StateColumns,
  version: number,
): Promise<number> {
  return await transaction(connection, async () => {
    let last = await appendVersions(connection, leafTable, leaves, version);
    last = await appendVersions(connection, stateTable, states, last);
    return await appendVersions(connection, connectionTable, connections, last);
  });
}

/** @returns the last version given out */
export async function storeResults(
  connection: DuckDBConnection,
  results: ResultColumns,
  version: number,
): Promise<number> {
  return await transaction(connection, () => appendVersions(connection, resultTable, results, version));
}

/** @returns the last version given out */
export async function storeRollups(
  connection: DuckDBConnection,
  rows: RollupColumns,
  version: number,
): Promise<number> {
  return await transaction(connection, () => appendVersions(connection, rollupTable, rows, version));
}

/** More keys than this are cheaper to read all together. */
const mostKeys = 500;

export async function readRollups(
  connection: DuckDBConnection,
  unit: RollupUnit,
  keys: readonly string[],
  fromMs: number,
  toMs: number,
): Promise<RollupColumns> {
  const some = keys.length > mostKeys ? [] : keys;
  const listed = some.length === 0 ? [] : [`key IN (${some.map((_, i) => `$${i + 2}`).join(", ")})`];
  return await readNewest(
    connection,
    rollupTable,
    ["unit = $1", within("start_ms", fromMs, toMs), ...listed],
    [unit, ...some],
  );
}

/** The newest rows of some series in [fromMs, toMs). */
async function readSeries<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  series: readonly number[],
  fromMs: number,
  toMs: number,
): Promise<FieldColumns<T>> {
  const listed = series.length === 0 ? "false" : `series IN (${series.map(whole).join(", ")})`;
  return await readNewest(connection, table, [within("minute_ms", fromMs, toMs), listed], []);
}

export async function readLeaves(
  connection: DuckDBConnection,
  series: readonly number[],
  fromMs: number,
  toMs: number,
): Promise<LeafColumns> {
  return await readSeries(connection, leafTable, series, fromMs, toMs);
}

export async function readStates(
  connection: DuckDBConnection,
  series: readonly number[],
  fromMs: number,
  toMs: number,
): Promise<StateColumns> {
  return await readSeries(connection, stateTable, series, fromMs, toMs);
}

export async function readConnections(
  connection: DuckDBConnection,
  devices: readonly string[],
  fromMs: number,
  toMs: number,
): Promise<ConnectionColumns> {
  const listed = devices.length === 0 ? [] : [`device IN (${devices.map((_, i) => `$${i + 1}`).join(", ")})`];
  return await readNewest(connection, connectionTable, [within("minute_ms", fromMs, toMs), ...listed], [...devices]);
}

export async function readResults(connection: DuckDBConnection, query: ResultQuery): Promise<ResultColumns> {
  const wanted = Object.entries({
    level: query.level,
    period: query.period,
    indicator: query.indicator,
    entity: query.entity,
  }).filter((rule): rule is [string, string] => rule[1] !== undefined);
  return await readNewest(
    connection,
    resultTable,
    [within("start_ms", query.fromMs, query.toMs), ...wanted.map(([column], i) => `${column} = $${i + 1}`)],
    wanted.map(([, value]) => value),
    { order: "start_ms, entity, indicator", limit: query.limit },
  );
}
