import { describe, expect, it } from "vitest";
import {
  atScale,
  decimalOf,
  divideHalfEven,
  formatDecimal,
  formatScaled,
  parseDecimal,
  scaleExactly,
  shortestFloat32,
  valueAtScale,
} from "./decimal.ts";
import { randomFrom } from "./test-random.ts";

describe("parse and format", () => {
  it.each([
    ["0", 0n, 0, "0"],
    ["-0", 0n, 0, "0"],
    ["-12.50", -1250n, 2, "-12.5"],
    ["+7", 7n, 0, "7"],
    ["1.5e-7", 15n, 8, "0.00000015"],
    ["1.25e1", 125n, 1, "12.5"],
    ["5E+21", 5n * 10n ** 21n, 0, "5000000000000000000000"],
    ["-0.004", -4n, 3, "-0.004"],
    ["18446744073709551615", 2n ** 64n - 1n, 0, "18446744073709551615"],
  ])("%s", (text, digits, scale, shown) => {
    expect(parseDecimal(text)).toEqual({ digits, scale });
    expect(formatDecimal(parseDecimal(text))).toBe(shown);
  });

  it.each(["", " 1", "1 ", ".5", "5.", "1,5", "0x10", "NaN", "Infinity", "--1", "1e", "1e401", "1e-401", "١"])(
    "refuses %j",
    (text) => {
      expect(() => parseDecimal(text)).toThrow(RangeError);
    },
  );

  it("formats integers at a scale", () => {
    expect(formatScaled(1_234_500n, 3)).toBe("1234.5");
    expect(formatScaled(-5n, 3)).toBe("-0.005");
    expect(formatScaled(0n, 6)).toBe("0");
    expect(formatScaled(1200n, 0)).toBe("1200");
  });
});

describe("decimal of a value", () => {
  // Shortest digits that identify a 32-bit float, as printed by other languages (Java Float.toString, Rust, Go's 'g' with -1, 32 bits).
  it.each([
    [Math.fround(0.1), "0.1"],
    [Math.fround(0.3), "0.3"],
    [Math.fround(123.456), "123.456"],
    [Math.fround(16_777_216), "16777216"],
    [Math.fround(3.4028235e38), "3.4028235e+38"],
    [Math.fround(1.17549435e-38), "1.1754944e-38"],
    [2 ** -149, "1e-45"],
    [Math.fround(-98_765.43), "-98765.43"],
    [Math.fround(8.5), "8.5"],
  ])("float32 %d is %s", (value, text) => {
    expect(formatDecimal(decimalOf(value, true))).toBe(formatDecimal(parseDecimal(text)));
  });

  it("reads back as the same float32 with no more digits than needed, over random bit patterns", () => {
    const random = randomFrom(32);
    const view = new DataView(new ArrayBuffer(4));
    // Told at the end: 160,000 expectations take seconds.
    const wrong: unknown[] = [];
    let judged = 0;
    for (let i = 0; i < 40_000; i += 1) {
      view.setUint32(0, random.bits());
      const value = view.getFloat32(0);
      if (!Number.isFinite(value)) continue;
      const text = shortestFloat32(value);
      const readsBack = Math.fround(Number(text)) === value;
      const isExact = formatDecimal(decimalOf(value, true)) === formatDecimal(parseDecimal(text));
      const significant = text
        .replace(/e.*$/, "")
        .replaceAll(/\D/g, "")
        .replaceAll(/^0+|0+$/g, "");
      const count = significant.length;
      const isShortest = count <= 9 && (count <= 1 || Math.fround(Number(value.toPrecision(count - 1))) !== value);
      judged += 1;
      if (!readsBack || !isExact || !isShortest) wrong.push({ value, text, readsBack, isExact, isShortest });
    }
    expect(judged).toBeGreaterThan(39_000);
    expect(wrong).toEqual([]);
  });

  it("keeps doubles and 64-bit integers exactly", () => {
    const random = randomFrom(64);
    const view = new DataView(new ArrayBuffer(8));
    for (let i = 0; i < 10_000; i += 1) {
      view.setUint32(0, random.bits());
      view.setUint32(4, random.bits());
      const value = view.getFloat64(0);
      if (Number.isFinite(value) && Math.abs(value) < 1e300 && Math.abs(value) > 1e-300) {
        expect(Number(formatDecimal(decimalOf(value)))).toBe(value);
      }
      const whole = view.getBigInt64(0);
      expect(formatDecimal(decimalOf(whole))).toBe(whole.toString());
    }
  });

  it("has none for NaN and infinities", () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(() => decimalOf(value)).toThrow(RangeError);
      expect(() => decimalOf(value, true)).toThrow(RangeError);
    }
  });
});

describe("rounding", () => {
  it.each([
    [5n, 2n, 2n],
    [7n, 2n, 4n],
    [-5n, 2n, -2n],
    [-7n, 2n, -4n],
    [5n, -2n, -2n],
    [-1n, 3n, 0n],
    [-2n, 3n, -1n],
    [6n, 3n, 2n],
  ])("%d / %d = %d, half to even", (n, d, wanted) => expect(divideHalfEven(n, d)).toBe(wanted));

  it("is off by half a unit at most, and even where it is exactly half", () => {
    const random = randomFrom(7);
    for (let i = 0; i < 5000; i += 1) {
      const n = BigInt(random.bits()) - 2n ** 31n;
      const d = BigInt(random.below(999) + 1) * (random.below(2) === 0 ? 1n : -1n);
      const twice = 2n * (n - divideHalfEven(n, d) * d);
      const [off, size] = [twice < 0n ? -twice : twice, d < 0n ? -d : d];
      expect(off <= size, `${n}/${d}`).toBe(true);
      if (off === size) expect(divideHalfEven(n, d) % 2n).toBe(0n);
    }
  });

  it("puts a decimal at a scale", () => {
    expect(atScale(parseDecimal("1.25"), 6)).toBe(1_250_000n);
    expect(atScale(parseDecimal("0.0000005"), 6)).toBe(0n);
    expect(atScale(parseDecimal("0.0000015"), 6)).toBe(2n);
    expect(atScale(parseDecimal("-2.5"), 0)).toBe(-2n);
  });
});

describe("scaling by a rational", () => {
  it.each([
    ["123", 1, 100, "1.23"],
    ["123", 1, 8, "15.375"],
    ["-0.5", 3, 2, "-0.75"],
    ["7", 10, 1, "70"],
    ["6", 1, 12, "0.5"],
    ["1", 1, -4, "-0.25"],
    ["5", 0, 3, "0"],
  ])("%s x %d/%d = %s", (text, numerator, denominator, wanted) => {
    const scaled = scaleExactly(parseDecimal(text), { numerator, denominator });
    expect(scaled && formatDecimal(scaled)).toBe(wanted);
  });

  it("has no decimal for a third, nor for a division by 0", () => {
    expect(scaleExactly(parseDecimal("1"), { numerator: 1, denominator: 3 })).toBeUndefined();
    expect(scaleExactly(parseDecimal("1"), { numerator: 1, denominator: 0 })).toBeUndefined();
  });
});

describe("a value at a scale, without a text", () => {
  const { bits, below } = randomFrom(41);
  const slow = (value: number, scale: number, float32: boolean) => atScale(decimalOf(value, float32), scale);
  /** Register readings, halves at the last place, and any bit pattern. */
  function someValue(float32: boolean): number {
    const kind = below(4);
    const places = 10 ** below(9);
    const buffer = new DataView(new ArrayBuffer(8));
    buffer.setUint32(0, bits());
    buffer.setUint32(4, bits());
    const found = [
      below(10_000_000) / places,
      (bits() * 2 ** 20 + below(2 ** 20)) / places,
      (below(2_000_000) + 0.5) / 1e6,
      buffer.getFloat64(0),
    ][kind] as number;
    return (below(2) === 0 ? 1 : -1) * (float32 ? Math.fround(found) : found);
  }

  it.each([false, true])("is what the text says (32 bits: %s)", (float32) => {
    for (let n = 0; n < 40_000; n += 1) {
      const value = someValue(float32);
      if (!Number.isFinite(value)) continue;
      const scale = [0, 3, 6, 10][below(4)] as number;
      expect(valueAtScale(value, scale, float32), `${value} at ${scale}`).toBe(slow(value, scale, float32));
    }
  });

  it("takes integers of 64 bits as they are, and refuses what is no number", () => {
    expect(valueAtScale(2n ** 63n - 1n, 6)).toBe((2n ** 63n - 1n) * 1_000_000n);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
      for (const float32 of [true, false]) expect(() => valueAtScale(value, 6, float32)).toThrow(RangeError);
  });
});
