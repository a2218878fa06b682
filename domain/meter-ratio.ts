import { divideHalfEven, parseDecimal } from "./decimal.ts";

/** An exact positive factor, in lowest terms. */
export type Ratio = { readonly numerator: bigint; readonly denominator: bigint };

function exactRatio(text: string | number): Ratio {
  const parts = String(text).split(/[/:]/);
  const [over, under] = [parseDecimal(parts[0] ?? ""), parseDecimal(parts[1] ?? "1")];
  const numerator = over.digits * 10n ** BigInt(under.scale);
  const denominator = under.digits * 10n ** BigInt(over.scale);
  if (parts.length > 2 || numerator <= 0n || denominator <= 0n) throw new RangeError(`"${text}" is not a ratio`);
  return { numerator, denominator };
}

function greatestCommon(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestCommon(b, a % b);
}

/**
 * What one of a register is in truth, exactly: the product of the ratios of the transformers before it, each a number or two as on the
 * plate (`800/5`, `10000:100`). @returns undefined where that is one
 * @throws RangeError for what is no ratio; the registry refuses one
 */
export function ratioOf(...ratios: readonly (string | number | undefined)[]): Ratio | undefined {
  let [numerator, denominator] = [1n, 1n];
  for (const text of ratios) {
    if (text === undefined) continue;
    const own = exactRatio(text);
    numerator *= own.numerator;
    denominator *= own.denominator;
  }
  if (numerator === denominator) return undefined;
  const divisor = greatestCommon(numerator, denominator);
  return { numerator: numerator / divisor, denominator: denominator / divisor };
}

/** A number times a ratio; half to even where that is not whole, so that positions of a register are rounded and never its increases. */
export function timesRatio(value: bigint, ratio: Ratio | undefined): bigint {
  if (!ratio) return value;
  const product = value * ratio.numerator;
  return ratio.denominator === 1n ? product : divideHalfEven(product, ratio.denominator);
}
