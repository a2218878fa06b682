import { describe, expect, it } from "vitest";
import { type CounterLeaf, emptyLeaf, estimatedOf, mergeLeaves } from "./leaf.ts";
import { randomFrom } from "./test-random.ts";

const leaf = (over: Partial<CounterLeaf>): CounterLeaf => ({ ...emptyLeaf, ...over });
const gap = (amount: bigint) => leaf({ amount, left: amount, right: amount, inGap: true });

function randomLeaf(random: ReturnType<typeof randomFrom>): CounterLeaf {
  const amount = BigInt(random.below(1000));
  if (random.below(4) === 0) return gap(amount);
  if (random.below(8) === 0) return emptyLeaf;
  const left = BigInt(random.below(Number(amount) + 1));
  return leaf({
    amount,
    left,
    right: amount - left,
    coveredMs: random.below(60_000),
    gapMs: random.below(60_000),
    samples: random.below(60),
    resets: random.below(3),
  });
}

describe("merging leaves", () => {
  it("is associative, over random sequences and every way to split them", () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const random = randomFrom(seed);
      const leaves = Array.from({ length: 2 + random.below(8) }, () => randomLeaf(random));
      const all = leaves.reduce(mergeLeaves);
      for (let at = 1; at < leaves.length; at += 1) {
        const [early, late] = [leaves.slice(0, at), leaves.slice(at)];
        expect(mergeLeaves(early.reduce(mergeLeaves), late.reduce(mergeLeaves)), `seed ${seed} at ${at}`).toEqual(all);
      }
      expect(all.amount).toBe(leaves.reduce((sum, l) => sum + l.amount, 0n));
      expect(estimatedOf(all) <= all.amount).toBe(true);
    }
  });

  it("makes a gap inside a period certain: only what its edges got stays an estimate", () => {
    // Readings up to 10:00:30 and from 10:02:30 on: 4 counted in the gap, spread over three minutes as 1, 2, 1.
    const minutes = [leaf({ amount: 6n, right: 1n }), gap(2n), leaf({ amount: 4n, left: 1n })] as const;
    expect(minutes.map(estimatedOf)).toEqual([1n, 2n, 1n]);
    const [first, second, third] = minutes;
    expect(estimatedOf(mergeLeaves(first, second))).toBe(3n);
    expect(estimatedOf(mergeLeaves(second, third))).toBe(3n);
    const whole = mergeLeaves(mergeLeaves(first, second), third);
    expect(whole).toMatchObject({ amount: 12n, left: 0n, right: 0n, inGap: false });
    expect(estimatedOf(whole)).toBe(0n);
  });

  it("keeps a period that lies wholly in a gap an estimate", () => {
    const both = mergeLeaves(gap(2n), gap(3n));
    expect(both).toMatchObject({ amount: 5n, left: 5n, right: 5n, inGap: true });
    expect(estimatedOf(both)).toBe(5n);
  });
});
