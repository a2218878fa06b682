import { expect, test } from "vitest";
import { qualityReworkRatio } from "./quality-rework-ratio.ts";
import { ratioOf } from "./ratio.ts";

const pieces = (n: number) => BigInt(n) * 1_000_000n;

test("by hand from the standard's formula, rework ratio: RQ 27 of PQ 1,200: 0.0225", () => {
  expect(ratioOf(qualityReworkRatio, { "production.rework": pieces(27), "production.total": pieces(1200) })).toEqual({
    value: "0.0225",
    reason: null,
  });
});

test("it is rounded half up at six places, and nothing is divided by nothing", () => {
  expect(ratioOf(qualityReworkRatio, { "production.rework": pieces(1), "production.total": pieces(3) }).value).toBe(
    "0.333333",
  );
  expect(ratioOf(qualityReworkRatio, { "production.rework": 0n, "production.total": 0n })).toEqual({
    value: null,
    reason: "no_production",
  });
});
