import { DatabaseSync } from "node:sqlite";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { checkpointPages } from "./outbox-reserve.ts";
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

export const Sqlite = { busy: 5, corrupt: 11, full: 13, notADatabase: 26 } as const;

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
  /** Of the outbox: damaged files that are kept beside it take no more, but for the newest. */
  maxBytes: number;
  log: Logger;
  nowMs: () => number;
};

export type OutboxFile = { tables: OutboxTables; loaded: LoadedOutbox };

/** An error of opening an outbox, with what a person can do about it. */
export function fault(
  { path = "memory" }: Pick<OutboxFileOptions, "path">,
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
export function unopenable(options: Pick<OutboxFileOptions, "path">, cause: unknown): JilianError {
  const remedy = "check that the folder exists, is writable by this user and has free space, and that the medium works";
  return fault(options, "OUTBOX_UNOPENABLE", messageOf(cause), remedy, cause);
}

/** That another process has it open. */
export function locked(options: Pick<OutboxFileOptions, "path">, cause: unknown): JilianError {
  const remedy = "stop the other gateway that uses this outbox, or give this one another path";
  return fault(options, "OUTBOX_LOCKED", "is open in another process", remedy, cause);
}

/** That it is not an outbox. */
export function foreign(options: Pick<OutboxFileOptions, "path">, message: string, cause?: unknown): JilianError {
  const remedy = "choose another outbox path: this file is of another program and is left untouched";
  return fault(options, "OUTBOX_FOREIGN_FILE", message, remedy, cause);
}

function readPragma(db: DatabaseSync, name: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

/** Settings of the connection. auto_vacuum comes before anything is written: it is fixed from then on. */
function configure(db: DatabaseSync): void {
  db.exec("PRAGMA auto_vacuum = INCREMENTAL");
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = NORMAL");
  db.exec("PRAGMA journal_size_limit = 8388608");
  db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`);
}

type Owner = Pick<OutboxFileOptions, "path" | "group" | "node">;

/**
 * Refuses a database that is not an outbox which this program can read. Returns its schema version; 0 for an empty one.
 * @throws JilianError OUTBOX_FOREIGN_FILE, OUTBOX_NEWER
 */
export function checkKind(db: DatabaseSync, options: Owner): number {
  const version = Number(readPragma(db, "user_version"));
  const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n);
  if (tables > 0 && readPragma(db, "application_id") !== applicationId) {
    throw foreign(options, "is a database of another program");
  }
  if (version > outboxSchemaVersion) {
    const message = `has schema version ${version}, newer than ${outboxSchemaVersion} of this program`;
    throw fault(options, "OUTBOX_NEWER", message, "start the gateway version that wrote it, or a newer one");
  }
  return version;
}

/** Refuses the outbox of another gateway. @throws JilianError OUTBOX_OTHER_NODE */
export function checkOwner(meta: LoadedOutbox["meta"], options: Owner): void {
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

/**
 * Opens a database as an outbox, making or migrating it, and loads what is kept in memory of it. Nothing stays open when it throws.
 * @throws JilianError OUTBOX_OTHER_NODE, OUTBOX_NEWER, OUTBOX_FOREIGN_FILE, OUTBOX_CORRUPT; errors of SQLite
 */
export function openOnce(options: OutboxFileOptions): OutboxFile {
  const db = new DatabaseSync(options.path ?? ":memory:", { timeout: 1000 });
  try {
    // One process owns the file: a second gateway on the same outbox is refused instead of sending everything twice. Before all else, so
    // that no -shm file is made, for which a full medium has no room.
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    const version = checkKind(db, options);
    configure(db);
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
    const message = `a definition in it is no JSON: ${messageOf(thrown)}`;
    throw fault(options, "OUTBOX_CORRUPT", message, "see the log", thrown);
  }
}
