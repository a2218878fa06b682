import { DataType } from "@jilian/domain/datatypes.ts";
import { atScale, decimalOf, parseDecimal, valueAtScale } from "@jilian/domain/decimal.ts";
import { type CounterLeaf, emptyLeaf } from "@jilian/domain/leaf.ts";
import { type Ratio, ratioOf, timesRatio } from "@jilian/domain/meter-ratio.ts";
import { dayMs, minuteMs } from "@jilian/domain/periods.ts";
import { type Carrier, carrierRoles, defaultScale, scaleOfUnit } from "@jilian/domain/roles.ts";
import { type MetricDefinition, stalenessWindowMs } from "@jilian/domain/sample.ts";
import { numberAt, type ReadingColumns, type Readings } from "@jilian/store/columns/readings.ts";
import type { DatedDefinition } from "@jilian/store/series-versions.ts";

/** A meter exchange (换表): what the old register said last and the new one first, at the scale. Both are readings, made by hand. */
type Exchange = { readonly atMs: number; readonly oldFinal: bigint; readonly newInitial: bigint };

/** What bounds the increase of a register, and what it stands for, as one version of the registry has it. */
export type Register = {
  /** Ratio of the transformers before it: what one of it is in truth; undefined for one. */
  readonly ratio: Ratio | undefined;
  /** Value at which it starts again from 0, at the scale, before its ratio; undefined when it declares none. */
  readonly modulus: bigint | undefined;
  /** Most that can come through, at the scale: so much in so many milliseconds; undefined when nothing bounds it. */
  readonly maxRise: { readonly amount: bigint; readonly perMs: bigint } | undefined;
  /** One count of it, at the scale, with its ratio. */
  readonly resolution: bigint;
  /** In the order of time; before its ratio. */
  readonly exchanges: readonly Exchange[];
};

/** What folding a counter needs to know beside its readings. */
export type CounterRule = {
  /** Decimal places of the integers. */
  readonly scale: number;
  readonly float32: boolean;
  /** The registers by the versions of registry and births, earliest first: each in force from its time on, the first one since ever. */
  readonly registers: readonly DatedRegister[];
};

type DatedRegister = {
  readonly fromMs: number;
  readonly register: Register;
  /** Two readings further apart than this have a gap between them. */
  readonly windowMs: number;
};

/** What a version of the registry says of a device with a counter; all of it optional, births say the rest. */
export type MeterVersion = {
  /** In force from this time on, UTC ms. */
  readonly fromMs: number;
  /** Largest power through a meter; facts: accept up to 1.2 times that. */
  readonly ratedPowerKW?: number | undefined;
  /** Of the carrier's register alone, in the unit of the metric (store/registry-meters.ts). */
  readonly meter?:
    | {
        readonly carrier: Carrier;
        readonly modulus?: Written;
        readonly resolution?: Written;
        readonly ctRatio?: Written;
        readonly ptRatio?: Written;
        readonly exchanges: readonly {
          readonly atMs: number;
          readonly oldFinal: string | number;
          readonly newInitial: string | number;
        }[];
      }
    | undefined;
};

/** A number, or a decimal as a text that no float rounds. */
type Written = string | number | undefined;

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

const exactOf = (value: string | number) => (typeof value === "number" ? decimalOf(value) : parseDecimal(value));

/** A declared positive decimal at a scale. A birth certificate may say anything: what is not one counts as not declared. */
function declared(value: Written, scale: number): bigint | undefined {
  if (value === undefined) return undefined;
  try {
    const found = atScale(exactOf(value), scale);
    return found > 0n && found < absurd ? found : undefined;
  } catch {
    return undefined;
  }
}

/** A register as a version of the registry and the births have it; the registry comes first. */
function registerOf(definition: MetricDefinition, scale: number, { ratedPowerKW, meter }: MeterVersion): Register {
  const rated = ratedPowerKW !== undefined && definition.unit === "kWh" ? decimalOf(ratedPowerKW) : undefined;
  const own = meter && definition.role === carrierRoles[meter.carrier] ? meter : undefined;
  const ratio = own && ratioOf(own.ctRatio, own.ptRatio);
  const resolution = declared(own?.resolution, scale) ?? declared(definition.resolution, scale) ?? 1n;
  return {
    ratio,
    modulus: declared(own?.modulus, scale) ?? declared(definition.modulus, scale),
    maxRise: rated && {
      amount: atScale(rated, rated.scale + scale) * 12n,
      perMs: 36_000_000n * 10n ** BigInt(rated.scale),
    },
    resolution: timesRatio(resolution, ratio),
    exchanges: (own?.exchanges ?? []).map(({ atMs, oldFinal, newInitial }) => ({
      atMs,
      oldFinal: atScale(exactOf(oldFinal), scale),
      newInitial: atScale(exactOf(newInitial), scale),
    })),
  };
}

const noMeter: readonly MeterVersion[] = [{ fromMs: 0 }];

/** What is in force at a time, of what is in the order of time; the first one holds since ever. */
function inForce<T extends { readonly fromMs: number }>(dated: readonly T[], atMs: number): T {
  const first = dated[0] as T;
  return dated.length === 1 ? first : (dated.findLast(({ fromMs }) => fromMs <= atMs) ?? first);
}

/**
 * How to fold a counter.
 * @param definition what its births say
 * @param versions what the registry says over time, earliest first; none for a device that is not registered
 * @param births where births changed its heartbeat, modulus or resolution: what they said over time, earliest first
 */
export function counterRule(
  definition: MetricDefinition,
  versions: readonly MeterVersion[] = noMeter,
  births: readonly DatedDefinition[] = [],
): CounterRule {
  const scale = scaleOfUnit[definition.unit ?? ""] ?? defaultScale;
  const known = versions.length > 0 ? versions : noMeter;
  const times = [...new Set([...known, ...births].map(({ fromMs }) => fromMs))].sort((a, b) => a - b);
  return {
    scale,
    float32: definition.datatype === DataType.Float,
    registers: times.map((fromMs) => {
      const said = births.length > 0 ? inForce(births, fromMs).definition : definition;
      const register = registerOf(said, scale, inForce(known, fromMs));
      return { fromMs, register, windowMs: stalenessWindowMs(said.heartbeatMs) };
    }),
  };
}

/**
 * The increase between two neighbouring readings, or null where it cannot be told (facts, KPI definitions, Energy): a rise within what
 * the meter can pass in the time between, taken 5 s longer; else, with a declared modulus, a rollover within the same bound. Where nothing
 * bounds the rise, any rise is taken, and a fall is a rollover when it is less than half the modulus.
 */
export function increase(register: Register, before: bigint, after: bigint, elapsedMs: number): bigint | null {
  if (elapsedMs > longestGapMs) return null;
  const { maxRise, resolution, modulus, ratio } = register;
  const cap = maxRise && (maxRise.amount * BigInt(elapsedMs + timingMs)) / maxRise.perMs + resolution;
  const riseTo = (value: bigint) => (ratio ? timesRatio(value, ratio) - timesRatio(before, ratio) : value - before);
  if (after >= before) {
    const rise = riseTo(after);
    return cap === undefined || rise <= cap ? rise : null;
  }
  if (modulus === undefined || after + modulus < before) return null;
  const rolled = riseTo(after + modulus);
  return rolled <= (cap ?? timesRatio(modulus, ratio) / 2n) ? rolled : null;
}

/** `value` is null where the store holds something that no register can say: nothing is told up to it and from it on. */
type Reading = { atMs: number; value: bigint | null };

function readingAt(columns: ReadingColumns, i: number, { scale, float32 }: CounterRule): Reading {
  const atMs = columns.sourceMs[i] as number;
  const value = numberAt(columns, i);
  if (value === undefined) return { atMs, value: null };
  const scaled = valueAtScale(value, scale, float32);
  return { atMs, value: scaled < absurd && scaled > -absurd ? scaled : null };
}

/** Adds the part of one increase that falls into one minute. The parts of an increase over its minutes add up to it exactly. */
function addPart(leaf: CounterLeaf, from: Reading, to: Reading, rise: bigint, startMs: number, windowMs: number): void {
  if (to.atMs === from.atMs) {
    // Read at the very moment of an exchange.
    leaf.amount += rise;
    return;
  }
  const endMs = startMs + minuteMs;
  const firstMs = Math.max(from.atMs, startMs);
  const lastMs = Math.min(to.atMs, endMs);
  const upTo = (atMs: number) => (rise * BigInt(atMs - from.atMs)) / BigInt(to.atMs - from.atMs);
  // Most increases lie in one minute, and all of them in it: nothing is divided.
  const isWhole = firstMs === from.atMs && lastMs === to.atMs;
  const part = isWhole ? rise : upTo(lastMs) - upTo(firstMs);
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
 * The steps from one reading to the next: one, or with exchanges between them one more for each, because what the old register said last
 * and the new one first are readings too. A reading at the moment of an exchange is the new register's.
 */
function stepsOf(from: Reading, to: Reading, { exchanges }: Register): { from: Reading; to: Reading }[] {
  const steps: { from: Reading; to: Reading }[] = [];
  let last = from;
  for (const { atMs, oldFinal, newInitial } of exchanges) {
    if (atMs <= from.atMs || atMs > to.atMs) continue;
    steps.push({ from: last, to: { atMs, value: oldFinal } });
    last = { atMs, value: newInitial };
  }
  return [...steps, { from: last, to }];
}

/**
 * Folds readings into the leaves of the minutes in [fromMs, toMs). Pure: the same readings give the same digits. An increase that cannot
 * be told is counted in every minute that it touches, because each of them lacks a part of it; of two readings too far apart to be
 * neighbours, in the last one's alone. What bounds an increase is the register in force at its later reading.
 * @param readings usable ones in the window and the nearest one before and after it, by source time
 */
export function foldCounter(
  { columns, first, end }: Readings,
  rule: CounterRule,
  fromMs: number,
  toMs: number,
): CounterLeaf[] {
  const leaves = Array.from({ length: Math.max(0, (toMs - fromMs) / minuteMs) }, () => ({ ...emptyLeaf }));
  const at = (timeMs: number) => Math.floor((timeMs - fromMs) / minuteMs);
  let before: Reading | undefined;
  for (let i = first; i < end; i += 1) {
    const reading = readingAt(columns, i, rule);
    const own = leaves[at(reading.atMs)];
    if (own && reading.value !== null) own.samples += 1;
    if (before) addIncreases(before, reading);
    before = reading;
  }
  return leaves;

  function addIncreases(from: Reading, to: Reading): void {
    const dated = inForce(rule.registers, to.atMs);
    const { register } = dated;
    const tooFar = to.atMs - from.atMs > longestGapMs;
    if (tooFar || register.exchanges.length === 0) addIncrease(from, to, dated);
    else for (const step of stepsOf(from, to, register)) addIncrease(step.from, step.to, dated);
  }

  function addIncrease(from: Reading, to: Reading, { register, windowMs }: DatedRegister): void {
    const elapsedMs = to.atMs - from.atMs;
    const known = from.value !== null && to.value !== null;
    const rise = known ? increase(register, from.value as bigint, to.value as bigint, elapsedMs) : null;
    // A reading exactly on a minute's edge ends the increase in the minute before.
    const last = elapsedMs > 0 ? at(to.atMs - 1) : at(to.atMs);
    const start = elapsedMs > longestGapMs ? last : at(from.atMs);
    for (let m = Math.max(start, 0); m <= Math.min(last, leaves.length - 1); m += 1) {
      const leaf = leaves[m] as CounterLeaf;
      if (rise === null) leaf.resets += 1;
      else addPart(leaf, from, to, rise, fromMs + m * minuteMs, windowMs);
    }
  }
}
