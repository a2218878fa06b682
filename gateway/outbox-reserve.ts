import { randomBytes } from "node:crypto";
import { rmSync, statSync, writeFileSync } from "node:fs";

/** Twice what the write-ahead log may hold before it is copied into the database, see {@link checkpointPages}. */
const reserveBytes = 4 * 1024 * 1024;
/** Pages of it that the database may take (1 MiB: 70,000 samples or so); the rest is the log's. */
export const reservePages = 256;
/** Pages of the log after which SQLite copies it into the database: 2 MiB. */
export const checkpointPages = 512;

/**
 * A file of a few MiB beside the outbox that is deleted when the medium is full. Without it a full medium could be for ever: to delete a
 * record takes room in the log, to empty the log takes room in the database. Its bytes are random because some file systems store zeros
 * in no room.
 */
export function reserveFile(path: string) {
  function isHeld(): boolean {
    try {
      return statSync(path).size === reserveBytes;
    } catch {
      return false;
    }
  }

  /** Deletes it: its room is there for what must be written now. @returns whether there was one */
  function release(): boolean {
    const held = isHeld();
    try {
      rmSync(path, { force: true });
      return held;
    } catch {
      // The medium fails in another way than for want of room.
      return false;
    }
  }

  /** Makes it where it is missing. Returns whether it is there: a medium without so much room is as good as full. */
  function restore(): boolean {
    if (isHeld()) return true;
    try {
      writeFileSync(path, randomBytes(reserveBytes));
    } catch {
      release();
    }
    return isHeld();
  }

  return { release, restore };
}
