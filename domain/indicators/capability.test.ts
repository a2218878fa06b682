import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CapabilitySum } from "../period-sums.ts";
import { machine, measured, site } from "./examples.ts";
import { qualityCp } from "./quality-cp.ts";
import { qualityCpk } from "./quality-cpk.ts";

const of = (values: readonly string[], limits: Partial<Pick<CapabilitySum, "lower" | "upper">>) => {
  const capability = { metric: "D", lower: undefined, upper: undefined, ...limits, samples: measured(values) };
  return site([machine("m", {}, { capability })]);
};
const [lower, upper] = [9_700_000n, 10_300_000n];
const values = ["9.9", "10", "10.1", "10", "10"];

describe("what makes them null, or less than expected", () => {
  test("no limits, no values, one value, equal values", () => {
    expect(qualityCp.figure(site([machine("m", {})]))).toMatchObject({ value: null, reason: "no_limits" });
    expect(qualityCp.figure(of([], { lower, upper })).reason).toBe("no_data");
    expect(qualityCp.figure(of(["10"], { lower, upper })).reason).toBe("too_few");
    expect(qualityCpk.figure(of(["10", "10"], { lower, upper })).reason).toBe("no_spread");
  });

  test("with one limit there is a Cpk and no Cp", () => {
    expect(qualityCp.figure(of(values, { upper })).reason).toBe("no_limits");
    expect(qualityCpk.figure(of(values, { upper })).value).toBe("1.414214");
  });

  test("a mean outside the limits is below 0", () => {
    // The mean 10 lies 0.1 above the upper limit 9.9: -0.1 / (3 x 0.070711).
    expect(qualityCpk.figure(of(values, { lower, upper: 9_900_000n })).value).toBe("-0.471405");
  });

  test("of several machines the lowest is told", () => {
    const devices = [lower, 9_950_000n].flatMap(
      (limit) => of(values, { lower: limit, upper }).factories[0]?.devices ?? [],
    );
    expect(qualityCpk.figure(site(devices)).value).toBe("0.235702");
  });
});

test("against textbook formulas in floating point, and the same however the values are grouped", () => {
  const tenths = fc.array(fc.integer({ min: 900, max: 1100 }), { minLength: 2, maxLength: 50 });
  fc.assert(
    fc.property(tenths, (numbers) => {
      fc.pre(new Set(numbers).size > 1);
      const site = of(
        numbers.map((n) => (n / 100).toFixed(2)),
        { lower, upper },
      );
      const mean = numbers.reduce((a, b) => a + b, 0) / numbers.length / 100;
      const variance = numbers.reduce((sum, n) => sum + (n / 100 - mean) ** 2, 0) / (numbers.length - 1);
      const sigma = Math.sqrt(variance);
      expect(Number(qualityCp.figure(site).value)).toBeCloseTo(0.6 / (6 * sigma), 5);
      expect(Number(qualityCpk.figure(site).value)).toBeCloseTo(Math.min(10.3 - mean, mean - 9.7) / (3 * sigma), 5);
    }),
  );
});
