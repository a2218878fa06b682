import { DataType } from "@jilian/domain/datatypes.ts";
import { atScale, decimalOf, parseDecimal } from "@jilian/domain/decimal.ts";
import { type CounterLeaf, emptyLeaf } from "@jilian/domain/leaf.ts";
import { dayMs, minuteMs } from "@jilian/domain/periods.ts";
import { defaultScale, scaleOfUnit } from "@jilian/domain/roles.ts";
import { type MetricDefinition, stalenessWindowMs } from "@jilian/domain/sample.ts";
import type { StoredRow } from "@jilian/store/telemetry.ts";

/** What folding a counter needs to know beside its readings. */
export type CounterRule = {
  /** Decimal places of the integers. */
  scale: number;
  float32: boolean;
  /** Value at which the register starts again from 0, at the scale; undefined when it declares none. */
  modulus: bigint | undefined;
  /** Most that the register can rise, at the scale: so much in so many milliseconds; undefined when nothing bounds it. */
  maxRise: { amount: bigint; perMs: bigint } | undefined;
  /** One count of the register, at the scale. */
  resolution: bigint;
  /** Two readings further apart than this have a gap between them. */
  windowMs: number;
};

/**
 * Readings further apart than this are no neighbours: their difference is not spread over months. A box without a battery begins its
 * clock in 1970, and its first readings must not cost half a century of leaves.
 */
export const longestGapMs = 31 * dayMs;

/** Beyond this a register value is no reading of a meter; leaves are stored in 128 bits. */
const absurd = 10n ** 30n;

/**
 * How much longer than their times say two readings may lie apart: a gateway that stands still for a moment (a slow disk, a busy core) stamps
 * one reading late and the next one right. Far too little to let a reset pass for a rise.
 */
const timingMs = 5000;

/** A declared positive decimal at a scale. A birth certificate may say anything: what is not one counts as not declared. */
function declared(text: string | undefined, scale: number): bigint | undefined {
  if (text === undefined) return undefined;
  try {
    const found = atScale(parseDecimal(text), scale);
    return found > 0n && found < absurd ? found : undefined;
  } catch {
    return undefined;
  }
}

/** @param ratedPowerKW largest power through a meter, from the registry; facts: accept up to 1.2 times that */
export function counterRule(definition: MetricDefinition, ratedPowerKW: number | undefined): CounterRule {
  const scale = scaleOfUnit[definition.unit ?? ""] ?? defaultScale;
  const rated = ratedPowerKW !== undefined && definition.unit === "kWh" ? decimalOf(ratedPowerKW) : undefined;
  return {
    scale,
    float32: definition.datatype === DataType.Float,
    modulus: declared(definition.modulus, scale),
    maxRise: rated && {
      amount: atScale(rated, rated.scale + scale) * 12n,
      perMs: 36_000_000n * 10n ** BigInt(rated.scale),
    },
    resolution: declared(definition.resolution, scale) ?? 1n,
    windowMs: stalenessWindowMs(definition.heartbeatMs),
  };
}

/**
 * The increase between two neighbouring readings, or null where it cannot be told (facts, KPI definitions, Energy): a rise within what
 * the meter can pass in the time between, taken 5 s longer; else, with a declared modulus, a rollover within the same bound. Where nothing bounds the rise, any rise is taken,
 * and a fall is a rollover when it is less than half the modulus.
 */
export function increase(rule: CounterRule, before: bigint, after: bigint, elapsedMs: number): bigint | null {
  if (elapsedMs > longestGapMs) return null;
  const { maxRise, resolution } = rule;
  const cap = maxRise && (maxRise.amount * BigInt(elapsedMs + timingMs)) / maxRise.perMs + resolution;
  const rise = after - before;
  if (rise >= 0n) return cap === undefined || rise <= cap ? rise : null;
  if (rule.modulus === undefined) return null;
  const rolled = rise + rule.modulus;
  return rolled >= 0n && rolled <= (cap ?? rule.modulus / 2n) ? rolled : null;
}

/** `value` is null where the store holds something that no register can say: nothing is told up to it and from it on. */
type Reading = { atMs: number; value: bigint | null };

function readingOf({ value, sourceTimeMs }: StoredRow, rule: CounterRule): Reading {
  if (typeof value !== "number" && typeof value !== "bigint") return { atMs: sourceTimeMs, value: null };
  const scaled = atScale(decimalOf(value, rule.float32), rule.scale);
  return { atMs: sourceTimeMs, value: scaled < absurd && scaled > -absurd ? scaled : null };
}

/** Adds the part of one increase that falls into one minute. The parts of an increase over its minutes add up to it exactly. */
function addPart(leaf: CounterLeaf, from: Reading, to: Reading, rise: bigint, startMs: number, windowMs: number): void {
  const endMs = startMs + minuteMs;
  const elapsed = BigInt(to.atMs - from.atMs);
  const upTo = (atMs: number) => (rise * BigInt(atMs - from.atMs)) / elapsed;
  const firstMs = Math.max(from.atMs, startMs);
  const lastMs = Math.min(to.atMs, endMs);
  const part = upTo(lastMs) - upTo(firstMs);
  leaf.amount += part;
  if (to.atMs - from.atMs <= windowMs) {
    leaf.coveredMs += lastMs - firstMs;
    return;
  }
  leaf.gapMs += lastMs - firstMs;
  const overStart = from.atMs < startMs;
  const overEnd = to.atMs > endMs;
  if (overStart) leaf.left += part;
  if (overEnd) leaf.right += part;
  if (overStart && overEnd) leaf.inGap = true;
}

/**
 * Folds readings into the leaves of the minutes in [fromMs, toMs). Pure: the same readings give the same digits. An increase that cannot
 * be told is counted in every minute that it touches, because each of them lacks a part of it; of two readings too far apart to be
 * neighbours, in the last one's alone.
 * @param rows usable readings in the window and the nearest one before and after it, by source time
 */
export function foldCounter(
  rows: readonly StoredRow[],
  rule: CounterRule,
  fromMs: number,
  toMs: number,
): CounterLeaf[] {
  const leaves = Array.from({ length: Math.max(0, (toMs - fromMs) / minuteMs) }, () => ({ ...emptyLeaf }));
  const at = (timeMs: number) => Math.floor((timeMs - fromMs) / minuteMs);
  let before: Reading | undefined;
  for (const row of rows) {
    const reading = readingOf(row, rule);
    const own = leaves[at(reading.atMs)];
    if (own && reading.value !== null) own.samples += 1;
    if (before) addIncrease(before, reading);
    before = reading;
  }
  return leaves;

  function addIncrease(from: Reading, to: Reading): void {
    const elapsedMs = to.atMs - from.atMs;
    const rise = from.value === null || to.value === null ? null : increase(rule, from.value, to.value, elapsedMs);
    // A reading exactly on a minute's edge ends the increase in the minute before.
    const end = at(to.atMs - 1);
    const start = elapsedMs > longestGapMs ? end : at(from.atMs);
    for (let m = Math.max(start, 0); m <= Math.min(end, leaves.length - 1); m += 1) {
      const leaf = leaves[m] as CounterLeaf;
      if (rise === null) leaf.resets += 1;
      else addPart(leaf, from, to, rise, fromMs + m * minuteMs, rule.windowMs);
    }
  }
}
