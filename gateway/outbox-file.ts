import { mkdirSync, renameSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";

/** Marks a file as an outbox of Jilian in SQLite's own header field. */
const applicationId = 0x4a4c4f42;

/** Step n brings a file from schema version n to n + 1; the version is SQLite's `user_version`. A step is never changed once released. */
const migrations = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
   CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_source_ms INTEGER NOT NULL) STRICT;
   CREATE TABLE metric (id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL,
     UNIQUE (device, name)) STRICT;
   CREATE TABLE epoch (epoch TEXT PRIMARY KEY, base INTEGER NOT NULL UNIQUE) STRICT, WITHOUT ROWID;
   CREATE TABLE record (position INTEGER PRIMARY KEY, device INTEGER NOT NULL, written_ms INTEGER NOT NULL,
     samples INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
   CREATE TABLE set_aside (position INTEGER PRIMARY KEY, epoch TEXT NOT NULL, "offset" INTEGER NOT NULL, device TEXT NOT NULL,
     written_ms INTEGER NOT NULL, reason TEXT NOT NULL, bytes BLOB NOT NULL) STRICT;`,
];

/** Schema version that this program writes; older files are brought up to it, newer ones refused. */
export const outboxSchemaVersion = migrations.length;

/** The primary result code of a SQLite error (sqlite.org/rescode.html), or undefined for any other error. */
export function sqliteCode(thrown: unknown): number | undefined {
  if (codeOf(thrown) !== "ERR_SQLITE_ERROR") return undefined;
  const { errcode } = thrown as { errcode?: unknown };
  return typeof errcode === "number" ? errcode & 0xff : undefined;
}

export const Sqlite = {
  busy: 5,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cantOpen: 14,
  notADatabase: 26,
} as const;

/** True when the file itself is damaged, so that only a fresh one helps. */
export function isCorrupt(thrown: unknown): boolean {
  const code = sqliteCode(thrown);
  return code === Sqlite.corrupt || code === Sqlite.notADatabase || codeOf(thrown) === "OUTBOX_CORRUPT";
}

export type OutboxFileOptions = { path: string; group: string; node: string; log: Logger; nowMs: () => number };

function fault(
  options: OutboxFileOptions,
  code: string,
  message: string,
  remedy: string,
  cause?: unknown,
): JilianError {
  return new JilianError(`outbox ${options.path}: ${message}`, {
    code,
    action: "open the outbox",
    address: options.path,
    remedy,
    cause,
  });
}

function readPragma(db: DatabaseSync, name: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

/** Settings of the connection. auto_vacuum comes before anything is written: it is fixed from then on. */
function configure(db: DatabaseSync): void {
  db.exec("PRAGMA auto_vacuum = INCREMENTAL");
  // One process owns the file: a second gateway on the same outbox is refused instead of sending everything twice.
  db.exec("PRAGMA locking_mode = EXCLUSIVE");
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = NORMAL");
  db.exec("PRAGMA journal_size_limit = 8388608");
}

function checkOwner(db: DatabaseSync, options: OutboxFileOptions): void {
  const owner = Object.fromEntries(
    db
      .prepare("SELECT key, value FROM meta WHERE key IN ('group', 'node')")
      .all()
      .map((row) => [row.key, row.value]),
  );
  const { group, node } = options;
  if (owner.group === group && owner.node === node) return;
  const remedy = "give every gateway an outbox path of its own, or set group and node back to what they were";
  const message = `belongs to ${owner.group}/${owner.node}, not to ${group}/${node}`;
  throw fault(options, "OUTBOX_OTHER_NODE", message, remedy);
}

/** Brings the schema up to date in one transaction; a fresh file runs every step. */
function migrate(db: DatabaseSync, options: OutboxFileOptions): void {
  const version = Number(readPragma(db, "user_version"));
  const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n);
  if (tables > 0 && readPragma(db, "application_id") !== applicationId) {
    const remedy = "choose another outbox path: this file is of another program and is left untouched";
    throw fault(options, "OUTBOX_FOREIGN_FILE", "is a database of another program", remedy);
  }
  if (version > migrations.length) {
    const message = `has schema version ${version}, newer than ${migrations.length} of this program`;
    throw fault(options, "OUTBOX_NEWER", message, "start the gateway version that wrote it, or a newer one");
  }
  if (version < migrations.length) {
    db.exec("BEGIN IMMEDIATE");
    for (const step of migrations.slice(version)) db.exec(step);
    if (version === 0) {
      const insert = db.prepare("INSERT INTO meta (key, value) VALUES (?, ?)");
      insert.run("group", options.group);
      insert.run("node", options.node);
    }
    db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${migrations.length}; COMMIT`);
  }
  checkOwner(db, options);
}

function openOnce(options: OutboxFileOptions): DatabaseSync {
  const db = new DatabaseSync(options.path, { timeout: 1000 });
  try {
    configure(db);
    const check = String(readPragma(db, "quick_check(1)"));
    if (check !== "ok") throw fault(options, "OUTBOX_CORRUPT", check, "see the finding in the log");
    migrate(db, options);
    return db;
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

/** Renames a damaged file and its journal aside, so that what it holds is not destroyed. Returns the new name. */
function putAside(options: OutboxFileOptions): string {
  const aside = `${options.path}.corrupt-${new Date(options.nowMs()).toISOString().replaceAll(":", "-")}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      renameSync(`${options.path}${suffix}`, `${aside}${suffix}`);
    } catch (thrown) {
      if (codeOf(thrown) !== "ENOENT") throw thrown;
    }
  }
  return aside;
}

/** Renames the damaged file aside, tells it, and opens a fresh one in its place. */
export function replaceOutboxFile(options: OutboxFileOptions, why: unknown): DatabaseSync {
  const aside = putAside(options);
  options.log.error(
    { code: "OUTBOX_CORRUPT", path: options.path, aside, found: messageOf(why) },
    "the outbox file is damaged: it was renamed and a fresh one started; the readings it held were not all sent. " +
      "Check the storage medium; `sqlite3 <file> .recover` can read what is left",
  );
  return openOnce(options);
}

/**
 * Opens the file of an outbox, making or migrating it. A damaged file never blocks the start: it is renamed aside and a fresh one begun.
 * @throws JilianError OUTBOX_LOCKED another process has it open; OUTBOX_OTHER_NODE it belongs to another (group, node); OUTBOX_NEWER
 * a newer program wrote it; OUTBOX_FOREIGN_FILE it is not an outbox; OUTBOX_UNOPENABLE the path cannot be opened or made
 */
export function openOutboxFile(options: OutboxFileOptions): DatabaseSync {
  try {
    mkdirSync(dirname(options.path), { recursive: true });
    return openOnce(options);
  } catch (thrown) {
    if (isCorrupt(thrown)) return replaceOutboxFile(options, thrown);
    if (thrown instanceof JilianError) throw thrown;
    if (sqliteCode(thrown) === Sqlite.busy) {
      const remedy = "stop the other gateway that uses this outbox, or give this one another path";
      throw fault(options, "OUTBOX_LOCKED", "is open in another process", remedy, thrown);
    }
    const remedy = "check that the folder exists, is writable by this user and has free space";
    throw fault(options, "OUTBOX_UNOPENABLE", messageOf(thrown), remedy, thrown);
  }
}
