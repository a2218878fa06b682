/** A bounded memory of what happened, numbered 1, 2, 3, ...: the oldest is given up first, and counted. */

export type Numbered = { readonly sequence: number };

export type Ring<T extends Numbered> = {
  add(entry: Omit<T, "sequence">): void;
  /** What is kept, in order, with a greater sequence number than `after`. */
  after(sequence: number): Generator<T>;
  /** How many were ever added. */
  readonly added: number;
  /** How many were given up. */
  readonly dropped: number;
};

/** Creates a ring of at most `capacity` entries. */
export function createRing<T extends Numbered>(capacity: number): Ring<T> {
  // The entry with sequence n stands at (n - 1) % capacity.
  const entries: T[] = [];
  let last = 0;
  return {
    get added() {
      return last;
    },
    get dropped() {
      return last - entries.length;
    },
    add(entry) {
      last += 1;
      entries[(last - 1) % capacity] = { ...entry, sequence: last } as T;
    },
    *after(sequence) {
      for (let at = Math.max(last - entries.length, sequence) + 1; at <= last; at++) {
        const entry = entries[(at - 1) % capacity];
        if (entry !== undefined) yield entry;
      }
    },
  };
}
