import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Bound, isGood, type Point, slopePerMinute, tableOf, verdictOf } from "./slope.ts";

const minutes = 30;
const runMs = minutes * 60_000;
const bound: Bound = { name: "RSS", unit: "MB", rise: 3, leastPoints: 100 };

/** A look every five seconds of a run. */
function run(value: (minute: number, look: number) => number, lasts = minutes): Point[] {
  return Array.from({ length: lasts * 12 }, (_, i) => ({ atMs: i * 5000, value: value((i * 5) / 60, i) }));
}

describe("slope", () => {
  it("is that of a line, whatever a quarter of the points say", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -50, max: 50 }),
        fc.array(fc.tuple(fc.nat(179), fc.integer({ min: -100_000, max: 100_000 })), { maxLength: 45 }),
        (tenths, outliers) => {
          const points = run((minute) => 100 + (tenths / 10) * minute, 15);
          const line = slopePerMinute(points);
          expect(line).toBeCloseTo(tenths / 10, 6);
          for (const [at, by] of outliers) points[at] = { atMs: at * 5000, value: by };
          expect(slopePerMinute(points)).toBeCloseTo(tenths / 10, 6);
        },
      ),
      { numRuns: 20 },
    );
  });

  it("of fewer than two moments is none", () => {
    expect(slopePerMinute([])).toBeNaN();
    expect(slopePerMinute([{ atMs: 1, value: 2 }])).toBeNaN();
    expect(slopePerMinute([1, 2].map((value) => ({ atMs: 1, value })))).toBeNaN();
  });
});

describe("verdict", () => {
  /** What a garbage collector does to memory: up, and down again. */
  const saw = (look: number) => (look % 11) * 0.7;

  it("calls flat what saws, jumps in outages and rises before the judged part alone", () => {
    const found = verdictOf(
      run((minute, look) => 90 + Math.min(20, 4 * minute) + saw(look) + (look % 40 < 8 ? 25 : 0)),
      bound,
      runMs,
    );
    expect(found).toMatchObject({ says: "flat", points: 180 });
    expect(isGood(found)).toBe(true);
  });

  it("sees a third of a megabyte a minute below the same saw and jumps", () => {
    const leaks = run((minute, look) => 110 + minute / 3 + saw(look) + (look % 40 < 8 ? 25 : 0));
    const found = verdictOf(leaks, bound, runMs);
    expect(found.says).toBe("RISES");
    expect(found.perMinute).toBeCloseTo(1 / 3, 1);
    expect(isGood(found)).toBe(false);
  });

  it("sees one handle more each three minutes, and none where the count only goes up and down", () => {
    const handles: Bound = { ...bound, name: "handles", unit: "" };
    expect(
      verdictOf(
        run((minute) => 20 + Math.floor(minute / 3)),
        handles,
        runMs,
      ).says,
    ).toBe("RISES");
    expect(
      verdictOf(
        run((_, look) => 20 + (look % 7)),
        handles,
        runMs,
      ).says,
    ).toBe("flat");
  });

  it("calls missing samples missing, not flat", () => {
    const stopped = run(() => 90).filter(({ atMs }) => atMs < runMs / 2 + 200_000);
    for (const points of [[], stopped]) {
      const found = verdictOf(points, bound, runMs);
      expect(found.says).toBe("TOO FEW SAMPLES");
      expect(isGood(found)).toBe(false);
    }
  });

  it("judges no slope of a run of minutes, but misses its samples", () => {
    const rising = run((minute) => 90 + 20 * minute, 1);
    expect(verdictOf(rising, { ...bound, leastPoints: 5 }, 60_000).says).toBe("not judged: too short");
    expect(verdictOf(rising, { ...bound, leastPoints: 7 }, 60_000).says).toBe("TOO FEW SAMPLES");
  });

  it("is told with what it was drawn from", () => {
    const table = tableOf([
      verdictOf(
        run((minute) => minute),
        bound,
        runMs,
      ),
      verdictOf([], bound, runMs),
    ]);
    expect(table.split("\n").slice(2)).toEqual([
      "| RSS, MB | 180 | 16.46 | 28.46 | 29.92 | 1 | 15 | 3 | RISES |",
      "| RSS, MB | 0 | - | - | - | - | - | 3 | TOO FEW SAMPLES |",
    ]);
  });
});
