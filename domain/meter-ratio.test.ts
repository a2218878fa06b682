import { expect, test } from "vitest";
import { ratioOf, timesRatio } from "./meter-ratio.ts";

test("the product of both transformers, as on their plates", () => {
  expect(ratioOf("800/5", "10000/100")).toEqual({ numerator: 16_000n, denominator: 1n });
  expect(ratioOf("200:3", undefined)).toEqual({ numerator: 200n, denominator: 3n });
  expect(ratioOf(1.5, "2.5/0.5")).toEqual({ numerator: 15n, denominator: 2n });
  expect(ratioOf(undefined, undefined)).toBeUndefined();
  expect(ratioOf("5/5", 1)).toBeUndefined();
  for (const wrong of ["", "a/5", "1/0", "-1", "1/2/3", "1/"]) expect(() => ratioOf(wrong), wrong).toThrow(RangeError);
});

test("positions are rounded, so that increases add up to the whole", () => {
  const third = ratioOf("1/3");
  const positions = [0n, 1n, 2n, 3n, 4n].map((value) => timesRatio(value, third));
  expect(positions).toEqual([0n, 0n, 1n, 1n, 1n]);
  expect(timesRatio(7n, ratioOf("800/5"))).toBe(1120n);
  expect(timesRatio(7n, undefined)).toBe(7n);
});
