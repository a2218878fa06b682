import { messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { atMostEvery } from "./log-limit.ts";
import { isCorrupt, type OutboxFileOptions, openOutboxFile, replaceOutboxFile, sqliteCode } from "./outbox-file.ts";
import { groupSync } from "./outbox-sync.ts";
import { type OutboxTables, outboxTables } from "./outbox-tables.ts";

/** Free pages kept for the next records (1 MiB), and pages given back to the file system in one step. */
const sparePages = 256;
const pagesPerStep = 512;
const minuteMs = 60_000;

/** What must be written with the next transaction, whichever it is. */
export type Housekeeping = {
  /** Writes what is marked as changed; inside a transaction. */
  readonly flush: (to: OutboxTables) => void;
  /** That transaction has committed. */
  readonly flushed: () => void;
  /** The file was found damaged and replaced by an empty one. */
  readonly restart: () => void;
};

/** Gives freed pages back to the file system step by step; a pass ends with a checkpoint, which is what shortens the file. */
function shrinker(tables: () => OutboxTables, log: Logger): () => void {
  const tell = atMostEvery(minuteMs);
  let shrinking = false;
  return () => {
    try {
      const spare = tables().freePages();
      if (spare > sparePages) {
        tables().exec(`PRAGMA incremental_vacuum(${Math.min(pagesPerStep, spare - sparePages)})`);
        shrinking = true;
      } else if (shrinking) {
        tables().exec("PRAGMA wal_checkpoint(PASSIVE)");
        shrinking = false;
      }
    } catch (thrown) {
      tell(() => log.warn({ code: "OUTBOX_FAILED", found: messageOf(thrown) }, "the outbox could not shrink"));
    }
  };
}

/**
 * Access to the file that survives its failures: a transaction or query that fails is told (once a minute) and gives undefined; a file
 * that turns out damaged is replaced while the gateway runs.
 */
export function outboxStore(options: OutboxFileOptions & { fsyncMs: number }) {
  const { path, log, fsyncMs } = options;
  const tell = atMostEvery(minuteMs);
  let tables = outboxTables(openOutboxFile(options));
  let housekeeping: Housekeeping | undefined;
  let writable = true;
  const sync = groupSync({ path: `${path}-wal`, everyMs: fsyncMs, log, onTick: shrinker(() => tables, log) });

  function replace(why: unknown): void {
    sync.forget();
    try {
      tables.close();
    } catch (thrown) {
      log.warn({ path, found: messageOf(thrown) }, "the damaged outbox file did not close cleanly");
    }
    tables = outboxTables(replaceOutboxFile(options, why));
    housekeeping?.restart();
  }

  function survive<T>(action: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (thrown) {
      if (sqliteCode(thrown) === undefined) throw thrown;
      const found = messageOf(thrown);
      tell((heldBack) =>
        log.error({ code: "OUTBOX_FAILED", path, action, found, heldBack }, `the outbox could not ${action}`),
      );
      if (isCorrupt(thrown)) replace(thrown);
      return undefined;
    }
  }

  /** One transaction, housekeeping included. That comes last: on a full disk the room it needs is what `work` has freed. */
  function change<T>(action: string, work: (to: OutboxTables) => T): T | undefined {
    writable = false;
    return survive(action, () => {
      const result = tables.transaction(() => {
        const done = work(tables);
        housekeeping?.flush(tables);
        return done;
      });
      writable = true;
      housekeeping?.flushed();
      sync.touch();
      return result;
    });
  }

  return {
    change,
    /** Whether the last transaction reached the file. */
    isWritable: (): boolean => writable,
    read: <T>(query: (from: OutboxTables) => T): T | undefined => survive("read records", () => query(tables)),
    load: () => ({ ...tables.load(), oldest: tables.oldest() }),
    keep: (with_: Housekeeping): void => {
      housekeeping = with_;
    },
    close: async (): Promise<void> => {
      await sync.close();
      change("close", () => undefined);
      tables.close();
    },
  };
}

export type OutboxStore = ReturnType<typeof outboxStore>;
