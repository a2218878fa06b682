/**
 * Makes something at most once in a while, for all who ask meanwhile. A failure is not shared: the next one asks again.
 * @param forMs on the machine's own time
 */
export function shareFor<T>(forMs: number, make: () => Promise<T>): () => Promise<T> {
  let current: { untilMs: number; made: Promise<T> } | undefined;
  return () => {
    const nowMs = performance.now();
    if (current && nowMs < current.untilMs) return current.made;
    const mine = { untilMs: nowMs + forMs, made: make() };
    current = mine;
    mine.made.catch(() => {
      if (current === mine) current = undefined;
    });
    return mine.made;
  };
}
