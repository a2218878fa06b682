import { messageOf } from "./errors.ts";

/** Different faults of one matter that are told apart; what comes beyond them is counted. */
const maxKinds = 8;

export type FaultTeller = {
  /** Told of each try that failed. */
  readonly failed: (thrown: unknown) => void;
  /** Told of each try that went well. */
  readonly well: () => void;
};

/**
 * Tells of something that is tried again and again, every second maybe, what a person needs: a fault when it begins, one with another
 * message, what lasts once in `againMs`, with how often it was held back, and the end, after it has gone well for `calmMs`: what fails
 * every other time is one fault and not many.
 * @param nowMs the machine's monotonic clock if absent
 */
export function faultTeller({
  tell,
  over,
  againMs = 3_600_000,
  calmMs = 60_000,
  nowMs = () => performance.now(),
}: {
  tell: (thrown: unknown, heldBack: number) => void;
  over: () => void;
  againMs?: number;
  calmMs?: number;
  nowMs?: () => number;
}): FaultTeller {
  const told = new Set<string>();
  let toldMs = Number.NEGATIVE_INFINITY;
  let failedMs = Number.NEGATIVE_INFINITY;
  let heldBack = 0;
  return {
    failed: (thrown) => {
      failedMs = nowMs();
      const message = messageOf(thrown);
      const isNew = !told.has(message) && told.size < maxKinds;
      if (!isNew && failedMs - toldMs < againMs) {
        heldBack += 1;
        return;
      }
      const count = heldBack;
      if (isNew) told.add(message);
      toldMs = failedMs;
      heldBack = 0;
      tell(thrown, count);
    },
    well: () => {
      if (told.size === 0 || nowMs() - failedMs < calmMs) return;
      told.clear();
      heldBack = 0;
      over();
    },
  };
}
