import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { ChangedMinute } from "@jilian/store/telemetry.ts";
import { expect, test } from "vitest";
import { portionsOf } from "./portions.ts";
import type { Fold } from "./series-folds.ts";

/** Readings of some series, each so long after the one before, series by series as a store answers. */
const readings = (series: number, each: number, stepMs: number): ChangedMinute[] =>
  Array.from({ length: series * each }, (_, i) => {
    const at = (i % each) * stepMs;
    return { series: Math.floor(i / each), minuteMs: at, firstMs: at, lastMs: at };
  });

const ever = { fromMs: 0, toMs: Number.POSITIVE_INFINITY, sinceMs: 0, untilMs: Number.POSITIVE_INFINITY };
const holding = (onlineMs: number) => (): Fold[] => [
  { ...ever, counter: undefined, gauge: undefined, holdMs: undefined, onlineMs },
];

test("readings of every minute are one portion, those of every hour a sixtieth each, in the order of time", () => {
  expect([...portionsOf(readings(10, 10_000, minuteMs), holding(3 * minuteMs))]).toHaveLength(1);
  const hourly = readings(10, 1000, hourMs);
  const portions = [...portionsOf(hourly, holding(3 * hourMs))];
  const sizes = portions.map(({ length }) => length);
  expect(sizes).toEqual([3344, 3334, 3322]);
  expect(portions.flat()).toEqual(hourly.toSorted((a, b) => a.minuteMs - b.minuteMs));
  // Days apart, each tells of its own hours only.
  expect([...portionsOf(readings(10, 1000, 24 * hourMs), holding(hourMs / 60))]).toHaveLength(1);
});

test("nothing is no portion", () => {
  expect([...portionsOf([], holding(hourMs))]).toEqual([]);
});
