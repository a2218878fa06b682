import { storeClosed } from "../thread/faults.ts";

/** Calls that run some at a time, in order of arrival. How many may wait is bounded by the callers. */
export type Lanes = {
  readonly run: <T>(work: () => Promise<T>) => Promise<T>;
  /** Rejects what waits (STORE_CLOSED) and everything from now on; resolves when what runs has ended. */
  readonly close: () => Promise<void>;
};

export function createLanes(atOnce: number): Lanes {
  const waiting: PromiseWithResolvers<void>[] = [];
  const idle = Promise.withResolvers<void>();
  let running = 0;
  let closed = false;

  function release(): void {
    const next = waiting.shift();
    if (next) next.resolve();
    else running -= 1;
    if (closed && running === 0) idle.resolve();
  }

  return {
    run: async (work) => {
      if (closed) throw storeClosed();
      if (running < atOnce) running += 1;
      else {
        const turn = Promise.withResolvers<void>();
        waiting.push(turn);
        await turn.promise;
      }
      try {
        return await work();
      } finally {
        release();
      }
    },
    close: async () => {
      closed = true;
      for (const turn of waiting.splice(0)) turn.reject(storeClosed());
      if (running > 0) await idle.promise;
    },
  };
}
