import { describe, expect, test } from "vitest";
import { compareFigures, mixChange } from "./compare.ts";
import { dayMs } from "./periods.ts";
import type { Result } from "./result.ts";

const startMs = Date.UTC(2026, 8, 30, 16);
const figure = (value: string | null, over: Partial<Result> = {}): Result => ({
  ...{ indicator: "energy.unit_product", level: "factory", entity: "f1", period: "month", unit: "kgce/pcs" },
  ...{ startMs, endMs: startMs + 31 * dayMs, asOfMs: startMs + 40 * dayMs, status: "final", revision: 0 },
  ...{ value, reason: value === null ? "no_data" : null, completeness: 1, estimatedShare: 0, lowerBound: false },
  ...{ definitionVersion: 2, factorTable: "GB/T 2589-2020", registryVersion: "a", inputWatermark: 1, simulated: false },
  ...over,
});
const mix = (shares: Record<string, number>) =>
  new Map(Object.entries(shares).map(([product, share]) => [product, BigInt(share)]));

test("by hand: 0.032 kgce a piece in the first quarter, 0.0304 in the second: 0.0016 less, a ratio of 0.95", () => {
  // Bar went from 70 % to 68 %.
  const change = mixChange(mix({ bar: 700, rod: 300 }), mix({ bar: 1360, rod: 640 }));
  expect(change).toBe(0.02);
  expect(compareFigures(figure("0.032"), figure("0.0304"), { better: "less", mixChange: change })).toEqual({
    ...{ difference: "-0.0016", ratio: "0.95", reason: null },
    ...{ direction: "better", caveats: [], comparable: true },
  });
});

describe("what is not comparable says so", () => {
  test("half a month's readings are no saving; another version of the registry stands open", () => {
    const half = figure("500", { completeness: 0.5, registryVersion: "b" });
    expect(compareFigures(figure("1000"), half, { better: "less" })).toMatchObject({
      ...{ ratio: "0.5", direction: "better", caveats: ["incomplete", "registry_differs"], comparable: false },
    });
    const applied = figure("500", { registryVersion: "b" });
    expect(compareFigures(figure("1000"), applied)).toMatchObject({ caveats: ["registry_differs"], comparable: true });
  });

  test("another mix of products; an unknown one stands open", () => {
    const change = mixChange(mix({ bar: 1 }), mix({ bar: 1, rod: 1 }));
    expect(change).toBe(0.5);
    expect(compareFigures(figure("2"), figure("1"), { mixChange: change })).toMatchObject({
      ...{ ratio: "0.5", caveats: ["mix_changed"], comparable: false },
    });
    expect(compareFigures(figure("2"), figure("1"), { mixChange: 0.05 }).comparable).toBe(true);
    expect(compareFigures(figure("2"), figure("1"))).toMatchObject({ caveats: [], comparable: true });
    expect(mixChange(mix({ bar: 0 }), mix({ bar: 1 }))).toBeNull();
    expect(mixChange(mix({ bar: 3 }), mix({ rod: 5 }))).toBe(1);
    expect(mixChange(undefined, mix({ rod: 5 }))).toBeNull();
  });

  test("another definition, factor table, a lower bound, or what is not final", () => {
    const found = (over: Partial<Result>) => {
      const { ratio, caveats, comparable } = compareFigures(figure("2", over), figure("1"));
      return [ratio, caveats, comparable];
    };
    expect(found({ definitionVersion: 1 })).toEqual(["0.5", ["definition_differs"], false]);
    expect(found({ factorTable: null })).toEqual(["0.5", ["factor_table_differs"], false]);
    expect(found({ lowerBound: true })).toEqual(["0.5", ["lower_bound"], false]);
    expect(found({ status: "provisional" })).toEqual(["0.5", ["provisional"], true]);
  });

  test("amounts of periods that are not equally long, or of which one runs; ratios of them are comparable", () => {
    const shorter = { endMs: startMs + 30 * dayMs };
    const energy = { indicator: "energy.electricity", unit: "kWh" };
    const lengths = [
      compareFigures(figure("2", energy), figure("1", { ...energy, ...shorter })),
      compareFigures(figure("2", energy), figure("1", { ...energy, asOfMs: startMs + dayMs })),
      compareFigures(figure("2", energy), figure("1", energy)),
      compareFigures(figure("2"), figure("1", shorter)),
    ];
    expect(lengths.map(({ caveats }) => caveats)).toEqual([["length_differs"], ["length_differs"], [], []]);
  });

  test("what is null, 0, or another figure has no ratio", () => {
    expect(compareFigures(figure(null), figure("1"))).toMatchObject({ difference: null, reason: "baseline_null" });
    expect(compareFigures(figure("1"), figure(null))).toMatchObject({ ratio: null, reason: "current_null" });
    expect(compareFigures(figure("0"), figure("1.5"), { better: "less" })).toMatchObject({
      ...{ difference: "1.5", ratio: null, reason: "baseline_zero", direction: "worse" },
    });
    expect(compareFigures(figure("1"), figure("1", { entity: "f2" })).reason).toBe("different_figures");
  });
});

test("more or less is better, worse, the same, or neither, as the indicator says", () => {
  const of = (was: string, is: string, better?: "more" | "less") =>
    compareFigures(figure(was), figure(is), { better }).direction;
  expect([of("1", "2", "more"), of("1", "2", "less"), of("1", "2")]).toEqual(["better", "worse", null]);
  expect([of("2", "1", "more"), of("2", "1", "less"), of("1.0", "1", "less")]).toEqual(["worse", "better", "same"]);
});

test("figures below 0, as a balance can be", () => {
  expect(compareFigures(figure("-0.5"), figure("0.25"))).toMatchObject({ difference: "0.75", ratio: "-0.5" });
  expect(compareFigures(figure("-0.5"), figure("-0.25")).ratio).toBe("0.5");
});
