import { closeSync, fsyncSync, mkdirSync, openSync, renameSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { checkpointPages } from "./outbox-reserve.ts";
import { writeSalvaged } from "./outbox-salvage.ts";
import { applicationId, migrateSchema, outboxSchemaVersion } from "./outbox-schema.ts";
import { type LoadedOutbox, type OutboxTables, outboxTables } from "./outbox-tables.ts";

/** A file up to this size is checked as a whole after a power cut; a larger one where it is read, since its start must not take minutes. */
const checkedBytes = 64 * 1024 * 1024;

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

export type OutboxFileOptions = {
  /** Undefined: in memory, for a gateway whose medium fails. */
  path: string | undefined;
  group: string;
  node: string;
  /** Of the running system: another one than that of the last opening tells a reboot. Undefined where there is none. */
  bootId: string | undefined;
  log: Logger;
  nowMs: () => number;
};

export type OutboxFile = { tables: OutboxTables; loaded: LoadedOutbox };

function fault(
  { path = "memory" }: OutboxFileOptions,
  code: string,
  message: string,
  remedy: string,
  cause?: unknown,
): JilianError {
  return new JilianError(`outbox ${path}: ${message}`, {
    code,
    action: "open the outbox",
    address: path,
    remedy,
    cause,
  });
}

/** That the outbox cannot be had now: the folder, the medium or its room is missing. */
export function unopenable(options: OutboxFileOptions, cause: unknown): JilianError {
  const remedy = "check that the folder exists, is writable by this user and has free space, and that the medium works";
  return fault(options, "OUTBOX_UNOPENABLE", messageOf(cause), remedy, cause);
}

function readPragma(db: DatabaseSync, name: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

/** Settings of the connection. auto_vacuum comes before anything is written: it is fixed from then on. */
function configure(db: DatabaseSync): void {
  // One process owns the file: a second gateway on the same outbox is refused instead of sending everything twice. Before all else, so
  // that no -shm file is made, for which a full medium has no room.
  db.exec("PRAGMA locking_mode = EXCLUSIVE");
  db.exec("PRAGMA auto_vacuum = INCREMENTAL");
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = NORMAL");
  db.exec("PRAGMA journal_size_limit = 8388608");
  db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`);
}

function checkKind(db: DatabaseSync, options: OutboxFileOptions, version: number): void {
  const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n);
  if (tables > 0 && readPragma(db, "application_id") !== applicationId) {
    const remedy = "choose another outbox path: this file is of another program and is left untouched";
    throw fault(options, "OUTBOX_FOREIGN_FILE", "is a database of another program", remedy);
  }
  if (version > outboxSchemaVersion) {
    const message = `has schema version ${version}, newer than ${outboxSchemaVersion} of this program`;
    throw fault(options, "OUTBOX_NEWER", message, "start the gateway version that wrote it, or a newer one");
  }
}

function checkOwner(meta: LoadedOutbox["meta"], options: OutboxFileOptions): void {
  const { group, node } = options;
  if (meta.get("group") === group && meta.get("node") === node) return;
  const remedy = "give every gateway an outbox path of its own, or set group and node back to what they were";
  const message = `belongs to ${meta.get("group")}/${meta.get("node")}, not to ${group}/${node}`;
  throw fault(options, "OUTBOX_OTHER_NODE", message, remedy);
}

/**
 * Whether the machine went down while the file was in use: it was not closed in order, and the boot that had it open is over (or nobody
 * can tell). A killed process alone loses nothing that it wrote.
 */
export function endedByPowerCut(meta: LoadedOutbox["meta"], bootId: string | undefined): boolean {
  if (meta.get("closed") !== 0) return false;
  return bootId === undefined || meta.get("bootId") !== bootId;
}

/**
 * Looks at every page of a small file after a power cut. Not at other starts: SQLite's own commit keeps a killed process's file whole, and
 * damage that came otherwise is noticed where it is read, each record by its checksum.
 */
function checkPages(db: DatabaseSync, options: OutboxFileOptions): void {
  const bytes = Number(readPragma(db, "page_count")) * Number(readPragma(db, "page_size"));
  if (bytes > checkedBytes) return;
  const check = String(readPragma(db, "quick_check(1)"));
  if (check !== "ok") throw fault(options, "OUTBOX_CORRUPT", check, "see the finding in the log");
}

function openOnce(options: OutboxFileOptions): OutboxFile {
  const db = new DatabaseSync(options.path ?? ":memory:", { timeout: 1000 });
  try {
    configure(db);
    const version = Number(readPragma(db, "user_version"));
    checkKind(db, options, version);
    migrateSchema(db, version, options);
    const tables = outboxTables(db);
    const loaded = tables.load();
    checkOwner(loaded.meta, options);
    if (endedByPowerCut(loaded.meta, options.bootId)) checkPages(db, options);
    return { tables, loaded };
  } catch (thrown) {
    db.close();
    // Only what is read back from the file is parsed here.
    if (!(thrown instanceof SyntaxError)) throw thrown;
    throw fault(
      options,
      "OUTBOX_CORRUPT",
      `a definition in it is no JSON: ${messageOf(thrown)}`,
      "see the log",
      thrown,
    );
  }
}

/** Renames a damaged file and its journal aside, so that what it holds is not destroyed. Returns the new name. */
function putAside(path: string, nowMs: number): string {
  const aside = `${path}.corrupt-${new Date(nowMs).toISOString().replaceAll(":", "-")}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      renameSync(`${path}${suffix}`, `${aside}${suffix}`);
    } catch (thrown) {
      if (codeOf(thrown) !== "ENOENT") throw thrown;
    }
  }
  return aside;
}

/** Renames the damaged file aside, tells it, and opens a fresh one in its place. */
export function replaceOutboxFile(options: OutboxFileOptions, why: unknown): OutboxFile & { aside: string } {
  const { path, log } = options;
  if (path === undefined) throw unopenable(options, why);
  const aside = putAside(path, options.nowMs());
  log.error(
    { code: "OUTBOX_CORRUPT", path, aside, found: messageOf(why) },
    "the outbox file is damaged: it was renamed and a fresh one started; the readings it held were not all sent. " +
      "Check the storage medium; `sqlite3 <file> .recover` can read what is left",
  );
  const file = openOnce(options);
  syncFolders(path, undefined);
  return { ...file, aside };
}

/** The names of new files and folders reach the medium: without that a power cut could take the whole file with all that was synced in it. */
function syncFolders(path: string, firstMade: string | undefined): void {
  const stop = firstMade === undefined ? dirname(path) : dirname(firstMade);
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    try {
      const handle = openSync(folder, "r");
      try {
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
    } catch {
      // Some file systems, and Windows, cannot sync a folder: their own promise has to do.
    }
    if (folder === stop || folder === dirname(folder)) return;
  }
}

/**
 * Opens the file of an outbox, making or migrating it, and loads what is kept in memory of it. A damaged file never blocks the start: it is
 * renamed aside and a fresh one begun.
 * @throws JilianError OUTBOX_LOCKED another process has it open; OUTBOX_OTHER_NODE it belongs to another (group, node); OUTBOX_NEWER
 * a newer program wrote it; OUTBOX_FOREIGN_FILE it is not an outbox; OUTBOX_UNOPENABLE the path cannot be opened, made or written now
 */
export function openOutboxFile(options: OutboxFileOptions): OutboxFile {
  const { path } = options;
  try {
    if (path === undefined) return openOnce(options);
    const firstMade = mkdirSync(dirname(path), { recursive: true });
    const file = openOrReplace(options);
    syncFolders(path, firstMade);
    return file;
  } catch (thrown) {
    if (thrown instanceof JilianError) throw thrown;
    if (sqliteCode(thrown) === Sqlite.busy) {
      const remedy = "stop the other gateway that uses this outbox, or give this one another path";
      throw fault(options, "OUTBOX_LOCKED", "is open in another process", remedy, thrown);
    }
    throw unopenable(options, thrown);
  }
}

function openOrReplace(options: OutboxFileOptions): OutboxFile {
  try {
    return openOnce(options);
  } catch (thrown) {
    if (!isCorrupt(thrown)) throw thrown;
    const { tables, aside } = replaceOutboxFile(options, thrown);
    writeSalvaged(aside, tables);
    return { tables, loaded: tables.load() };
  }
}
