import type { CounterLeaf } from "./leaf.ts";

/**
 * The leaf of a gauge: what one minute of a power, a temperature or a measured dimension contributes. All of it are sums, so that an hour is
 * the sum of its minutes. A value holds until the next reading, at most the staleness window.
 */
export type GaugeSum = {
  /** Usable readings, their sum and the sum of their squares: what mean and spread are made of. */
  readonly samples: number;
  /** At `gaugeScale` places. */
  readonly sum: bigint;
  /** At twice as many. */
  readonly squares: bigint;
  /** Value x milliseconds of the time in which a value is known, at `gaugeScale` places: of a power in kW, kW ms. */
  readonly integral: bigint;
  /** That time. */
  readonly coveredMs: number;
};

export const gaugeScale = 6;

/** A value of this size or beyond is no reading of a gauge: sums of squares have to fit 128 bits in the store. */
export const absurdGauge = 10n ** 15n;

export const noGauge: GaugeSum = { samples: 0, sum: 0n, squares: 0n, integral: 0n, coveredMs: 0 };

export function addGauges(a: GaugeSum, b: GaugeSum): GaugeSum {
  return {
    samples: a.samples + b.samples,
    sum: a.sum + b.sum,
    squares: a.squares + b.squares,
    integral: a.integral + b.integral,
    coveredMs: a.coveredMs + b.coveredMs,
  };
}

/**
 * A gauge's leaf in the columns in which the store keeps leaves. A series is a counter or a gauge, never both; leaves of gauges are read
 * back by `gaugeOf` and added, never merged as counters.
 */
export function storedGauge({ samples, sum, squares, integral, coveredMs }: GaugeSum): CounterLeaf {
  return { amount: integral, left: sum, right: squares, inGap: false, coveredMs, gapMs: 0, samples, resets: 0 };
}

/** The gauge's leaf that `storedGauge` stored. */
export function gaugeOf({ amount, left, right, coveredMs, samples }: CounterLeaf): GaugeSum {
  return { samples, sum: left, squares: right, integral: amount, coveredMs };
}
