/**
 * The leaf of a counter: what one minute of one counter of one device contributes. Leaves merge (the operation is associative), so an
 * hour is the merge of its minutes and a day of its hours, to the same digits whatever the grouping (CONTRACTS 4).
 */
export type CounterLeaf = {
  /** Increase within the period, integer at the scale of the role's unit. Sum over neighbours telescopes to last minus first. */
  amount: bigint;
  /**
   * Parts of `amount` that interpolation across a gap over the period's start (`left`) or end (`right`) assigned to it. A gap is two
   * neighbouring readings further apart than the staleness window. Inside a merged period a gap is no estimate: its end points are known.
   */
  left: bigint;
  right: bigint;
  /** True when the whole period lies inside one gap: everything in it is an estimate, and left = right = amount. */
  inGap: boolean;
  /** Milliseconds covered by neighbouring readings not further apart than the staleness window. */
  coveredMs: number;
  /** Milliseconds between neighbouring readings further apart than that: the increase is known, its course is not. */
  gapMs: number;
  /** Usable readings inside the period. */
  samples: number;
  /** Minutes touched by increases that could not be told (unexplained resets): `amount` is then a lower bound. */
  resets: number;
};

/** The leaf of a minute of which nothing is known. Merging it changes nothing but breaks a gap's continuity. */
export const emptyLeaf: CounterLeaf = {
  amount: 0n,
  left: 0n,
  right: 0n,
  inGap: false,
  coveredMs: 0,
  gapMs: 0,
  samples: 0,
  resets: 0,
};

/** Merges two neighbouring periods, earlier first. Associative; a test holds that. */
export function mergeLeaves(a: CounterLeaf, b: CounterLeaf): CounterLeaf {
  return {
    amount: a.amount + b.amount,
    left: a.inGap ? a.amount + b.left : a.left,
    right: b.inGap ? a.right + b.amount : b.right,
    inGap: a.inGap && b.inGap,
    coveredMs: a.coveredMs + b.coveredMs,
    gapMs: a.gapMs + b.gapMs,
    samples: a.samples + b.samples,
    resets: a.resets + b.resets,
  };
}

/** True when a leaf tells an increase, even one of 0: some part of the period lies between two readings. A first reading alone tells none. */
export function tellsIncrease(leaf: CounterLeaf): boolean {
  return leaf.coveredMs + leaf.gapMs > 0;
}

/** The part of a leaf's amount that is an estimate. */
export function estimatedOf(leaf: CounterLeaf): bigint {
  return leaf.inGap ? leaf.amount : leaf.left + leaf.right;
}
