import { expect, test } from "vitest";
import { qualityFpy } from "./quality-fpy.ts";
import { ratioOf } from "./ratio.ts";

const pieces = (n: number) => BigInt(n) * 1_000_000n;

test("by hand from the standard's formula, FPY: 950 of 1,000 inspected parts passed at first inspection: 0.95", () => {
  expect(ratioOf(qualityFpy, { "inspection.passed": pieces(950), "inspection.inspected": pieces(1000) })).toEqual({
    value: "0.95",
    reason: null,
  });
});

test("it is rounded half up at six places, and nothing is divided by nothing", () => {
  expect(ratioOf(qualityFpy, { "inspection.passed": pieces(2), "inspection.inspected": pieces(3) }).value).toBe(
    "0.666667",
  );
  expect(ratioOf(qualityFpy, { "inspection.passed": 0n, "inspection.inspected": 0n })).toEqual({
    value: null,
    reason: "no_production",
  });
});
