import { type Decimal, decimalOf, formatDecimal, parseDecimal } from "@jilian/domain/decimal.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isDecimalLine, isWholeLine, lineOfOffset, lineOfRanges, slopeOf, valueOnLine } from "./linear.ts";

/** Fractions of integers: what decimals are measured against here. */
type Fraction = readonly [bigint, bigint];
const fraction = ({ digits, scale }: Decimal): Fraction => [digits, 10n ** BigInt(scale)];
const add = ([a, b]: Fraction, [c, d]: Fraction): Fraction => [a * d + c * b, b * d];
const multiply = ([a, b]: Fraction, [c, d]: Fraction): Fraction => [a * c, b * d];
const negative = ([a, b]: Fraction): Fraction => [-a, b];
const inverse = ([a, b]: Fraction): Fraction => (a < 0n ? [-b, -a] : [b, a]);
const isEqual = ([a, b]: Fraction, [c, d]: Fraction) => a * d === c * b;
/** |x - y| in units of 10^-39. */
const isClose = (x: Fraction, y: Fraction) => {
  const [top, bottom] = add(x, negative(y));
  return (top < 0n ? -top : top) * 10n ** 39n <= bottom;
};

const places = fc.integer({ min: -1_000_000_000, max: 1_000_000_000 }).map((n) => n / 1000);

describe("lineOfOffset", () => {
  it("is raw x numerator / denominator + offset, exact wherever a decimal is", () => {
    const whole = fc.integer({ min: -1_000_000, max: 1_000_000 }).filter((n) => n !== 0);
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }),
        whole,
        fc.integer({ min: 1, max: 2000 }),
        places,
        (raw, n, d, offset) => {
          const { exact, ...value } = valueOnLine(
            lineOfOffset({ numerator: n, denominator: d }, offset),
            decimalOf(raw),
          );
          const wanted = add(multiply([raw, 1n], [BigInt(n), BigInt(d)]), fraction(decimalOf(offset)));
          expect(exact ? isEqual(fraction(value), wanted) : isClose(fraction(value), wanted)).toBe(true);
          if (1000 % d === 0) expect(exact).toBe(true);
        },
      ),
    );
  });

  it("takes an offset of more digits than a number has as text", () => {
    const line = lineOfOffset({ numerator: 1, denominator: 1 }, "0.1234567890123456789");
    expect(formatDecimal(valueOnLine(line, parseDecimal("2"))).toString()).toBe("2.1234567890123456789");
  });

  it("is whole only where every whole raw value gives one", () => {
    expect(isWholeLine(lineOfOffset({ numerator: 10, denominator: 5 }, -40))).toBe(true);
    expect(isWholeLine(lineOfOffset({ numerator: 1, denominator: 1 }, 0.5))).toBe(false);
    expect(isWholeLine(lineOfOffset({ numerator: 1, denominator: 2 }, 1))).toBe(false);
    expect(isDecimalLine(lineOfOffset({ numerator: 5, denominator: 9 }, -17))).toBe(false);
  });
});

describe("lineOfRanges", () => {
  it("goes exactly through both ends, and between and beyond them straight on", () => {
    fc.assert(
      fc.property(places, places, places, places, places, (a, b, min, max, at) => {
        fc.pre(a !== b);
        const raw = { min: Math.min(a, b), max: Math.max(a, b) };
        const line = lineOfRanges(raw, { min, max });
        const of = (value: number) => fraction(valueOnLine(line, decimalOf(value)));
        const exactly = (value: number) => fraction(decimalOf(value));
        expect(isEqual(of(raw.min), exactly(min)) && isEqual(of(raw.max), exactly(max))).toBe(true);
        const run = add(exactly(raw.max), negative(exactly(raw.min)));
        const share = multiply(add(exactly(at), negative(exactly(raw.min))), inverse(run));
        const wanted = add(exactly(min), multiply(share, add(exactly(max), negative(exactly(min)))));
        expect(isClose(of(at), wanted)).toBe(true);
      }),
    );
  });

  it("has a slope where that is a decimal: 4-20 mA in microamperes as 0-16 bar, an S7's 0-27648 as 0-100 % has none", () => {
    const slope = slopeOf(lineOfRanges({ min: 4000, max: 20_000 }, { min: 0, max: 16 }));
    expect(slope && formatDecimal(slope)).toBe("0.001");
    expect(slopeOf(lineOfRanges({ min: 0, max: 27_648 }, { min: 0, max: 100 }))).toBeUndefined();
  });
});
