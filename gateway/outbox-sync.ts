import { messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { closeFile, openFile, syncData } from "./file-io.ts";
import { atMostEvery } from "./log-limit.ts";

export type GroupSyncOptions = {
  /** The write-ahead log; undefined where no fsync of ours is wanted. */
  path: string | undefined;
  everyMs: number;
  log: Logger;
  /** What else is done at each tick. */
  onTick: () => void;
  /** A sync that had failed succeeds again. */
  onRepaired: () => void;
};

/**
 * Group fsync: every `everyMs`, when something was written since, the write-ahead log goes to the medium on a worker thread of libuv, so
 * that 5-50 ms on a flash card delay no reading. SQLite keeps no lock on this file, hence a second descriptor of it is harmless. What does
 * delay one are SQLite's own syncs when it copies the log into the database, in the COMMIT that finds the log at its bound
 * (`checkpointPages`): three for some 100 records of ordinary size.
 *
 * Why the log alone is enough: SQLite (synchronous=NORMAL) syncs the log before it copies pages of it into the database, syncs the
 * database before it writes the log from its beginning again, and then syncs the log's new header, whose salt makes older frames void. So
 * at any moment what is not yet in the synced database is in the log, and a datasync covers all frames of it and its length. A frame that
 * is torn fails its checksum, which ends recovery at the transaction before it.
 */
export function groupSync(options: GroupSyncOptions) {
  const { path, everyMs, log, onTick, onRepaired } = options;
  const tell = atMostEvery(60_000);
  let descriptor: number | undefined;
  let dirty = false;
  let running: Promise<void> = Promise.resolve();
  let busy = false;
  let failed = false;
  let closed = false;

  async function release(): Promise<void> {
    const open = descriptor;
    descriptor = undefined;
    if (open !== undefined) await closeFile(open);
  }

  async function run(walPath: string): Promise<void> {
    busy = true;
    try {
      descriptor ??= await openFile(walPath, "r+");
      await syncData(descriptor);
      // After a failed fsync the system may call pages clean that it never wrote (fsyncgate): a later success covers them no more.
      if (failed && !closed) onRepaired();
      failed = false;
    } catch (thrown) {
      dirty = true;
      failed = true;
      tell((heldBack) =>
        log.error(
          { code: "OUTBOX_FSYNC", path, found: messageOf(thrown), heldBack },
          "the outbox could not be synced: a power cut now would cost readings; check the storage medium",
        ),
      );
    } finally {
      busy = false;
    }
  }

  const timer = setInterval(() => {
    onTick();
    if (!dirty || busy || path === undefined) return;
    dirty = false;
    running = run(path);
  }, everyMs);

  return {
    touch: (): void => {
      dirty = true;
    },
    /** The file is replaced: the next run opens the new one. */
    forget: (): void => {
      running = running.then(release, release);
    },
    close: async (): Promise<void> => {
      if (closed) return;
      closed = true;
      clearInterval(timer);
      await running;
      await release();
    },
  };
}
