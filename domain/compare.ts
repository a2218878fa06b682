import { divideHalfEven, formatScaled, parseDecimal } from "./decimal.ts";
import type { IndicatorDefinition } from "./indicators/definition.ts";
import { formatFraction } from "./indicators/fraction.ts";
import type { Result } from "./result.ts";

/** Output of a period by product, integers at one scale. */
export type ProductMix = ReadonlyMap<string, bigint>;

/** Why there is no ratio, for people. */
export const comparisonReasons = {
  baseline_absent: { zh: "基准期无此数据", en: "no such figure of the baseline period is kept" },
  current_absent: { zh: "当前期无此数据", en: "no such figure of the current period is kept" },
  different_figures: { zh: "不是同一指标", en: "these are not two periods of one figure" },
  baseline_null: { zh: "基准期为空值", en: "the baseline has no value; its `reason` tells why" },
  current_null: { zh: "当前期为空值", en: "the current period has no value; its `reason` tells why" },
  baseline_zero: { zh: "基准期为零", en: "the baseline is 0: nothing to divide by" },
} as const;
export type ComparisonReason = keyof typeof comparisonReasons;

/** What stands between a difference and the word saving, for people. Those that spoil it, and those that leave it open. */
export const comparisonCaveats = {
  definition_differs: { zh: "指标定义版本不同", en: "made by different versions of the definition", spoils: true },
  factor_table_differs: { zh: "所用系数表不同", en: "made with different factor tables", spoils: true },
  incomplete: { zh: "其中一期数据不完整", en: "one of them lacks a part of its input (completeness)", spoils: true },
  lower_bound: { zh: "其中一期为下限值", en: "one of them is a lower bound", spoils: true },
  mix_changed: { zh: "产品结构变化", en: "another mix of products was made", spoils: true },
  length_differs: { zh: "两期时长不同", en: "an amount, of periods that are not equally long", spoils: true },
  registry_differs: { zh: "登记册版本不同", en: "made under different versions of the registry", spoils: false },
  provisional: { zh: "其中一期尚非最终值", en: "one of them is not final yet", spoils: false },
} as const satisfies Record<string, { zh: string; en: string; spoils: boolean }>;
export type ComparisonCaveat = keyof typeof comparisonCaveats;

/** Two periods of one figure beside each other. */
export type Comparison = {
  /** Current less baseline, decimal string in the unit; null where one of them is null. */
  readonly difference: string | null;
  /** Current over baseline, six places; null where one of them is null or the baseline is 0. */
  readonly ratio: string | null;
  /** Why there is none; null where there are both. */
  readonly reason: ComparisonReason | null;
  /** What the difference is by the nature of the indicator; null where more is neither better nor worse, or there is no difference. */
  readonly direction: "better" | "worse" | "same" | null;
  readonly caveats: readonly ComparisonCaveat[];
  /** True where there is a difference and no caveat spoils it. */
  readonly comparable: boolean;
};

/** Below this completeness what is missing may be what differs: an amount that was not read is no saving. */
export const completeEnough = 0.95;

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

/** Units of what adds up over time: twice the time makes twice of it. */
const unitsOfAmounts: readonly string[] = ["kWh", "m3", "t", "MJ", "kgce", "kgCO2", "CNY", "pcs"];

const passedMs = ({ startMs, endMs, asOfMs }: Result) => Math.min(endMs, asOfMs) - startMs;

function caveatsOf(baseline: Result, current: Result, change: number | null): ComparisonCaveat[] {
  const both = [baseline, current];
  const isAmount = unitsOfAmounts.includes(baseline.unit);
  const holds: Readonly<Record<ComparisonCaveat, boolean>> = {
    definition_differs: baseline.definitionVersion !== current.definitionVersion,
    factor_table_differs: baseline.factorTable !== current.factorTable,
    incomplete: both.some(({ completeness }) => completeness !== null && completeness < completeEnough),
    lower_bound: both.some(({ lowerBound }) => lowerBound),
    mix_changed: change !== null && change > sameMixUpTo,
    length_differs: isAmount && passedMs(baseline) !== passedMs(current),
    registry_differs: baseline.registryVersion !== current.registryVersion,
    provisional: both.some(({ status }) => status === "provisional"),
  };
  return (Object.keys(holds) as ComparisonCaveat[]).filter((caveat) => holds[caveat]);
}

/** A comparison that cannot be made. */
export function noComparison(reason: ComparisonReason): Comparison {
  return { difference: null, ratio: null, reason, direction: null, caveats: [], comparable: false };
}

/**
 * Compares a figure of a baseline period with that of the current one (降本增效). Pure and exact.
 * @param about `better`: which is better, where the indicator's definition says; `mixChange`: how much the mix of products has changed, where
 * that is known and touches the figure
 */
export function compareFigures(
  baseline: Result,
  current: Result,
  about: { readonly better?: IndicatorDefinition["better"] | undefined; readonly mixChange?: number | null } = {},
): Comparison {
  for (const field of ["indicator", "unit", "level", "entity"] as const)
    if (baseline[field] !== current[field]) return noComparison("different_figures");
  if (baseline.value === null) return noComparison("baseline_null");
  if (current.value === null) return noComparison("current_null");
  const [was, is] = [parseDecimal(baseline.value), parseDecimal(current.value)];
  const scale = Math.max(was.scale, is.scale);
  const [before, after] = [was, is].map((own) => own.digits * 10n ** BigInt(scale - own.scale)) as [bigint, bigint];
  const caveats = caveatsOf(baseline, current, about.mixChange ?? null);
  const isBetter = about.better === "more" ? after > before : after < before;
  const direction = before === after ? "same" : isBetter ? "better" : "worse";
  const found = {
    difference: formatScaled(after - before, scale),
    direction: about.better ? direction : null,
    caveats,
    comparable: !caveats.some((caveat) => comparisonCaveats[caveat].spoils),
  } as const;
  if (before === 0n) return { ...found, ratio: null, reason: "baseline_zero" };
  const sign = before < 0n ? -1n : 1n;
  const ratio = formatFraction({ numerator: after * sign, denominator: before * sign }, ratioPlaces);
  return { ...found, ratio, reason: null };
}
