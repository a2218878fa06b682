import { DataType } from "@jilian/domain/datatypes.ts";
import { atScale, decimalOf, parseDecimal } from "@jilian/domain/decimal.ts";
import { type CounterLeaf, emptyLeaf } from "@jilian/domain/leaf.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
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
  /** Most that the register can rise in a millisecond, at the scale; undefined when nothing bounds it. */
  maxRisePerMs: number | undefined;
  /** One count of the register, at the scale. */
  resolution: bigint;
  /** Two readings further apart than this have a gap between them. */
  windowMs: number;
};

/** @param ratedPowerKW largest power through a meter, from the registry; facts: accept up to 1.2 times that */
export function counterRule(definition: MetricDefinition, ratedPowerKW: number | undefined): CounterRule {
  const scale = scaleOfUnit[definition.unit ?? ""] ?? defaultScale;
  const scaled = (text: string | undefined) => (text === undefined ? undefined : atScale(parseDecimal(text), scale));
  return {
    scale,
    float32: definition.datatype === DataType.Float,
    modulus: scaled(definition.modulus),
    maxRisePerMs: ratedPowerKW === undefined ? undefined : (1.2 * ratedPowerKW * 10 ** scale) / 3_600_000,
    resolution: scaled(definition.resolution) ?? 1n,
    windowMs: stalenessWindowMs(definition.heartbeatMs),
  };
}

/**
 * The increase between two neighbouring readings, or null where it cannot be told (facts, KPI definitions, Energy): a rise within what
 * the meter can pass; else, with a declared modulus, a rollover within the same bound. Where nothing bounds the rise, any rise is taken,
 * and a fall is a rollover when it is less than half the modulus.
 */
export function increase(rule: CounterRule, before: bigint, after: bigint, elapsedMs: number): bigint | null {
  const cap =
    rule.maxRisePerMs === undefined ? undefined : BigInt(Math.ceil(rule.maxRisePerMs * elapsedMs)) + rule.resolution;
  const rise = after - before;
  if (rise >= 0n) return cap === undefined || rise <= cap ? rise : null;
  if (rule.modulus === undefined) return null;
  const rolled = rise + rule.modulus;
  return rolled >= 0n && rolled <= (cap ?? rule.modulus / 2n) ? rolled : null;
}

type Reading = { atMs: number; value: bigint };

function readingsOf(rows: readonly StoredRow[], rule: CounterRule): Reading[] {
  const readings: Reading[] = [];
  for (const { value, sourceTimeMs } of rows) {
    if (typeof value !== "number" && typeof value !== "bigint") continue;
    readings.push({ atMs: sourceTimeMs, value: atScale(decimalOf(value, rule.float32), rule.scale) });
  }
  return readings;
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
  const overStart = from.atMs < startMs;
  const overEnd = to.atMs > endMs;
  if (overStart) leaf.left += part;
  if (overEnd) leaf.right += part;
  if (overStart && overEnd) leaf.inGap = true;
}

/**
 * Folds readings into the leaves of the minutes in [fromMs, toMs). Pure: the same readings give the same digits.
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
  const readings = readingsOf(rows, rule);
  for (const [i, reading] of readings.entries()) {
    const own = leaves[at(reading.atMs)];
    if (own) own.samples += 1;
    const before = readings[i - 1];
    if (!before) continue;
    const rise = increase(rule, before.value, reading.value, reading.atMs - before.atMs);
    if (rise === null) {
      if (own) own.resets += 1;
      continue;
    }
    // A reading exactly on a minute's edge ends the increase in the minute before.
    const last = Math.min(at(reading.atMs - 1), leaves.length - 1);
    for (let m = Math.max(at(before.atMs), 0); m <= last; m += 1) {
      addPart(leaves[m] as CounterLeaf, before, reading, rise, fromMs + m * minuteMs, rule.windowMs);
    }
  }
  return leaves;
}
