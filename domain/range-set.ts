/** A closed range of whole numbers. */
export type Range = readonly [first: number, last: number];

/**
 * A set of whole numbers kept as sorted, disjoint, non-adjacent closed ranges: what has been stored of an epoch. Offsets arrive nearly
 * in order, so the set is a handful of ranges however many numbers it holds.
 */
export type RangeSet = {
  /** Adds a closed range. */
  readonly add: (first: number, last: number) => void;
  readonly has: (n: number) => boolean;
  /** The parts of a closed range that it holds, in order. */
  readonly within: (first: number, last: number) => Range[];
  /** The greatest number; undefined when it is empty. */
  readonly last: () => number | undefined;
  readonly ranges: () => Range[];
  /** How many numbers it holds. */
  readonly size: () => number;
};

export function rangeSet(initial: Iterable<Range> = []): RangeSet {
  const firsts: number[] = [];
  const lasts: number[] = [];

  /** Index of the first range that ends at or after n. */
  function seek(n: number): number {
    let low = 0;
    let high = lasts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((lasts[middle] as number) < n) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function add(first: number, last: number): void {
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last) || first < 0 || last < first) {
      throw new RangeError(`[${first}, ${last}] is not a range of offsets`);
    }
    const from = seek(first - 1);
    let to = from;
    let low = first;
    let high = last;
    while (to < firsts.length && (firsts[to] as number) <= last + 1) {
      low = Math.min(low, firsts[to] as number);
      high = Math.max(high, lasts[to] as number);
      to += 1;
    }
    firsts.splice(from, to - from, low);
    lasts.splice(from, to - from, high);
  }

  function within(first: number, last: number): Range[] {
    const found: Range[] = [];
    for (let i = seek(first); i < firsts.length && (firsts[i] as number) <= last; i += 1) {
      found.push([Math.max(first, firsts[i] as number), Math.min(last, lasts[i] as number)]);
    }
    return found;
  }

  for (const [first, last] of initial) add(first, last);
  return {
    add,
    within,
    last: () => lasts.at(-1),
    has: (n) => {
      const i = seek(n);
      return i < firsts.length && (firsts[i] as number) <= n;
    },
    ranges: () => firsts.map((first, i) => [first, lasts[i] as number] as const),
    size: () => firsts.reduce((sum, first, i) => sum + (lasts[i] as number) - first + 1, 0),
  };
}
