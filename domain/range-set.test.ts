import { describe, expect, it } from "vitest";
import { type Range, rangeSet } from "./range-set.ts";
import { randomFrom } from "./test-random.ts";

function rangesOf(model: ReadonlySet<number>): Range[] {
  const found: [number, number][] = [];
  for (const n of [...model].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else found.push([n, n]);
  }
  return found;
}

describe("range set", () => {
  it("joins what touches or overlaps, and nothing else", () => {
    const set = rangeSet([[10, 12]]);
    set.add(14, 15);
    expect(set.ranges()).toEqual([
      [10, 12],
      [14, 15],
    ]);
    set.add(13, 13);
    expect(set.ranges()).toEqual([[10, 15]]);
    set.add(0, 3);
    set.add(20, 30);
    set.add(2, 25);
    expect(set.ranges()).toEqual([[0, 30]]);
    expect(set.size()).toBe(31);
  });

  it("equals a plain set after any sequence of additions", () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = randomFrom(seed);
      const set = rangeSet();
      const model = new Set<number>();
      for (let step = 0; step < 60; step += 1) {
        const first = random.below(200);
        const last = first + random.below(random.below(4) === 0 ? 30 : 3);
        set.add(first, last);
        for (let n = first; n <= last; n += 1) model.add(n);
        expect(set.ranges(), `seed ${seed} step ${step}`).toEqual(rangesOf(model));
      }
      expect(set.size()).toBe(model.size);
      for (let n = 0; n < 240; n += 1) expect(set.has(n), `seed ${seed}: ${n}`).toBe(model.has(n));
      expect(rangeSet(set.ranges()).ranges()).toEqual(set.ranges());
      expect(set.last()).toBe(Math.max(...model));
      for (let first = 0; first < 240; first += 7) {
        const last = first + random.below(60);
        const inside = new Set([...model].filter((n) => n >= first && n <= last));
        expect(set.within(first, last), `seed ${seed}: [${first}, ${last}]`).toEqual(rangesOf(inside));
      }
    }
  });

  it.each([
    [-1, 2],
    [3, 2],
    [0.5, 2],
    [0, Number.NaN],
    [0, 2 ** 53],
  ])("refuses [%d, %d]", (first, last) => {
    expect(() => rangeSet().add(first, last)).toThrow(RangeError);
  });
});
