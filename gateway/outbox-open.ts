import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import {
  foreign,
  isCorrupt,
  locked,
  type OutboxFile,
  type OutboxFileOptions,
  openOnce,
  Sqlite,
  sqliteCode,
  unopenable,
} from "./outbox-file.ts";
import { reserveFile } from "./outbox-reserve.ts";
import { writeSalvaged } from "./outbox-salvage.ts";
import { applicationId } from "./outbox-schema.ts";

type FilePath = OutboxFileOptions & { path: string };

/** Files of one database; the journal first, so that it never stands beside another database than its own. */
const suffixes = ["-wal", "-shm", ""] as const;
/** Damaged files that are kept beside the outbox. */
const keptDamaged = 2;
/** How much of a file is looked at to tell whose it is: SQLite's first pages hold the schema. */
const headBytes = 64 * 1024;
const pageBytes = 4096;

const freshOf = (path: string): string => `${path}.fresh`;

function removeFiles(path: string): void {
  for (const suffix of suffixes) rmSync(`${path}${suffix}`, { force: true });
}

/** Renames a file and its journal where they are there. */
function renameFiles(from: string, to: string): void {
  for (const suffix of suffixes) {
    try {
      renameSync(`${from}${suffix}`, `${to}${suffix}`);
    } catch (thrown) {
      if (codeOf(thrown) !== "ENOENT") throw thrown;
    }
  }
}

/** Keeps the newest damaged files within `maxBytes`, and the last one always: a medium that fails again and again must not fill itself. */
function trimDamaged({ path, maxBytes, log }: FilePath, newest: string): void {
  const folder = dirname(path);
  const prefix = `${basename(path)}.corrupt-`;
  const files = readdirSync(folder).filter((name) => name.startsWith(prefix));
  const sorted = files.map((name) => name.replace(/-(wal|shm)$/, "")).sort();
  // Whatever its time says: the clock of a box may have been set back.
  const names = [...new Set([basename(newest), ...sorted.reverse()])];
  let bytes = 0;
  for (const [i, name] of names.entries()) {
    const own = suffixes.map((suffix) => `${name}${suffix}`).filter((file) => files.includes(file));
    bytes += own.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
    if (i === 0 || (i < keptDamaged && bytes <= maxBytes)) continue;
    removeFiles(join(folder, name));
    log.warn({ code: "OUTBOX_CORRUPT_REMOVED", path: join(folder, name) }, "an older damaged outbox file made room");
  }
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

/** Makes a fresh outbox under another name, with what the damaged one still tells, whole on the medium. */
function makeFresh(options: FilePath): void {
  const fresh = freshOf(options.path);
  removeFiles(fresh);
  try {
    const { tables } = openOnce({ ...options, path: fresh });
    try {
      tables.exec("PRAGMA synchronous = FULL");
      writeSalvaged(options.path, tables);
    } finally {
      tables.close();
    }
  } catch (thrown) {
    removeFiles(fresh);
    throw thrown;
  }
}

/**
 * Puts a fresh outbox in the place of a damaged one, which is renamed aside so that what it holds is not destroyed. The fresh one is made
 * and filled first: where that fails, all is as it was.
 * @throws JilianError OUTBOX_UNOPENABLE in memory; errors of SQLite and of the file system
 */
export function replaceOutboxFile(options: OutboxFileOptions, why: unknown): OutboxFile {
  const { path, log, nowMs } = options;
  if (path === undefined) throw unopenable(options, why);
  const file = { ...options, path };
  try {
    makeFresh(file);
  } catch (thrown) {
    if (sqliteCode(thrown) !== Sqlite.full) throw thrown;
    reserveFile(`${path}-reserve`).release();
    makeFresh(file);
  }
  const aside = `${path}.corrupt-${new Date(nowMs()).toISOString().replaceAll(":", "-")}`;
  try {
    renameFiles(path, aside);
    renameSync(freshOf(path), path);
  } catch (thrown) {
    renameFiles(aside, path);
    throw thrown;
  }
  syncFolders(path, undefined);
  log.error(
    { code: "OUTBOX_CORRUPT", path, aside, found: messageOf(why) },
    "the outbox file is damaged: it was renamed and a fresh one started; the readings it held were not all sent. " +
      "Check the storage medium; `sqlite3 <file> .recover` can read what is left",
  );
  try {
    trimDamaged(file, aside);
  } catch (thrown) {
    log.warn(
      { code: "OUTBOX_FAILED", path, found: messageOf(thrown) },
      "older damaged outbox files could not be removed",
    );
  }
  return openOnce(options);
}

/** The machine went down between the two renames of a replacement: the fresh file was whole by then. */
function finishReplacement(path: string, nowMs: number): void {
  if (existsSync(path) || !existsSync(freshOf(path))) return;
  renameFiles(path, `${path}.corrupt-${new Date(nowMs).toISOString().replaceAll(":", "-")}`);
  renameSync(freshOf(path), path);
}

/**
 * Whether a damaged file was an outbox: it says so in its header or by its schema, or the reserve of an outbox lies beside it, or its
 * first page was never written or is erased, which no file of a person is.
 */
function wasOutbox(path: string): boolean {
  if (existsSync(`${path}-reserve`)) return true;
  const head = Buffer.alloc(headBytes);
  const handle = openSync(path, "r");
  let read: number;
  try {
    read = readSync(handle, head, 0, headBytes, 0);
  } finally {
    closeSync(handle);
  }
  const first = head.subarray(0, Math.min(read, pageBytes));
  if (first.every((byte) => byte === 0) || first.every((byte) => byte === 0xff)) return true;
  return (
    head.readUInt32BE(68) === applicationId || head.includes("CREATE TABLE set_aside (position INTEGER PRIMARY KEY")
  );
}

/**
 * Opens the file of an outbox, making or migrating it, and loads what is kept in memory of it. A damaged outbox never blocks the start: it
 * is renamed aside and a fresh one begun.
 * @throws JilianError OUTBOX_LOCKED another process has it open; OUTBOX_OTHER_NODE it belongs to another (group, node); OUTBOX_NEWER
 * a newer program wrote it; OUTBOX_FOREIGN_FILE it is not an outbox; OUTBOX_UNOPENABLE the path cannot be opened, made or written now
 */
export function openOutboxFile(options: OutboxFileOptions): OutboxFile {
  const { path } = options;
  try {
    if (path === undefined) return openOnce(options);
    const firstMade = mkdirSync(dirname(path), { recursive: true });
    finishReplacement(path, options.nowMs());
    const file = openOrReplace({ ...options, path });
    syncFolders(path, firstMade);
    return file;
  } catch (thrown) {
    if (thrown instanceof JilianError) throw thrown;
    throw sqliteCode(thrown) === Sqlite.busy ? locked(options, thrown) : unopenable(options, thrown);
  }
}

function openOrReplace(options: FilePath): OutboxFile {
  try {
    return openOnce(options);
  } catch (thrown) {
    if (!isCorrupt(thrown)) throw thrown;
    if (!wasOutbox(options.path)) throw foreign(options, `is no outbox: ${messageOf(thrown)}`, thrown);
    return replaceOutboxFile(options, thrown);
  }
}
