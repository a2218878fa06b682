import {
  atScale,
  type Decimal,
  decimalOf,
  divideExactly,
  divideHalfEven,
  parseDecimal,
} from "@jilian/domain/decimal.ts";

/** A straight line over exact numbers: value = (raw x `numerator` + `constant`) / `denominator`; the denominator is positive. */
export type Line = { readonly numerator: bigint; readonly constant: bigint; readonly denominator: bigint };

export type Bounds = { readonly min: number; readonly max: number };

/** Places of a quotient that has no finite decimal: far more than a double can tell apart. */
const places = 40;

/** raw x numerator / denominator + offset. @param offset a number, or a decimal as text where a number would not hold it */
export function lineOfOffset(
  { numerator, denominator }: { readonly numerator: number; readonly denominator: number },
  offset: number | string,
): Line {
  const { digits, scale } = typeof offset === "string" ? parseDecimal(offset) : decimalOf(offset);
  const unit = 10n ** BigInt(scale);
  const [n, d] = [BigInt(numerator), BigInt(denominator)];
  return { numerator: n * unit, constant: digits * d, denominator: d * unit };
}

/** The line through two points: a raw range as it shows in engineering units (4-20 mA as 0-16 bar). @param raw its min below its max */
export function lineOfRanges(raw: Bounds, engineering: Bounds): Line {
  const all = [raw.min, raw.max, engineering.min, engineering.max].map((value) => decimalOf(value));
  const scale = Math.max(...all.map((decimal) => decimal.scale));
  const [rawMin, rawMax, min, max] = all.map((decimal) => atScale(decimal, scale)) as [bigint, bigint, bigint, bigint];
  const [rise, run, unit] = [max - min, rawMax - rawMin, 10n ** BigInt(scale)];
  return { numerator: rise * unit, constant: min * run - rawMin * rise, denominator: run * unit };
}

/** Whether whole raw values give whole values. */
export function isWholeLine({ numerator, constant, denominator }: Line): boolean {
  return numerator % denominator === 0n && constant % denominator === 0n;
}

/** Whether every decimal has an exact decimal on the line. */
export function isDecimalLine({ numerator, constant, denominator }: Line): boolean {
  return divideExactly(numerator, denominator) !== undefined && divideExactly(constant, denominator) !== undefined;
}

/** What one count of the raw value stands for; undefined where it has no finite decimal. */
export function slopeOf({ numerator, denominator }: Line): Decimal | undefined {
  return divideExactly(numerator, denominator);
}

/** Quotient of two integers to 40 places and more, rounded half to even. @param divisor not 0 */
export function divideClosely(dividend: bigint, divisor: bigint): Decimal {
  const scale = places + Math.max(0, String(divisor).length - String(dividend).length);
  return { digits: divideHalfEven(dividend * 10n ** BigInt(scale), divisor), scale };
}

/** The value at a raw value: exact where it has a finite decimal (`exact`), else to 40 places. */
export function valueOnLine(
  { numerator, constant, denominator }: Line,
  { digits, scale }: Decimal,
): Decimal & { exact: boolean } {
  const unit = 10n ** BigInt(scale);
  const dividend = digits * numerator + constant * unit;
  const divisor = denominator * unit;
  const exact = divideExactly(dividend, divisor);
  return exact ? { ...exact, exact: true } : { ...divideClosely(dividend, divisor), exact: false };
}
