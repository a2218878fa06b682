import { expect, test } from "vitest";
import { qualityScrapRatio } from "./quality-scrap-ratio.ts";
import { ratioOf } from "./ratio.ts";

const pieces = (n: number) => BigInt(n) * 1_000_000n;

test("by hand from the standard's formula, scrap ratio: SQ 18 of PQ 1,200: 0.015", () => {
  expect(ratioOf(qualityScrapRatio, { "production.scrap": pieces(18), "production.total": pieces(1200) })).toEqual({
    value: "0.015",
    reason: null,
  });
});

test("it is rounded half up at six places, and nothing is divided by nothing", () => {
  expect(
    ratioOf(qualityScrapRatio, { "production.scrap": pieces(1), "production.total": pieces(2_000_000) }).value,
  ).toBe("0.000001");
  expect(ratioOf(qualityScrapRatio, { "production.scrap": 0n, "production.total": 0n })).toEqual({
    value: null,
    reason: "no_production",
  });
});
