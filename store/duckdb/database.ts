import { mkdirSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { locks } from "node:worker_threads";
import {
  type DuckDBAppender,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBType,
  type DuckDBValue,
} from "@duckdb/node-api";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";

/** Rows of a DuckDB vector; a data chunk holds no more (STANDARD_VECTOR_SIZE). */
const chunkRows = 2048;

export type Setting = { path: string; memoryLimitMb: number; threads: number };

export type Database = {
  readonly connect: () => Promise<DuckDBConnection>;
  /** Releases the file; connections must be closed before. */
  readonly close: () => Promise<void>;
};

function locked(path: string, cause: unknown): JilianError {
  return new JilianError(`${path} is in use by another process or thread`, {
    code: "STORE_LOCKED",
    action: "open the telemetry store",
    address: path,
    remedy:
      "only one process can own the file: stop the other one, or ask its services; ingest and api share one by running together",
    cause,
  });
}

/**
 * Claims a path among the threads of this process. DuckDB's own lock is one of the process: a second opening inside it would succeed and
 * corrupt the file without a word.
 * @throws JilianError STORE_LOCKED
 */
async function claim(path: string): Promise<() => Promise<void>> {
  const claimed = Promise.withResolvers<() => void>();
  const held = locks.request(`jilian.telemetry:${path}`, { ifAvailable: true }, (lock) => {
    if (!lock) throw locked(path, undefined);
    return new Promise<void>((release) => claimed.resolve(release));
  });
  held.catch(claimed.reject);
  const release = await claimed.promise;
  return async () => {
    release();
    await held;
  };
}

/**
 * Opens a database file as its only owner; makes the file and its folder where absent.
 * @throws JilianError STORE_LOCKED when another process or thread has it, STORE_UNREADABLE when it is not a database or cannot be read
 */
export async function openDatabase(setting: Setting): Promise<Database> {
  mkdirSync(dirname(setting.path), { recursive: true });
  const path = join(realpathSync(dirname(setting.path)), basename(setting.path));
  const release = await claim(path);
  try {
    const instance = await DuckDBInstance.create(path, {
      threads: String(setting.threads),
      memory_limit: `${setting.memoryLimitMb}MB`,
      // The store reads and writes its own file and nothing else, whatever a query may say.
      enable_external_access: "false",
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    return {
      connect: () => instance.connect(),
      close: async () => {
        instance.closeSync();
        await release();
      },
    };
  } catch (thrown) {
    await release();
    if (/could not set lock|being used by another process/i.test(messageOf(thrown))) throw locked(path, thrown);
    throw new JilianError(`${path} cannot be opened: ${messageOf(thrown)}`, {
      code: "STORE_UNREADABLE",
      action: "open the telemetry store",
      address: path,
      remedy:
        "check that the path is right and readable, and that the file is one of this product; restore it from a backup otherwise",
      cause: thrown,
    });
  }
}

/** Runs work in a transaction: all of it is stored, or nothing. */
export async function transaction<T>(connection: DuckDBConnection, work: () => Promise<T>): Promise<T> {
  await connection.run("BEGIN");
  try {
    const result = await work();
    await connection.run("COMMIT");
    return result;
  } catch (thrown) {
    // After a failed COMMIT there is no transaction left; the first error is the one that tells.
    await connection.run("ROLLBACK").catch(() => undefined);
    throw thrown;
  }
}

/** Runs reads on one snapshot and leaves nothing behind: temporary tables made inside vanish with it. */
export async function snapshot<T>(connection: DuckDBConnection, work: () => Promise<T>): Promise<T> {
  await connection.run("BEGIN");
  try {
    return await work();
  } finally {
    await connection.run("ROLLBACK").catch(() => undefined);
  }
}

/** A column to append: its type and its value in row i. */
export type Column = readonly [type: DuckDBType, at: (i: number) => DuckDBValue];

function fill(appender: DuckDBAppender, columns: readonly Column[], from: number, rows: number): void {
  const chunk = DuckDBDataChunk.create(
    columns.map(([type]) => type),
    rows,
  );
  for (const [k, [, at]] of columns.entries()) {
    const vector = chunk.getColumnVector(k);
    for (let i = 0; i < rows; i += 1) vector.setItem(i, at(from + i));
    vector.flush();
  }
  appender.appendDataChunk(chunk);
}

/** Appends rows to a table inside the connection's transaction. Blocks the thread while it flushes. */
export async function append(
  connection: DuckDBConnection,
  table: string,
  rows: number,
  columns: readonly Column[],
): Promise<void> {
  const appender = await connection.createAppender(table);
  try {
    for (let from = 0; from < rows; from += chunkRows) fill(appender, columns, from, Math.min(chunkRows, rows - from));
    appender.flushSync();
  } catch (thrown) {
    // Closing flushes: rows of a failed append must not slip into a later transaction.
    appender.clear();
    throw thrown;
  } finally {
    appender.closeSync();
  }
}

/** Makes a temporary table of the connection and fills it. */
export async function temporary(
  connection: DuckDBConnection,
  name: string,
  rows: number,
  columns: Readonly<Record<string, Column>>,
): Promise<void> {
  const declared = Object.entries(columns).map(([column, [type]]) => `${column} ${type}`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE ${name}(${declared.join(", ")})`);
  await append(connection, name, rows, Object.values(columns));
}
