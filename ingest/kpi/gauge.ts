import { DataType } from "@jilian/domain/datatypes.ts";
import { valueAtScale } from "@jilian/domain/decimal.ts";
import { absurdGauge, addGauges, type GaugeSum, gaugeScale, noGauge } from "@jilian/domain/gauge-leaf.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import { type MetricDefinition, stalenessWindowMs } from "@jilian/domain/sample.ts";
import { numberAt, type ReadingColumns, type Readings } from "@jilian/store/columns/readings.ts";
import { longestGapMs } from "./counter.ts";

/** What folding a gauge needs to know beside its readings. */
export type GaugeRule = {
  readonly float32: boolean;
  /** A reading is taken for true for so long at most; then no value is known until the next one. */
  readonly windowMs: number;
  /** True: what is summed up is not the reading, but how long after its source time it was in the hands of ingest, ms. */
  readonly isDelay?: boolean;
};

/** How long samples of a series are under way. No value holds between them. */
export const delayRule: GaugeRule = { float32: false, windowMs: 0, isDelay: true };

export function gaugeRule({ datatype, heartbeatMs }: MetricDefinition): GaugeRule {
  return { float32: datatype === DataType.Float, windowMs: stalenessWindowMs(heartbeatMs) };
}

const one = 10n ** BigInt(gaugeScale);

type Reading = { atMs: number; value: bigint | undefined };

function readingAt(columns: ReadingColumns, i: number, { float32, isDelay }: GaugeRule): Reading {
  const atMs = columns.sourceMs[i] as number;
  if (isDelay) return { atMs, value: BigInt((columns.ingestMs[i] as number) - atMs) * one };
  const value = numberAt(columns, i);
  if (value === undefined) return { atMs, value };
  const scaled = valueAtScale(value, gaugeScale, float32);
  return { atMs, value: scaled < absurdGauge && scaled > -absurdGauge ? scaled : undefined };
}

/**
 * Folds readings into the leaves of the minutes in [fromMs, toMs). Pure. A value holds until the next reading, at most for the window. Of the
 * newest reading nothing is held before the next one is there: so a minute depends on the same neighbours as one of a counter, late data
 * reaches no further, and nothing is held beyond now.
 * @param readings usable ones in the window and the nearest one before and after it, by source time
 */
export function foldGauge(
  { columns, first, end }: Readings,
  rule: GaugeRule,
  fromMs: number,
  toMs: number,
): GaugeSum[] {
  const leaves: GaugeSum[] = Array.from({ length: Math.max(0, (toMs - fromMs) / minuteMs) }, () => noGauge);
  const minuteOf = (timeMs: number) => Math.floor((timeMs - fromMs) / minuteMs);
  const add = (minute: number, more: Partial<GaugeSum>) => {
    const own = leaves[minute];
    if (own) leaves[minute] = addGauges(own, { ...noGauge, ...more });
  };
  let before: Reading | undefined;
  for (let i = first; i < end; i += 1) {
    const reading = readingAt(columns, i, rule);
    const { atMs, value } = reading;
    // Nobody asks for the spread of delays, and squares of years would not fit the store.
    const squares = rule.isDelay ? 0n : (value ?? 0n) ** 2n;
    if (value !== undefined) add(minuteOf(atMs), { samples: 1, sum: value, squares });
    if (before?.value !== undefined && atMs - before.atMs <= longestGapMs)
      hold(before.value, before.atMs, Math.min(atMs, before.atMs + rule.windowMs));
    before = reading;
  }
  return leaves;

  function hold(value: bigint, sinceMs: number, untilMs: number): void {
    const endMs = Math.min(untilMs, toMs);
    for (let at = Math.max(sinceMs, fromMs); at < endMs; ) {
      const nextMs = Math.min(endMs, fromMs + (minuteOf(at) + 1) * minuteMs);
      add(minuteOf(at), { integral: value * BigInt(nextMs - at), coveredMs: nextMs - at });
      at = nextMs;
    }
  }
}
