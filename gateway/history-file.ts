import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { historyApplicationId, historySchemaVersion, migrateHistory } from "./history-schema.ts";
import { type HistoryTables, historyTables } from "./history-tables.ts";
import { Sqlite, sqliteCode } from "./outbox-file.ts";
import { checkpointPages } from "./outbox-reserve.ts";
import { wasOwn } from "./sqlite-own.ts";

export type HistoryFileOptions = { path: string; group: string; node: string; log: Logger; nowMs: () => number };

/** Files of one database; the journal first, so that it never stands beside another database than its own. */
const suffixes = ["-wal", "-shm", ""] as const;
/** Damaged files that are kept beside the history. */
const keptDamaged = 2;

function fault(path: string, code: string, message: string, remedy: string, cause?: unknown): JilianError {
  return new JilianError(`history ${path}: ${message}`, {
    code,
    action: "open the history",
    address: path,
    remedy,
    cause,
  });
}

function pragma(db: DatabaseSync, name: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

/**
 * Refuses a database that is not a history which this program can read. Returns its schema version; 0 for an empty one.
 * @throws JilianError HISTORY_FOREIGN_FILE, HISTORY_NEWER
 */
export function checkHistory(db: DatabaseSync, path: string): number {
  const version = Number(pragma(db, "user_version"));
  const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n);
  if (tables > 0 && pragma(db, "application_id") !== historyApplicationId) throw foreign(path);
  if (version > historySchemaVersion) {
    const message = `has schema version ${version}, newer than ${historySchemaVersion} of this program`;
    throw fault(path, "HISTORY_NEWER", message, "start the gateway version that wrote it, or a newer one");
  }
  return version;
}

function foreign(path: string, cause?: unknown): JilianError {
  const remedy = "choose another history.path: this file is of another program and is left untouched";
  return fault(path, "HISTORY_FOREIGN_FILE", "is no history", remedy, cause);
}

/** Refuses the history of another gateway. @throws JilianError HISTORY_OTHER_NODE */
export function checkHistoryOwner(db: DatabaseSync, path: string, group: string, node: string): void {
  const rows = db.prepare("SELECT key, value FROM meta").all() as { key: string; value: unknown }[];
  const meta = new Map(rows.map(({ key, value }) => [key, value]));
  if (meta.get("group") === group && meta.get("node") === node) return;
  const message = `belongs to ${meta.get("group")}/${meta.get("node")}, not to ${group}/${node}`;
  const remedy = "give every gateway a history.path of its own, or set group and node back to what they were";
  throw fault(path, "HISTORY_OTHER_NODE", message, remedy);
}

/** True when the file itself is damaged, so that only a fresh one helps. */
export function isDamaged(thrown: unknown): boolean {
  const code = sqliteCode(thrown);
  return code === Sqlite.corrupt || code === Sqlite.notADatabase;
}

/** Whether a file that SQLite cannot read was a history: it says so, or its first page was never written or is erased. */
function wasHistory(path: string): boolean {
  return wasOwn(path, historyApplicationId, "CREATE TABLE quarter (quarter INTEGER");
}

/** Renames a damaged file, so that what it holds is not destroyed, and keeps the newest of those alone. */
function setAside({ path, log, nowMs }: HistoryFileOptions, why: unknown): void {
  const aside = `${path}.corrupt-${new Date(nowMs()).toISOString().replaceAll(":", "-")}`;
  for (const suffix of suffixes) {
    try {
      renameSync(path + suffix, aside + suffix);
    } catch (thrown) {
      if (codeOf(thrown) !== "ENOENT") throw thrown;
    }
  }
  log.error(
    { code: "HISTORY_CORRUPT", path, aside, found: messageOf(why) },
    "the history is damaged: it was renamed and a fresh one begun. Check the storage medium",
  );
  const prefix = `${basename(path)}.corrupt-`;
  const names = readdirSync(dirname(path)).filter((name) => name.startsWith(prefix));
  const databases = [...new Set(names.map((name) => name.replace(/-(wal|shm)$/, "")))].sort();
  for (const name of databases.slice(0, -keptDamaged)) {
    for (const suffix of suffixes) rmSync(join(dirname(path), name + suffix), { force: true });
  }
}

/** Settings of the connection. auto_vacuum comes before anything is written: it is fixed from then on. */
function openOnce({ path, group, node }: HistoryFileOptions): HistoryTables {
  const db = new DatabaseSync(path, { timeout: 1000 });
  try {
    const version = checkHistory(db, path);
    if (version > 0) checkHistoryOwner(db, path, group, node);
    db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = NORMAL");
    db.exec("PRAGMA journal_size_limit = 8388608");
    db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`);
    migrateHistory(db, version, { group, node });
    return historyTables(db);
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

/**
 * Opens the file of a history, making or migrating it. A damaged one is renamed aside and a fresh one begun. While it is open another
 * process can read it (`export`).
 * @param damage that the file was found damaged while it was in use
 * @throws JilianError HISTORY_OTHER_NODE, HISTORY_NEWER, HISTORY_FOREIGN_FILE; errors of SQLite and of the file system
 */
export function openHistory(options: HistoryFileOptions, damage?: unknown): HistoryTables {
  const { path } = options;
  mkdirSync(dirname(path), { recursive: true });
  if (damage !== undefined) setAside(options, damage);
  try {
    return openOnce(options);
  } catch (thrown) {
    if (!isDamaged(thrown)) throw thrown;
    if (!wasHistory(path)) throw foreign(path, thrown);
    setAside(options, thrown);
    return openOnce(options);
  }
}

/**
 * Opens a history to be read, also while the gateway writes it.
 * @throws JilianError HISTORY_OTHER_NODE, HISTORY_NEWER, HISTORY_FOREIGN_FILE; errors of SQLite
 */
export function openHistoryToRead(path: string, group: string, node: string): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    if (checkHistory(db, path) < historySchemaVersion) {
      const remedy = "start the gateway once: it brings the file up to date";
      throw fault(path, "HISTORY_OLDER", "is of an older version of this program", remedy);
    }
    checkHistoryOwner(db, path, group, node);
    return db;
  } catch (thrown) {
    db.close();
    throw isDamaged(thrown) ? foreign(path, thrown) : thrown;
  }
}
