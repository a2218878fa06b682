import { expect, test } from "vitest";
import { oeeQuality } from "./oee-quality.ts";
import { ratioOf } from "./ratio.ts";

const pieces = (n: number) => BigInt(n) * 1_000_000n;

test("by hand from the standard's formula, Q: GQ 19 of PQ 20: 0.95", () => {
  expect(ratioOf(oeeQuality, { "production.good": pieces(19), "production.total": pieces(20) })).toEqual({
    value: "0.95",
    reason: null,
  });
});

test("it is rounded half up at six places, and nothing is divided by nothing", () => {
  expect(ratioOf(oeeQuality, { "production.good": pieces(1), "production.total": pieces(7) }).value).toBe("0.142857");
  expect(ratioOf(oeeQuality, { "production.good": 0n, "production.total": 0n })).toEqual({
    value: null,
    reason: "no_production",
  });
});
