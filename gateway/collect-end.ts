/** How collecting from a device ends: nothing new is begun, and what is under way has a moment to end well before it is given up. */

/** The promise, or the signal's abort, whichever comes first: a driver that ignores its signal holds nothing up. */
export function orAbort<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const settle = (finish: () => void) => {
      signal.removeEventListener("abort", onAbort);
      finish();
    };
    // Called inside a promise, so that a driver that throws at once rejects like any other.
    Promise.resolve()
      .then(work)
      .then(
        (value) => settle(() => resolve(value)),
        (thrown: unknown) => settle(() => reject(thrown)),
      );
  });
}

/** What a poll under way may take still: its device has answered, or is about to, and nobody asks it again. */
const graceMs = 500;

/**
 * The two ends of a device. `leaving` aborts what only waits, `stopping` what is under way: with it, or where a poll is awaited, when that has
 * ended or after 500 ms.
 */
export function deviceEnd() {
  const leaving = new AbortController();
  const stopping = new AbortController();
  return {
    leaving: leaving.signal,
    stopping: stopping.signal,
    /** Resolves with `running`, which what was aborted ends. @param awaitsPoll whether a poll is under way that may end well */
    async end(running: Promise<void>, awaitsPoll: boolean): Promise<void> {
      leaving.abort();
      if (!awaitsPoll) stopping.abort();
      const timer = setTimeout(() => stopping.abort(), graceMs);
      await running.finally(() => clearTimeout(timer));
    },
  };
}
