import { expect, test } from "vitest";
import { formatFraction } from "./fraction.ts";

test("a fraction is rounded half up, once", () => {
  const rounded = (numerator: bigint, denominator: bigint, places: number) =>
    formatFraction({ numerator, denominator }, places);
  expect(rounded(1n, 8n, 2)).toBe("0.13");
  expect(rounded(3n, 8n, 2)).toBe("0.38");
  expect(rounded(1n, 3n, 6)).toBe("0.333333");
  expect(rounded(2n, 3n, 6)).toBe("0.666667");
  expect(rounded(0n, 5n, 6)).toBe("0");
  expect(rounded(10n ** 40n + 1n, 10n ** 40n, 6)).toBe("1");
  expect(rounded(7n, 2n, 0)).toBe("4");
});
