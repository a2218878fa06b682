import { openSync } from "node:fs";
import { expect, it } from "vitest";
import { collectedMb, compareRest, metricsIn, openFiles, risenOf, sumOf } from "./watch.ts";

it("reads what the collector says of its full collections alone", () => {
  const full =
    "[17:0x2a] 61234 ms: Mark-Compact (reduce) 52.1 (60.2) -> 50.0 (58.9) MB, pooled: 0.0 MB, 31.20 / 0.00 ms  (average mu = 0.9) task;";
  expect(collectedMb(full)).toBeCloseTo(52.43, 2);
  expect(collectedMb(full.replace("Mark-Compact (reduce)", "Scavenge"))).toBeUndefined();
  expect(collectedMb('{"level":30,"msg":"the gateway runs"}')).toBeUndefined();
});

it("adds a metric up over its labels, and no other that begins like it", () => {
  const metrics = metricsIn('# HELP a text\na{x="1"} 2\na{x="2"} 3\na_total 7\n');
  expect([sumOf(metrics, "a"), sumOf(metrics, "a_total"), sumOf(metrics, "b")]).toEqual([5, 7, 0]);
});

it("adds up a counter over its beginnings", () => {
  expect([risenOf([2, 5, 5, 1, 3, 0]), risenOf([])]).toEqual([8, 0]);
});

it.skipIf(process.platform !== "linux")("counts open files by kind", () => {
  const count = () => openFiles(process.pid).get("/dev/zero") ?? 0;
  const before = count();
  openSync("/dev/zero", "r");
  expect(count()).toBe(before + 1);
});

it("compares two rests by their medians, and misses what was not seen", () => {
  const looks = (handles: readonly number[]) =>
    handles.map((count) => ({
      atMs: 0,
      kinds: {},
      values: { "open files": 40, handles: count, timers: 30, "other resources": 20 },
    }));
  expect(compareRest(looks([19, 20, 50]), looks([23, 20, 21])).wrong).toEqual([]);
  expect(compareRest(looks([20, 20, 20]), looks([24, 24, 20])).wrong).toEqual([
    "handles at rest: 24, before all faults 20",
  ]);
  expect(compareRest(looks([20]), []).wrong).toHaveLength(4);
});
