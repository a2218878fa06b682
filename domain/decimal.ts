/**
 * Exact numbers. Scaling is by rational numerator and denominator; a decimal is made once, from the shortest form at native width;
 * sums are integers at a fixed scale (CONTRACTS 5), so that the order of arrival and the number of workers cannot matter.
 */

/** An exact decimal: `digits` x 10^-`scale`. */
export type Decimal = { readonly digits: bigint; readonly scale: number };

/** A positive or negative rational factor, as configured: `{ numerator: 1, denominator: 100 }`. */
export type Rational = { readonly numerator: number; readonly denominator: number };

const pattern = /^([+-]?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i;

/**
 * Reads a decimal string (`-12.50`, `1.5e-7`).
 * @throws RangeError when the text is not one, or its exponent is beyond 400
 */
export function parseDecimal(text: string): Decimal {
  const match = pattern.exec(text);
  const exponent = Number(match?.[4] ?? 0);
  if (!match || Math.abs(exponent) > 400) throw new RangeError(`"${text}" is not a decimal number`);
  const [, sign, whole = "", fraction = ""] = match;
  const digits = BigInt(whole + fraction) * (sign === "-" ? -1n : 1n);
  const scale = fraction.length - exponent;
  return scale < 0 ? { digits: digits * 10n ** BigInt(-scale), scale: 0 } : { digits, scale };
}

/** The shortest decimal form that reads back as the same 32-bit float; for 64-bit floats JavaScript's own is that form. */
export function shortestFloat32(value: number): string {
  for (let precision = 1; precision < 9; precision += 1) {
    const text = value.toPrecision(precision);
    if (Math.fround(Number(text)) === value) return text;
  }
  return value.toPrecision(9);
}

/**
 * The decimal that a value stands for.
 * @param float32 true when the value's native width is 32 bits
 * @throws RangeError for NaN and infinities, which have none
 */
export function decimalOf(value: number | bigint, float32 = false): Decimal {
  if (typeof value === "bigint") return { digits: value, scale: 0 };
  return parseDecimal(float32 ? shortestFloat32(value) : String(value));
}

/** Integer division rounded half to even: no drift, whatever the sign. */
export function divideHalfEven(dividend: bigint, divisor: bigint): bigint {
  const [n, d] = divisor < 0n ? [-dividend, -divisor] : [dividend, divisor];
  let quotient = n / d;
  let rest = n % d;
  if (rest < 0n) {
    quotient -= 1n;
    rest += d;
  }
  const twice = rest * 2n;
  return twice > d || (twice === d && (quotient & 1n) === 1n) ? quotient + 1n : quotient;
}

/** The decimal as an integer at a fixed scale, rounded half to even where it has more places. */
export function atScale({ digits, scale }: Decimal, wanted: number): bigint {
  if (scale <= wanted) return digits * 10n ** BigInt(wanted - scale);
  return divideHalfEven(digits, 10n ** BigInt(scale - wanted));
}

const powersOfTen = Array.from({ length: 20 }, (_, n) => 10n ** BigInt(n));

/**
 * `atScale(decimalOf(value))` without making a text, where that cannot go wrong: a decimal of 15 digits survives its way through a double,
 * and one of 6 through a 32-bit float (IEEE 754), so no other decimal as short stands for the same value. Every reading of a counter
 * goes this way.
 * @param scale 0 to 19
 * @throws RangeError for NaN and infinities
 */
export function valueAtScale(value: number | bigint, scale: number, float32 = false): bigint {
  if (typeof value === "bigint") return value * (powersOfTen[scale] as bigint);
  const most = float32 ? 1e6 : 1e15;
  for (let places = float32 ? 0 : scale; places <= scale; places += 1) {
    const factor = 10 ** places;
    const digits = Math.round(value * factor);
    if (Math.abs(digits) >= most) break;
    const back = digits / factor;
    if ((float32 ? Math.fround(back) : back) === value) return BigInt(digits) * (powersOfTen[scale - places] as bigint);
  }
  return atScale(decimalOf(value, float32), scale);
}

/** Decimal string of an integer at a scale, without trailing zeros: (1234500n, 3) -> "1234.5". */
export function formatScaled(digits: bigint, scale: number): string {
  const sign = digits < 0n ? "-" : "";
  const text = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, "0");
  const whole = text.slice(0, text.length - scale);
  const fraction = text.slice(text.length - scale).replace(/0+$/, "");
  return sign + whole + (fraction === "" ? "" : `.${fraction}`);
}

/** The decimal as its own string, without trailing zeros. */
export function formatDecimal({ digits, scale }: Decimal): string {
  return formatScaled(digits, scale);
}

/** Quotient of two integers: an exact decimal where one exists, else undefined (1/3 has none, nor has anything by 0). */
export function divideExactly(dividend: bigint, divisor: bigint): Decimal | undefined {
  if (divisor === 0n) return undefined;
  let places = 0;
  // d divides a power of ten exactly when it has no prime factor but 2 and 5; then dividend x 10^places / d is whole.
  let rest = divisor < 0n ? -divisor : divisor;
  while (rest % 10n === 0n) {
    rest /= 10n;
    places += 1;
  }
  while (rest % 2n === 0n || rest % 5n === 0n) {
    rest /= rest % 2n === 0n ? 2n : 5n;
    places += 1;
  }
  const shifted = dividend * 10n ** BigInt(places);
  return shifted % divisor === 0n ? { digits: shifted / divisor, scale: places } : undefined;
}

/** Product with a rational factor: an exact decimal where one exists, else undefined (1/3 has none). */
export function scaleExactly({ digits, scale }: Decimal, factor: Rational): Decimal | undefined {
  const exact = divideExactly(digits * BigInt(factor.numerator), BigInt(factor.denominator));
  return exact && { digits: exact.digits, scale: exact.scale + scale };
}
