import { expect, test } from "vitest";
import { qualityRatio } from "./quality-ratio.ts";
import { ratioOf } from "./ratio.ts";

const pieces = (n: number) => BigInt(n) * 1_000_000n;

test("by hand from the standard's formula, quality ratio: GQ 1,182 of PQ 1,200: 0.985", () => {
  expect(ratioOf(qualityRatio, { "production.good": pieces(1182), "production.total": pieces(1200) })).toEqual({
    value: "0.985",
    reason: null,
  });
});

test("it is rounded half up at six places, and nothing is divided by nothing", () => {
  expect(ratioOf(qualityRatio, { "production.good": pieces(1200), "production.total": pieces(1200) }).value).toBe("1");
  expect(ratioOf(qualityRatio, { "production.good": 0n, "production.total": 0n })).toEqual({
    value: null,
    reason: "no_production",
  });
});
