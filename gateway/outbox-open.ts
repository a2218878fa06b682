import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
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
import { type Recovering, readRecovering } from "./outbox-recover-list.ts";
import { reserveFile } from "./outbox-reserve.ts";
import { type Damaged, writeSalvaged } from "./outbox-salvage.ts";
import { applicationId } from "./outbox-schema.ts";
import { wasOwn } from "./sqlite-own.ts";

type FilePath = OutboxFileOptions & { path: string };

/** Files of one database; the journal first, so that it never stands beside another database than its own. */
const suffixes = ["-wal", "-shm", ""] as const;
/** Damaged files that are kept beside the outbox; those whose records are not all out yet are more, and may take more room. */
const keptDamaged = 2;
const keptRecovering = 4;

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

/**
 * The name that a damaged file gets: one that no other has, whatever the clock says.
 */
function asideOf(path: string, nowMs: number): string {
  for (let ms = nowMs; ; ms += 1) {
    const aside = `${path}.corrupt-${new Date(ms).toISOString().replaceAll(":", "-")}`;
    if (suffixes.every((suffix) => !existsSync(aside + suffix))) return aside;
  }
}

/**
 * Keeps the newest damaged files within `maxBytes`, and the last one always: a medium that fails again and again must not fill itself.
 * Those that are being recovered come before the others.
 */
function trimDamaged({ path, maxBytes, log }: FilePath, newest: string, recovering: readonly Recovering[]): void {
  const folder = dirname(path);
  const prefix = `${basename(path)}.corrupt-`;
  const files = readdirSync(folder).filter((name) => name.startsWith(prefix));
  const sorted = files.map((name) => name.replace(/-(wal|shm)$/, "")).sort();
  // Whatever its time says: the clock of a box may have been set back.
  const wanted = new Set(recovering.map(({ file }) => file).filter((file) => sorted.includes(file)));
  const names = [...new Set([basename(newest), ...[...wanted].reverse(), ...sorted.reverse()])];
  let bytes = 0;
  for (const [i, name] of names.entries()) {
    const own = suffixes.map((suffix) => `${name}${suffix}`).filter((file) => files.includes(file));
    bytes += own.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
    const [most, mostBytes] = wanted.has(name) ? [keptRecovering, 2 * maxBytes] : [keptDamaged, maxBytes];
    if (i === 0 || (i < most && bytes <= mostBytes)) continue;
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
function makeFresh(options: FilePath, damaged: Damaged): Recovering[] {
  const fresh = freshOf(options.path);
  removeFiles(fresh);
  try {
    const { tables } = openOnce({ ...options, path: fresh });
    try {
      tables.exec("PRAGMA synchronous = FULL");
      return writeSalvaged(damaged, tables);
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
 * and filled first, also with the name that the damaged one gets: where that fails, all is as it was.
 * @param earlier files that are being recovered already, where the process that had it open tells
 * @returns also the name of the damaged file now, beside the outbox
 * @throws JilianError OUTBOX_UNOPENABLE in memory; errors of SQLite and of the file system
 */
export function replaceOutboxFile(
  options: OutboxFileOptions,
  why: unknown,
  earlier?: readonly Recovering[],
): OutboxFile & { damaged: string } {
  const { path, log, nowMs } = options;
  if (path === undefined) throw unopenable(options, why);
  const file = { ...options, path };
  const aside = asideOf(path, nowMs());
  const damaged = { path, aside: basename(aside), recovering: earlier };
  let recovering: readonly Recovering[];
  try {
    recovering = makeFresh(file, damaged);
  } catch (thrown) {
    if (sqliteCode(thrown) !== Sqlite.full) throw thrown;
    reserveFile(`${path}-reserve`).release();
    recovering = makeFresh(file, damaged);
  }
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
    "the outbox file is damaged: it was renamed and a fresh one started; what can still be read of it is sent from there. " +
      "Check the storage medium",
  );
  try {
    trimDamaged(file, aside, recovering);
  } catch (thrown) {
    log.warn(
      { code: "OUTBOX_FAILED", path, found: messageOf(thrown) },
      "older damaged outbox files could not be removed",
    );
  }
  return { ...openOnce(options), damaged: basename(aside) };
}

/** The name that the damaged file was to get, by the fresh one; undefined where that cannot be read. */
function namedIn(fresh: string): string | undefined {
  try {
    const db = new DatabaseSync(fresh, { readOnly: true });
    try {
      const row = db.prepare("SELECT value FROM meta WHERE key = 'recovering'").get();
      return readRecovering(row?.value).at(-1)?.file;
    } finally {
      db.close();
    }
  } catch {
    return undefined;
  }
}

/**
 * The machine went down amid the renames of a replacement. Between the two of the databases the fresh one was whole; before that the
 * damaged one gets its journal back, and is replaced anew.
 */
function finishReplacement(path: string, nowMs: number): void {
  const fresh = freshOf(path);
  if (!existsSync(fresh)) return;
  if (existsSync(path)) {
    const name = namedIn(fresh);
    const aside = name && join(dirname(path), name);
    if (aside && !existsSync(aside) && !existsSync(`${path}-wal`)) renameFiles(aside, path);
    return;
  }
  renameFiles(path, asideOf(path, nowMs));
  renameSync(freshOf(path), path);
}

/**
 * Whether a damaged file was an outbox: it says so in its header or by its schema, or the reserve of an outbox lies beside it, or its
 * first page was never written or is erased, which no file of a person is.
 */
function wasOutbox(path: string): boolean {
  if (existsSync(`${path}-reserve`)) return true;
  return wasOwn(path, applicationId, "CREATE TABLE set_aside (position INTEGER PRIMARY KEY");
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
