import { expect, test } from "vitest";
import { cut, nearEachOther, runsOf, steps } from "./runs.ts";

test("starts are grouped in order, each once, into runs without holes", () => {
  expect(runsOf([30, 10, 20, 10, 60], 10)).toEqual([
    { fromMs: 10, toMs: 40, starts: [10, 20, 30] },
    { fromMs: 60, toMs: 70, starts: [60] },
  ]);
});

test("holes are bridged where they are allowed, and a run stays within its length", () => {
  expect(runsOf([0, 30, 70], 10, { holes: 2 }).map((r) => [r.fromMs, r.toMs])).toEqual([
    [0, 40],
    [70, 80],
  ]);
  expect(runsOf(steps(0, 70, 10), 10, { most: 3 }).map((r) => r.starts.length)).toEqual([3, 3, 1]);
});

test("spans near each other are one group, in the order of their starts", () => {
  const span = (startMs: number, endMs: number) => ({ startMs, endMs });
  const all = [span(40, 50), span(0, 10), span(12, 14), span(0, 30), span(60, 70), span(36, 37)];
  expect(nearEachOther(all, () => 6)).toEqual([
    [span(0, 10), span(0, 30), span(12, 14), span(36, 37), span(40, 50)],
    [span(60, 70)],
  ]);
  expect(nearEachOther(all, ({ startMs, endMs }) => endMs - startMs)).toHaveLength(2);
  expect(nearEachOther([], () => 6)).toEqual([]);
});

test("a stretch of time is cut where pieces end, and what lies in none is left out", () => {
  const [a, b] = [
    { fromMs: 0, toMs: 30 },
    { fromMs: 50, toMs: Number.POSITIVE_INFINITY },
  ] as const;
  expect(cut([a, b], 10, 60)).toEqual([
    { of: a, fromMs: 10, toMs: 30 },
    { of: b, fromMs: 50, toMs: 60 },
  ]);
  expect(cut([a, b], 30, 50)).toEqual([]);
});
