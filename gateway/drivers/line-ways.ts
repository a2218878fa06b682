import { pause } from "./line-medium.ts";

/**
 * Several ways to what may be one line: a converter and another one beside it that stands in for it. To the devices behind both they are two
 * masters, and two masters at once garble each other. So only one way is asked at a time, and the other one waits also for as long as the
 * first may still be waiting for a device that was given up.
 */
export type Ways = {
  /**
   * Waits for its turn; an abort ends the wait early and is no error.
   * @param way whichever it is, the same each time
   * @returns ends the turn. @param busyUntilMs until when this way may go on by itself, machine time
   */
  readonly take: (way: string, signal: AbortSignal) => Promise<(busyUntilMs: number) => void>;
};

export function createWays(): Ways {
  let tail: Promise<void> = Promise.resolve();
  let last = "";
  let busyUntilMs = Number.NEGATIVE_INFINITY;
  return {
    async take(way, signal) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const before = tail;
      tail = before.then(() => promise);
      await before;
      const waitMs = way === last ? 0 : busyUntilMs - performance.now();
      if (waitMs > 0) await pause(Math.ceil(waitMs), signal);
      last = way;
      return (untilMs) => {
        busyUntilMs = untilMs;
        resolve();
      };
    },
  };
}
