import { BIGINT, type DuckDBConnection, type DuckDBValue } from "@duckdb/node-api";
import { greatestOf, leastOf } from "@jilian/domain/lists.ts";
import {
  type ConnectionColumns,
  type FieldColumns,
  type LeafColumns,
  type ResultColumns,
  type RollupColumns,
  rowsOf,
  type StateColumns,
} from "../columns/packing.ts";
import type { MinuteResultQuery, RollupUnit } from "../telemetry.ts";
import { append, type Column, transaction } from "./database.ts";
import {
  connectionTable,
  fieldsOf,
  leafTable,
  listOf,
  resultTable,
  rollupTable,
  stateTable,
  type Table,
} from "./derived-tables.ts";
import { newestRows } from "./newest-rows.ts";
import { whole } from "./reads.ts";

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

type Reading = {
  order?: string;
  limit?: number;
  /** Series of which rows count; all that the rules give if absent. */
  series?: ReadonlySet<number> | undefined;
};

/**
 * A text for a query. Queries are texts as a whole: one that binds values goes three times between threads, and takes twice as long where
 * little is read. A text of the interface ends at its first NUL.
 */
const literal = (text: string): string => `'${text.replaceAll("'", "''").replaceAll("\u0000", "' || chr(0) || '")}'`;

/**
 * That a column is one of some texts. As one list: `IN` makes a join of more than a few, and takes longer to plan than a small table to read.
 */
function isOneOf(column: string, texts: readonly string[]): string {
  return texts.length === 0 ? "false" : `list_contains([${texts.map(literal).join(", ")}], ${column})`;
}

/** The newest rows, found and sorted by the database: of many rows only a page is wanted. */
async function readPage<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  rules: readonly string[],
  { order = table.key, limit = 0 }: Reading,
): Promise<DuckDBValue[][]> {
  const newest = `row_number() OVER (PARTITION BY ${table.key} ORDER BY version DESC) = 1`;
  const result = await connection.run(
    `SELECT ${listOf(table)} FROM (SELECT * FROM ${table.name} WHERE ${rules.join(" AND ")} QUALIFY ${newest})
      ORDER BY ${order} LIMIT ${whole(Math.max(0, limit))}`,
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
  { order = table.key, series }: Reading,
): Promise<DuckDBValue[][]> {
  const result = await connection.run(
    `SELECT ${listOf(table)}, version::DOUBLE FROM ${table.name} WHERE ${rules.join(" AND ")}`,
  );
  const columns = await result.getColumns();
  const versions = columns.pop() ?? [];
  const names = fieldsOf(table).map(([, column]) => column);
  const named = (list: string) => list.split(", ").map((name) => columns[names.indexOf(name)] ?? []);
  const [first = []] = columns;
  const rows = newestRows(
    named(table.key),
    named(order),
    versions,
    (row) => !series || series.has(first[row] as number),
  );
  return columns.map((column) => rows.map((row) => column[row] as DuckDBValue));
}

async function readNewest<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  rules: readonly string[],
  reading: Reading = {},
): Promise<FieldColumns<T>> {
  const { limit = Infinity } = reading;
  const read = limit < Number.MAX_SAFE_INTEGER ? readPage : readAll;
  const columns = await read(connection, table, rules, reading);
  return Object.fromEntries(fieldsOf(table).map(([field], k) => [field, columns[k] ?? []])) as FieldColumns<T>;
}

const within = (column: string, fromMs: number, toMs: number): string =>
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

/** The latest start of a period with minute results, UTC ms; -Infinity where there are none. */
export async function lastResultMs(connection: DuckDBConnection): Promise<number> {
  const found = await connection.run("SELECT max(start_ms)::DOUBLE FROM minute_result");
  const [[last] = []] = await found.getRows();
  return last === null || last === undefined ? Number.NEGATIVE_INFINITY : Number(last);
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
  const listed = some.length === 0 ? [] : [isOneOf("key", some)];
  return await readNewest(connection, rollupTable, [
    `unit = ${literal(unit)}`,
    within("start_ms", fromMs, toMs),
    ...listed,
  ]);
}

/** So few series are named one by one; and so many times as many that lie between others. */
const fewSeries = 3;
const sparse = 4;

/** The newest rows of some series in [fromMs, toMs). */
async function readSeries<T>(
  connection: DuckDBConnection,
  table: Table<T>,
  series: readonly number[],
  fromMs: number,
  toMs: number,
): Promise<FieldColumns<T>> {
  if (series.length === 0) return await readNewest(connection, table, ["false"]);
  const [first, last] = [leastOf(series), greatestOf(series)];
  const isFew = series.length <= fewSeries || last - first >= sparse * series.length;
  // Most questions are about nearly all series: what lies between is left out here, faster than a join with their list.
  const listed = isFew
    ? `series IN (${series.map(whole).join(", ")})`
    : `series BETWEEN ${whole(first)} AND ${whole(last)}`;
  const rules = [within("minute_ms", fromMs, toMs), listed];
  return await readNewest(connection, table, rules, { series: isFew ? undefined : new Set(series) });
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
  const listed = devices.length === 0 ? [] : [isOneOf("device", devices)];
  return await readNewest(connection, connectionTable, [within("minute_ms", fromMs, toMs), ...listed]);
}

export async function readResults(connection: DuckDBConnection, query: MinuteResultQuery): Promise<ResultColumns> {
  const { level, period, indicator, entity, entities, limit } = query;
  const rules = Object.entries({ level, period, indicator, entity }).flatMap(([column, value]) =>
    value === undefined ? [] : [`${column} = ${literal(value)}`],
  );
  if (entities) rules.push(isOneOf("entity", entities));
  const reading = { order: "start_ms, entity, indicator", limit };
  return await readNewest(connection, resultTable, [within("start_ms", query.fromMs, query.toMs), ...rules], reading);
}
