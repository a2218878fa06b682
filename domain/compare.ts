import { divideHalfEven, formatScaled, parseDecimal } from "./decimal.ts";
import { formatFraction } from "./indicators/fraction.ts";
import type { Result } from "./result.ts";

/** Output of a period by product, integers at one scale. */
export type ProductMix = ReadonlyMap<string, bigint>;

/** Two periods of one figure beside each other. */
export type Comparison = {
  /** Current less baseline, decimal string in the unit; null where one of them is null. */
  readonly difference: string | null;
  /** Current over baseline, six places; null where one of them is null or the baseline is 0. */
  readonly ratio: string | null;
  /** Why there is none; null where there are both. */
  readonly reason: "baseline_null" | "current_null" | "different_figures" | "baseline_zero" | null;
  /** Largest change of a product's share of the output, 0-1, four places; null where a mix is not known. */
  readonly mixChange: number | null;
  /** False where the mix is another one, the definitions or factor tables differ, or one of them is a lower bound: a saving may be none. */
  readonly comparable: boolean;
};

/** A mix counts as the same up to this change of a share. */
export const sameMixUpTo = 0.05;

const ratioPlaces = 6;

/**
 * The largest change of a product's share of the whole output, 0-1 at four places; null where nothing is known of one of the periods.
 * Two empty outputs have no mix.
 */
export function mixChange(baseline: ProductMix | undefined, current: ProductMix | undefined): number | null {
  const total = (mix: ProductMix | undefined) => [...(mix?.values() ?? [])].reduce((sum, amount) => sum + amount, 0n);
  const [before, after] = [total(baseline), total(current)];
  if (before === 0n || after === 0n) return null;
  let largest = 0n;
  for (const product of new Set([...(baseline?.keys() ?? []), ...(current?.keys() ?? [])])) {
    const [was, is] = [baseline?.get(product) ?? 0n, current?.get(product) ?? 0n];
    const change = is * before - was * after;
    const size = change < 0n ? -change : change;
    if (size > largest) largest = size;
  }
  return Number(divideHalfEven(largest * 10_000n, before * after)) / 10_000;
}

type Compared = Pick<
  Result,
  "indicator" | "level" | "entity" | "unit" | "value" | "definitionVersion" | "factorTable" | "lowerBound"
>;

/**
 * Compares a figure of a baseline period with that of the current one (降本增效). Pure and exact. Which is better, more or less, is the
 * indicator's matter and no part of it.
 * @param mixes output by product of both periods, where it is known
 */
export function compareFigures(
  baseline: Compared,
  current: Compared,
  mixes: { readonly baseline?: ProductMix; readonly current?: ProductMix } = {},
): Comparison {
  const change = mixChange(mixes.baseline, mixes.current);
  const none = (reason: Comparison["reason"]): Comparison => ({
    ...{ difference: null, ratio: null, reason, mixChange: change, comparable: false },
  });
  if (
    baseline.indicator !== current.indicator ||
    baseline.unit !== current.unit ||
    baseline.level !== current.level ||
    baseline.entity !== current.entity
  )
    return none("different_figures");
  if (baseline.value === null) return none("baseline_null");
  if (current.value === null) return none("current_null");
  const [was, is] = [parseDecimal(baseline.value), parseDecimal(current.value)];
  const scale = Math.max(was.scale, is.scale);
  const [before, after] = [was, is].map((own) => own.digits * 10n ** BigInt(scale - own.scale)) as [bigint, bigint];
  const difference = formatScaled(after - before, scale);
  const sameMeaning =
    baseline.definitionVersion === current.definitionVersion && baseline.factorTable === current.factorTable;
  const comparable =
    sameMeaning && !baseline.lowerBound && !current.lowerBound && (change === null || change <= sameMixUpTo);
  if (before === 0n) return { difference, ratio: null, reason: "baseline_zero", mixChange: change, comparable };
  const sign = before < 0n ? -1n : 1n;
  const ratio = formatFraction({ numerator: after * sign, denominator: before * sign }, ratioPlaces);
  return { difference, ratio, reason: null, mixChange: change, comparable };
}
