import type { Value } from "@jilian/domain/datatypes.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { StateLeaf } from "@jilian/domain/state-leaf.ts";
import { describe, expect, test } from "vitest";
import { random } from "../test-random.ts";
import { holdMs, stateCode, stateFold } from "./state.ts";

const t0 = Date.UTC(2026, 10, 22, 0, 0);
type Reading = [seconds: number, value: Value, status?: number];

function fold(readings: Reading[], minutes: number, hold = 30_000): StateLeaf[] {
  const folding = stateFold(t0, t0 + minutes * minuteMs, hold);
  for (const [seconds, value, status = Status.Good] of readings)
    folding.add({ sourceTimeMs: t0 + seconds * 1000, value, status });
  return folding.leaves();
}

describe("worked by hand", () => {
  test("a state holds until the next reading", () => {
    expect(
      fold(
        [
          [0, 1],
          [20, 2],
          [45, 1],
        ],
        1,
      ),
    ).toEqual([{ ms: { "1": 35_000, "2": 25_000 }, unknownMs: 0, samples: 3 }]);
  });

  test("it holds over the minute's edge, and at most as long as it may", () => {
    expect(fold([[50, 1n]], 3)).toEqual([
      { ms: { "1": 10_000 }, unknownMs: 50_000, samples: 1 },
      { ms: { "1": 20_000 }, unknownMs: 40_000, samples: 0 },
      { ms: {}, unknownMs: 60_000, samples: 0 },
    ]);
  });

  test("a reading before the window counts in it", () => {
    expect(fold([[-10, 4]], 1)).toEqual([{ ms: { "4": 20_000 }, unknownMs: 40_000, samples: 0 }]);
  });

  test("bad quality, and what is no state, end it; uncertain does not", () => {
    const leaves = (second: Reading) => fold([[0, 1], second, [30, 1], [50, 1]], 1);
    const ended = [{ ms: { "1": 40_000 }, unknownMs: 20_000, samples: 3 }];
    expect(leaves([10, 1, Status.BadTimeout])).toEqual(ended);
    expect(leaves([10, null])).toEqual(ended);
    expect(leaves([10, 1.5])).toEqual(ended);
    expect(leaves([10, "x".repeat(61)])).toEqual(ended);
    expect(leaves([10, 1, Status.Uncertain])).toEqual([{ ms: { "1": 60_000 }, unknownMs: 0, samples: 4 }]);
  });

  test("the codes of a PLC may be of any kind", () => {
    expect([1, -4, 2n ** 63n, true, false, "RUN"].map(stateCode)).toEqual([
      "1",
      "-4",
      "9223372036854775808",
      "1",
      "0",
      "RUN",
    ]);
    expect([Number.NaN, 1e300, "", null].map(stateCode)).toEqual([undefined, undefined, undefined, undefined]);
  });

  test("it holds three heartbeats, at most an hour", () => {
    expect(holdMs({})).toBe(30_000);
    expect(holdMs({ heartbeatMs: 60_000 })).toBe(180_000);
    expect(holdMs({ heartbeatMs: 86_400_000 })).toBe(3_600_000);
  });
});

describe("properties", () => {
  const seeds = Array.from({ length: 40 }, (_, i) => i + 1);

  function readingsOf(seed: number): { sourceTimeMs: number; value: Value; status: number }[] {
    const { whole, chance } = random(seed);
    const found = [];
    let atMs = t0 - whole(3 * minuteMs);
    for (let i = 0; i < 5 + whole(80); i += 1) {
      found.push({ sourceTimeMs: atMs, value: whole(5), status: chance(0.1) ? Status.Bad : Status.Good });
      atMs += chance(0.1) ? whole(10 * minuteMs) + 1 : whole(40_000) + 1;
      if (chance(0.2)) atMs = Math.ceil(atMs / minuteMs) * minuteMs;
    }
    return found;
  }

  /** Millisecond by millisecond would take long: by brute force over every reading instead, for one minute. */
  function slowly(readings: ReturnType<typeof readingsOf>, fromMs: number, toMs: number, hold: number): StateLeaf {
    const ms: Record<string, number> = {};
    for (const [i, { sourceTimeMs, value, status }] of readings.entries()) {
      const next = readings[i + 1]?.sourceTimeMs ?? Number.POSITIVE_INFINITY;
      const end = Math.min(next, sourceTimeMs + hold, toMs);
      const own = end - Math.max(sourceTimeMs, fromMs);
      if (own > 0 && status === Status.Good) ms[String(value)] = (ms[String(value)] ?? 0) + own;
    }
    const known = Object.values(ms).reduce((a, b) => a + b, 0);
    const inside = readings.filter((r) => r.sourceTimeMs >= fromMs && r.sourceTimeMs < toMs && r.status === 0);
    return { ms, unknownMs: toMs - fromMs - known, samples: inside.length };
  }

  test.each(seeds)("each minute is what its readings say, and the minutes add up to any longer period (%i)", (seed) => {
    const readings = readingsOf(seed);
    const hold = 30_000 + random(seed + 99).whole(90_000);
    const minutes = 90;
    const folding = stateFold(t0, t0 + minutes * minuteMs, hold);
    for (const reading of readings) folding.add(reading);
    const leaves = folding.leaves();
    for (const [m, leaf] of leaves.entries()) {
      const fromMs = t0 + m * minuteMs;
      expect(leaf).toEqual(slowly(readings, fromMs, fromMs + minuteMs, hold));
      expect(Object.values(leaf.ms).reduce((a, b) => a + b, leaf.unknownMs)).toBe(minuteMs);
    }
    const sum = (of: (leaf: StateLeaf) => number) => leaves.reduce((total, leaf) => total + of(leaf), 0);
    const whole = slowly(readings, t0, t0 + minutes * minuteMs, hold);
    expect(sum((l) => l.unknownMs)).toBe(whole.unknownMs);
    expect(sum((l) => l.samples)).toBe(whole.samples);
    for (const code of ["0", "1", "2", "3", "4"]) expect(sum((l) => l.ms[code] ?? 0)).toBe(whole.ms[code] ?? 0);
  });

  test.each(seeds)(
    "folded window by window, with what a hold before it can reach, the leaves are the same (%i)",
    (seed) => {
      const readings = readingsOf(seed);
      const hold = 45_000;
      const { whole } = random(seed + 7);
      const leavesOf = (fromMs: number, toMs: number) => {
        const folding = stateFold(fromMs, toMs, hold);
        for (const reading of readings.filter((r) => r.sourceTimeMs >= fromMs - hold && r.sourceTimeMs < toMs))
          folding.add(reading);
        return folding.leaves();
      };
      const toMs = t0 + 60 * minuteMs;
      const found: StateLeaf[] = [];
      for (let fromMs = t0; fromMs < toMs; ) {
        const end = Math.min(toMs, fromMs + (1 + whole(7)) * minuteMs);
        found.push(...leavesOf(fromMs, end));
        fromMs = end;
      }
      expect(found).toEqual(leavesOf(t0, toMs));
    },
  );
});
