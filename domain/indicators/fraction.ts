import { formatScaled } from "../decimal.ts";

/** An exact ratio of two sums; the denominator is above 0. */
export type Fraction = { readonly numerator: bigint; readonly denominator: bigint };

/** Places of a ratio: 0.987654. */
export const ratioPlaces = 6;

/** Decimal string of a fraction, rounded half away from 0 once, without trailing zeros: (2/3, 6) -> "0.666667", (-1/8, 2) -> "-0.13". */
export function formatFraction({ numerator, denominator }: Fraction, places: number): string {
  const size = numerator < 0n ? -numerator : numerator;
  const rounded = (size * 10n ** BigInt(places) * 2n + denominator) / (denominator * 2n);
  return formatScaled(numerator < 0n ? -rounded : rounded, places);
}

/**
 * Decimal string of the root of a fraction that is not below 0, rounded half up once: no float decides a digit.
 * (2/1, 6) -> "1.414214"
 */
export function formatRoot({ numerator, denominator }: Fraction, places: number): string {
  // Twice the root, rounded down, tells on which side of the half it lies.
  const twice = rootOf((4n * numerator * 100n ** BigInt(places)) / denominator);
  return formatScaled((twice + 1n) / 2n, places);
}

/** The greatest integer whose square is not above the number. */
export function rootOf(square: bigint): bigint {
  if (square < 2n) return square;
  let root = 1n << BigInt(Math.ceil(square.toString(2).length / 2));
  for (;;) {
    const next = (root + square / root) / 2n;
    if (next >= root) return root;
    root = next;
  }
}
