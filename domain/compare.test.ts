import { describe, expect, test } from "vitest";
import { compareFigures, mixChange } from "./compare.ts";

const figure = (value: string | null, over = {}) => ({
  ...{ indicator: "energy.unit_product", level: "factory" as const, entity: "f1", unit: "kgce/pcs" },
  ...{ value, definitionVersion: 2, factorTable: "GB/T 2589-2020", lowerBound: false },
  ...over,
});
const mix = (shares: Record<string, number>) =>
  new Map(Object.entries(shares).map(([product, share]) => [product, BigInt(share)]));

test("by hand: 0.032 kgce a piece in the first quarter, 0.0304 in the second: 0.0016 less, a ratio of 0.95", () => {
  const mixes = { baseline: mix({ bar: 700, rod: 300 }), current: mix({ bar: 1360, rod: 640 }) };
  expect(compareFigures(figure("0.032"), figure("0.0304"), mixes)).toEqual({
    ...{ difference: "-0.0016", ratio: "0.95", reason: null },
    // Bar went from 70 % to 68 %.
    ...{ mixChange: 0.02, comparable: true },
  });
});

describe("what is not comparable says so", () => {
  test("another mix of products, an unknown one stands open", () => {
    const other = { baseline: mix({ bar: 1 }), current: mix({ bar: 1, rod: 1 }) };
    expect(compareFigures(figure("2"), figure("1"), other)).toMatchObject({
      ratio: "0.5",
      mixChange: 0.5,
      comparable: false,
    });
    expect(compareFigures(figure("2"), figure("1"))).toMatchObject({ mixChange: null, comparable: true });
    expect(mixChange(mix({ bar: 0 }), mix({ bar: 1 }))).toBeNull();
    expect(mixChange(mix({ bar: 3 }), mix({ rod: 5 }))).toBe(1);
  });

  test("another definition, factor table or a lower bound", () => {
    for (const over of [{ definitionVersion: 1 }, { factorTable: null }, { lowerBound: true }])
      expect(compareFigures(figure("2", over), figure("1"))).toMatchObject({ ratio: "0.5", comparable: false });
  });

  test("what is null, 0, or another figure has no ratio", () => {
    expect(compareFigures(figure(null), figure("1"))).toMatchObject({ difference: null, reason: "baseline_null" });
    expect(compareFigures(figure("1"), figure(null))).toMatchObject({ ratio: null, reason: "current_null" });
    expect(compareFigures(figure("0"), figure("1.5"))).toMatchObject({
      difference: "1.5",
      ratio: null,
      reason: "baseline_zero",
    });
    expect(compareFigures(figure("1"), figure("1", { entity: "f2" })).reason).toBe("different_figures");
  });

  test("figures below 0, as a balance can be", () => {
    expect(compareFigures(figure("-0.5"), figure("0.25"))).toMatchObject({ difference: "0.75", ratio: "-0.5" });
    expect(compareFigures(figure("-0.5"), figure("-0.25")).ratio).toBe("0.5");
  });
});
