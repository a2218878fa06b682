import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { closeFile, openFile, syncData } from "./file-io.ts";
import { type HistoryFileOptions, isDamaged, openHistory } from "./history-file.ts";
import type { Quarter } from "./history-quarter.ts";
import type { HistoryTables, HistoryTag } from "./history-tables.ts";
import { atMostEvery } from "./log-limit.ts";

/** The history leaves so much of the medium to the outbox, whose readings are worth more. */
const spareBytes = 32 * 1024 * 1024;
const quartersPerDay = 96;
/** Free pages kept for the next rows, and pages given back to the file system in one step. */
const sparePages = 64;
const pagesPerStep = 256;

export type HistoryStoreOptions = HistoryFileOptions & {
  keepDays: number;
  maxBytes: number;
  /** How often a file that failed is tried again, machine time. */
  retryMs: number;
};

function noRoom(path: string, bytes: number): JilianError {
  return new JilianError(
    `history ${path}: only ${bytes} bytes are free on its medium, ${spareBytes} are left to the outbox`,
    {
      code: "HISTORY_NO_ROOM",
      action: "write the history",
      address: path,
      remedy: "make room on the medium, or lower history.maxBytes and outbox.maxBytes",
    },
  );
}

/**
 * The file of a history that survives its failures: where it cannot be had or written it is closed, told once a minute and tried again;
 * one that turns out damaged is replaced while the gateway runs. Nothing here throws.
 */
export function historyStore(options: HistoryStoreOptions) {
  const { path, keepDays, maxBytes, retryMs, log } = options;
  const tell = atMostEvery(60_000);
  let tables: HistoryTables | undefined;
  let newest = Number.NEGATIVE_INFINITY;
  let triedMs = Number.NEGATIVE_INFINITY;
  let failing = false;
  let damage: unknown;
  let isTrimmed = false;
  let isShrinking = false;
  let syncing: Promise<void> = Promise.resolve();

  function failed(thrown: unknown, action: string): void {
    failing = true;
    const remedy = thrown instanceof JilianError ? thrown.remedy : "check that the medium works and has room";
    tell((heldBack) =>
      log.error(
        {
          code: codeOf(thrown)?.startsWith("HISTORY_") ? codeOf(thrown) : "HISTORY_FAILED",
          path,
          action,
          found: messageOf(thrown),
          remedy,
          heldBack,
        },
        "no history is written now; readings go on, and so does the history by itself once it can",
      ),
    );
    const closing = tables;
    tables = undefined;
    triedMs = performance.now();
    try {
      closing?.close();
    } catch {
      // The medium fails; that is told already.
    }
    if (!isDamaged(thrown)) return;
    // Only a fresh file helps: at once, but where that fails too only after a while.
    if (damage === undefined) triedMs = Number.NEGATIVE_INFINITY;
    damage = thrown;
  }

  /** The open file; opened where it is not and was not tried just now. */
  function opened(): HistoryTables | undefined {
    if (tables || performance.now() - triedMs < retryMs) return tables;
    triedMs = performance.now();
    try {
      tables = openHistory(options, damage);
      damage = undefined;
      newest = tables.newest() ?? Number.NEGATIVE_INFINITY;
      isTrimmed = false;
    } catch (thrown) {
      failed(thrown, "open");
    }
    return tables;
  }

  function attempt<T>(action: string, work: (on: HistoryTables) => T): T | undefined {
    const on = opened();
    if (!on) return undefined;
    try {
      return work(on);
    } catch (thrown) {
      failed(thrown, action);
      return undefined;
    }
  }

  /** The log reaches the medium on a worker thread: no reading waits for a slow card (outbox-sync.ts says why the log is enough). */
  async function syncLog(): Promise<void> {
    try {
      const descriptor = await openFile(`${path}-wal`, "r+");
      await syncData(descriptor).finally(() => closeFile(descriptor));
    } catch (thrown) {
      // Closed meanwhile: SQLite has synced the database then.
      if (codeOf(thrown) === "ENOENT") return;
      tell((heldBack) =>
        log.warn(
          { code: "HISTORY_FAILED", path, action: "sync", found: messageOf(thrown), heldBack },
          "the history could not be synced",
        ),
      );
    }
  }

  function checkRoom(): void {
    const { bavail, bsize } = statfsSync(dirname(path));
    const bytes = bavail * bsize;
    if (bytes < spareBytes) throw noRoom(path, bytes);
  }

  return {
    /** Writes rows in one transaction. @returns how many of them were refused as older than what is written; undefined when it failed */
    write(rows: readonly (readonly [HistoryTag, Quarter])[]): number | undefined {
      const refused = attempt("write", (on) => {
        checkRoom();
        return on.write(rows);
      });
      if (refused === undefined) return undefined;
      for (const [, { quarter }] of rows) newest = Math.max(newest, quarter);
      isTrimmed = false;
      syncing = syncing.then(syncLog);
      if (failing) log.info({ code: "HISTORY_RECOVERED", path }, "the history is written again");
      failing = false;
      return refused;
    },
    /** What an earlier run, or a clock that has run back since, has written of a quarter hour. */
    written(tag: HistoryTag, quarter: number): Quarter | undefined {
      opened();
      return quarter > newest ? undefined : attempt("read", (on) => on.read(tag, quarter));
    },
    /** The last quarter hour of a tag before one, within a day's worth of those that hold something. */
    before(tag: HistoryTag, quarter: number): Quarter | undefined {
      opened();
      return attempt("read", (on) => on.readBefore(tag, quarter, quartersPerDay));
    },
    /** At every tick: the oldest quarter hours go, one at a time; then pages are given back. */
    tidy(): void {
      if (!tables) return;
      attempt("tidy", (on) => {
        if (!isTrimmed) {
          const quarters = on.quarters();
          isTrimmed = quarters <= 1 || (quarters <= keepDays * quartersPerDay && on.usedBytes() <= maxBytes);
          if (!isTrimmed) on.dropOldest();
        } else if (on.shrink(sparePages, pagesPerStep)) isShrinking = true;
        else if (isShrinking) {
          isShrinking = false;
          // What was given back shortens the file with this.
          on.settle();
        }
      });
    },
    isWritable: (): boolean => tables !== undefined && !failing,
    bytes: (): number => (tables && attempt("measure", (on) => on.usedBytes())) ?? 0,
    /** The oldest quarter hour that is kept; undefined where there is none, or the file cannot be had. */
    oldest: (): number | undefined => tables && attempt("measure", (on) => on.oldest()),
    async close(): Promise<void> {
      await syncing;
      const closing = tables;
      tables = undefined;
      triedMs = Number.POSITIVE_INFINITY;
      try {
        closing?.close();
      } catch (thrown) {
        log.warn({ code: "HISTORY_FAILED", path, found: messageOf(thrown) }, "the history did not close cleanly");
      }
    },
  };
}

export type HistoryStore = ReturnType<typeof historyStore>;
