import { messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { atMostEvery } from "./log-limit.ts";
import { isCorrupt, type OutboxFileOptions, Sqlite, sqliteCode } from "./outbox-file.ts";
import { openOutboxFile, replaceOutboxFile } from "./outbox-open.ts";
import type { Recovering } from "./outbox-recover-list.ts";
import { reserveFile, reservePages } from "./outbox-reserve.ts";
import { groupSync } from "./outbox-sync.ts";
import type { OutboxTables } from "./outbox-tables.ts";

/** Free pages kept for the next records (1 MiB), and pages given back to the file system in one step. */
const sparePages = 256;
const pagesPerStep = 512;
const minuteMs = 60_000;
/** How often the reserve is tried again. */
const regainMs = 10_000;
/** SQLite's own greatest count of pages. */
const unlimitedPages = 4_294_967_294;

/** What must be written with the next transaction, whichever it is. */
export type Housekeeping = {
  /** A transaction begins: what it changes in memory is taken back should it fail. */
  readonly begun: () => void;
  readonly failed: () => void;
  /** Deletes what was dropped, first in the transaction: it may need that room. */
  readonly clear: (to: OutboxTables) => void;
  /** Writes what is marked as changed, last in the transaction: on a full disk the room it needs is what came before has freed. */
  readonly flush: (to: OutboxTables) => void;
  /** That transaction has committed. */
  readonly flushed: () => void;
  /** Damaged files that are being recovered. */
  readonly recovering: () => readonly Recovering[];
  /** The file was found damaged and replaced by an empty one. @param damaged its name now, beside the outbox */
  readonly restart: (damaged: string) => void;
};

export type OutboxStoreOptions = OutboxFileOptions & {
  fsyncMs: number;
  /** False: no fsync of ours; what the operating system had not written yet goes with a power cut. */
  syncs: boolean;
};

/** Gives freed pages back to the file system step by step; a pass ends with a checkpoint, which is what shortens the file. */
function shrinker(tables: () => OutboxTables | undefined, log: Logger): () => void {
  const tell = atMostEvery(minuteMs);
  let shrinking = false;
  return () => {
    const on = tables();
    if (!on) return;
    try {
      const spare = on.freePages();
      if (spare > sparePages) {
        on.exec(`PRAGMA incremental_vacuum(${Math.min(pagesPerStep, spare - sparePages)})`);
        shrinking = true;
      } else if (shrinking) {
        on.exec("PRAGMA wal_checkpoint(PASSIVE)");
        shrinking = false;
      }
    } catch (thrown) {
      tell(() => log.warn({ code: "OUTBOX_FAILED", found: messageOf(thrown) }, "the outbox could not shrink"));
    }
  };
}

/**
 * Keeps a full medium from being one for ever: the reserve is given up, the log copied into the database, and the database grows by no more
 * than a part of the reserve (new readings find room where no old ones can make it; then they take the place of the oldest) until the
 * reserve could be had again.
 */
function roomKeeper(path: string, tables: () => OutboxTables | undefined, log: Logger) {
  const reserve = reserveFile(path);
  const tell = atMostEvery(minuteMs);
  let isTight = !reserve.restore();
  let isLimited = false;
  let triedMs = performance.now();

  function survive(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      tell(() => log.warn({ code: "OUTBOX_FAILED", path, found: messageOf(thrown) }, "no room could be made"));
    }
  }

  return {
    make(): void {
      isTight = true;
      const growth = reserve.release() ? reservePages : 0;
      survive(() => tables()?.exec("PRAGMA wal_checkpoint(RESTART)"));
      // Given once: what the file does not take at its own pace, the log must have.
      if (!isLimited || growth > 0) survive(() => tables()?.limitGrowth(growth));
      isLimited = true;
    },
    /** The reserve may have been used up. */
    doubt(): void {
      isTight = true;
    },
    /** At every tick: takes the reserve back once there is room for it. */
    regain(): void {
      if (!isTight || performance.now() - triedMs < regainMs) return;
      triedMs = performance.now();
      isTight = !reserve.restore();
      if (isTight) return;
      isLimited = false;
      survive(() => tables()?.exec(`PRAGMA max_page_count = ${unlimitedPages}`));
    },
  };
}

/**
 * Access to the file that survives its failures: a transaction or query that fails is told (once a minute) and gives undefined; a file
 * that turns out damaged is replaced while the gateway runs.
 * @throws JilianError as {@link openOutboxFile}
 */
export function outboxStore(options: OutboxStoreOptions) {
  const { path, log, fsyncMs, syncs } = options;
  const tell = atMostEvery(minuteMs);
  const opened = openOutboxFile(options);
  /** Undefined once it is closed, or was damaged and could not be replaced: whoever owns the outbox opens it again. */
  let tables: OutboxTables | undefined = opened.tables;
  let housekeeping: Housekeeping | undefined;
  let writable = true;
  let failure: number | undefined;
  let wasDamaged = false;
  const room = path === undefined ? undefined : roomKeeper(`${path}-reserve`, () => tables, log);
  const ticks: (() => void)[] = [shrinker(() => tables, log), () => room?.regain()];
  const sync = groupSync({
    path: syncs && path !== undefined ? `${path}-wal` : undefined,
    everyMs: fsyncMs,
    log,
    onTick: () => {
      for (const tick of ticks) tick();
    },
    // The log's pages are copied into the database, which is synced: from there on nothing rests on them.
    onRepaired: () => tables?.exec("PRAGMA wal_checkpoint(RESTART)"),
  });

  function closeTables(): void {
    const closing = tables;
    tables = undefined;
    try {
      closing?.close();
    } catch (thrown) {
      log.warn({ path, found: messageOf(thrown) }, "the outbox file did not close cleanly");
    }
  }

  function replace(why: unknown): void {
    sync.forget();
    closeTables();
    try {
      const replaced = replaceOutboxFile(options, why, housekeeping?.recovering());
      tables = replaced.tables;
      housekeeping?.restart(replaced.damaged);
    } catch (thrown) {
      log.error(
        { code: "OUTBOX_FAILED", path, found: messageOf(thrown) },
        "the damaged outbox could not be replaced: is the medium full or read-only?",
      );
    }
    room?.doubt();
  }

  function survive<T>(action: string, work: (on: OutboxTables) => T, undo?: () => void): T | undefined {
    if (!tables) return undefined;
    try {
      return work(tables);
    } catch (thrown) {
      undo?.();
      failure = sqliteCode(thrown);
      if (failure === undefined) throw thrown;
      wasDamaged = isCorrupt(thrown);
      const found = messageOf(thrown);
      tell((heldBack) =>
        log.error({ code: "OUTBOX_FAILED", path, action, found, heldBack }, `the outbox could not ${action}`),
      );
      if (wasDamaged) replace(thrown);
      return undefined;
    }
  }

  /** One transaction, housekeeping included; once more on a full medium after what room there is was made. */
  function change<T>(action: string, work: (to: OutboxTables) => T): T | undefined {
    const done = attempt(action, work);
    if (failure !== Sqlite.full || !room) return done;
    room.make();
    return attempt(action, work);
  }

  function attempt<T>(action: string, work: (to: OutboxTables) => T): T | undefined {
    writable = false;
    failure = undefined;
    wasDamaged = false;
    housekeeping?.begun();
    return survive(
      action,
      (on) => {
        const result = on.transaction(() => {
          housekeeping?.clear(on);
          const done = work(on);
          housekeeping?.flush(on);
          return done;
        });
        writable = true;
        housekeeping?.flushed();
        sync.touch();
        return result;
      },
      () => housekeeping?.failed(),
    );
  }

  return {
    loaded: opened.loaded,
    change,
    /** As `change`, for what can wait: no room is made for it on a full medium, where the reserve is for new readings. */
    changeIfRoom: attempt,
    /** As `change`, and on the medium when it returns: for what must not be unknown after a power cut. Costs an fsync here and now. */
    changeSynced<T>(action: string, work: (to: OutboxTables) => T): T | undefined {
      survive(action, (on) => on.exec("PRAGMA synchronous = FULL"));
      try {
        return change(action, work);
      } finally {
        survive(action, (on) => on.exec("PRAGMA synchronous = NORMAL"));
      }
    },
    /** Whether the last transaction reached the file; never where there is none. */
    isWritable: (): boolean => writable && path !== undefined,
    /** Whether the last transaction failed for want of room. */
    isFull: (): boolean => failure === Sqlite.full,
    /** Whether the last transaction met a damaged file, in whose place a fresh one is by now. */
    isRenewed: (): boolean => wasDamaged && tables !== undefined,
    read: <T>(query: (from: OutboxTables) => T): T | undefined => survive("read records", query),
    keep: (with_: Housekeeping): void => {
      housekeeping = with_;
    },
    /** Has something done at every tick of the group fsync. */
    onTick: (act: () => void): void => void ticks.push(act),
    /** Closes at once, without a last word in the file. */
    abandon: (): void => {
      void sync.close();
      closeTables();
    },
    close: async (): Promise<void> => {
      await sync.close();
      change("close", () => undefined);
      closeTables();
    },
  };
}

export type OutboxStore = ReturnType<typeof outboxStore>;
