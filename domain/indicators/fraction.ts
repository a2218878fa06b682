import { formatScaled } from "../decimal.ts";

/** An exact ratio of two sums; the denominator is above 0, the numerator is not below. */
export type Fraction = { readonly numerator: bigint; readonly denominator: bigint };

/** Places of a ratio: 0.987654. */
export const ratioPlaces = 6;

/** Decimal string of a fraction, rounded half up once, without trailing zeros: (2/3, 6) -> "0.666667". */
export function formatFraction({ numerator, denominator }: Fraction, places: number): string {
  const scaled = numerator * 10n ** BigInt(places);
  return formatScaled((scaled * 2n + denominator) / (denominator * 2n), places);
}
