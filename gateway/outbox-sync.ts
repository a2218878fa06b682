import { type FileHandle, open } from "node:fs/promises";
import { messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { atMostEvery } from "./log-limit.ts";

/**
 * Group fsync: every `everyMs`, when something was written since, the write-ahead log goes to the medium on a worker thread of libuv, so
 * that 5-50 ms on a flash card delay no reading. SQLite keeps no lock on this file, hence a second descriptor of it is harmless.
 */
export function groupSync(options: { path: string; everyMs: number; log: Logger; onTick: () => void }) {
  const { path, everyMs, log, onTick } = options;
  const tell = atMostEvery(60_000);
  let handle: FileHandle | undefined;
  let dirty = false;
  let running: Promise<void> = Promise.resolve();
  let busy = false;
  let closed = false;

  async function release(): Promise<void> {
    const open = handle;
    handle = undefined;
    await open?.close();
  }

  async function run(): Promise<void> {
    busy = true;
    try {
      handle ??= await open(path, "r+");
      await handle.datasync();
    } catch (thrown) {
      dirty = true;
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
    if (!dirty || busy) return;
    dirty = false;
    running = run();
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
