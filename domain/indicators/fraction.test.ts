import fc from "fast-check";
import { expect, test } from "vitest";
import { formatFraction, formatRoot, rootOf } from "./fraction.ts";

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

test("a fraction below 0 is rounded by its size, and a small one is 0 without a sign", () => {
  expect(formatFraction({ numerator: -1n, denominator: 8n }, 2)).toBe("-0.13");
  expect(formatFraction({ numerator: -1n, denominator: 1000n }, 2)).toBe("0");
});

test("a root is rounded half up, once, and no float decides a digit", () => {
  expect(formatRoot({ numerator: 2n, denominator: 1n }, 6)).toBe("1.414214");
  expect(formatRoot({ numerator: 25n, denominator: 4n }, 0)).toBe("3");
  expect(formatRoot({ numerator: 0n, denominator: 3n }, 6)).toBe("0");
  fc.assert(
    fc.property(fc.bigInt(0n, 10n ** 40n), fc.bigInt(1n, 10n ** 20n), (numerator, denominator) => {
      const [whole = "0", fraction = ""] = formatRoot({ numerator, denominator }, 6).split(".");
      const found = BigInt(whole + fraction.padEnd(6, "0"));
      // (found - 0.5)^2 <= numerator x 10^12 / denominator < (found + 0.5)^2, in quarters.
      const square = 4n * numerator * 10n ** 12n;
      const [low, high] = [2n * found - 1n, 2n * found + 1n];
      expect(found === 0n || low * low * denominator <= square).toBe(true);
      expect(square < high * high * denominator).toBe(true);
    }),
  );
  fc.assert(
    fc.property(fc.bigInt(0n, 10n ** 60n), (square) => {
      const root = rootOf(square);
      expect(root * root <= square && square < (root + 1n) * (root + 1n)).toBe(true);
    }),
  );
});
