import { Status } from "@jilian/domain/quality.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RawReading, ShapedSample } from "./model.ts";
import { createShaper } from "./shape.ts";
import { deviceWith } from "./test-values.ts";

const t0 = 1_750_000_000_000;
const counter = "type: uint32, unit: pcs, role: production.total";
const good = (value: number, tag = 0, sourceMs?: number): RawReading => ({
  ...{ tag, value, status: Status.Good },
  ...(sourceMs === undefined ? {} : { sourceTimeMs: t0 + sourceMs }),
});
const bad: RawReading = { tag: 0, value: null, status: Status.BadNodeIdUnknown };
const shown = (samples: ShapedSample[]) =>
  samples.map(({ value, sourceTimeMs }) => [(sourceTimeMs - t0) / 1000, value]);

/** Polls one tag once a second with these values; null is a reading that is bad. */
function polled(tag: string, values: readonly (number | null)[], device = "heartbeatMs: 60000") {
  const shaper = createShaper(deviceWith([tag], device), { lastSourceTimeMs: 0 });
  const counts: number[][] = [];
  const samples = values.flatMap((value, second) => {
    const made = shaper.shape([value === null ? bad : good(value)], t0 + 1000 * second);
    const { polled, suppressed } = shaper.counts();
    expect(polled - suppressed).toBe(made.length);
    counts.push([polled, suppressed]);
    return made;
  });
  return { shaper, samples: shown(samples), counts };
}

describe("minIntervalMs", () => {
  it("reports no more often, and the last value when the interval ends", () => {
    const { samples } = polled("type: int16, minIntervalMs: 3000", [1, 2, 3, 4, 4, 4, 4, 9, 9, 9, 9]);
    expect(samples).toEqual([
      [0, 1],
      [3, 4],
      [7, 9],
    ]);
  });

  it("tells of no change that was taken back before the interval ended", () => {
    expect(polled("type: int16, minIntervalMs: 3000", [1, 5, 1, 1, 1, 1]).samples).toEqual([[0, 1]]);
  });

  it("is kept when polls come a little early or late", () => {
    const shaper = createShaper(deviceWith(["type: uint16, minIntervalMs: 5000"]), { lastSourceTimeMs: 0 });
    const times = Array.from({ length: 40 }, (_, second) =>
      shaper.shape([good(second)], t0 + 1000 * second + (second % 3) * 30 - 30).map((s) => s.sourceTimeMs),
    ).flat();
    const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
    expect(gaps.length).toBe(7);
    expect(Math.min(...gaps)).toBeGreaterThan(4900);
  });

  it("does not hold back a change of quality, which brings the last value before it", () => {
    const { samples } = polled("type: int16, minIntervalMs: 10000", [1, 2, 3, null, 3]);
    expect(samples).toEqual([
      [0, 1],
      [2, 3],
      [3, null],
      [4, 3],
    ]);
  });

  it("counts by source times where there are some, and reports what is still so after it", () => {
    const shaper = createShaper(deviceWith(["type: int16, minIntervalMs: 2000"]), { lastSourceTimeMs: 0 });
    const readings = [0, 500, 1900, 2000, 2100, 4500].map((ms, i) => good(i, 0, ms));
    expect(shown(shaper.shape(readings, t0 + 4600))).toEqual([
      [0, 0],
      [2, 3],
      [4.5, 5],
    ]);
    expect(shown(shaper.shape([good(6, 0, 4600)], t0 + 5600))).toEqual([]);
    expect(shown(shaper.shape([good(6, 0, 6600)], t0 + 6600))).toEqual([[6.6, 6]]);
  });
});

describe("what is held back comes out before it is hidden", () => {
  it("of a counter before it is bad, before it falls and when the device is lost: in the interval and in the deadband", () => {
    for (const keeps of ["minIntervalMs: 10000", "deadband: 50"]) {
      const tag = `${counter}, ${keeps}`;
      expect(polled(tag, [100, 104, 108, null]).samples).toEqual([
        [0, 100],
        [2, 108],
        [3, null],
      ]);
      // What it counts from the fall on begins with the value that it fell to.
      const { samples } = polled(tag, [100, 104, 102, 103, 110, 3, 5]);
      expect(samples).toEqual([
        [0, 100],
        [1, 104],
        [2, 102],
        [4, 110],
        [5, 3],
      ]);
      const second = polled(tag, [100, 104]).shaper;
      expect(shown(second.lost(Status.BadTimeout, t0 + 5000))).toEqual([
        [1, 104],
        [5, null],
      ]);
      expect(second.counts()).toEqual({ polled: 1, suppressed: 0, bad: 0 });
      expect(second.lost(Status.BadTimeout, t0 + 6000)).toEqual([]);
      expect(second.counts().polled).toBe(0);
    }
  });

  it("of any tag when no poll will follow; what a gauge's deadband suppressed is not", () => {
    const { shaper } = polled("type: int16, minIntervalMs: 10000", [1, 2, 3]);
    expect(shown(shaper.rest())).toEqual([[2, 3]]);
    expect(shaper.rest()).toEqual([]);
    expect(polled("type: int16, deadband: 5", [1, 2, 3]).shaper.rest()).toEqual([]);
  });

  it("is counted when that is decided", () => {
    // Reported; held; the one before was suppressed, this is held; the one before goes out with the bad one.
    const { counts } = polled(`${counter}, deadband: 50`, [100, 104, 108, null]);
    expect(counts).toEqual([
      [1, 0],
      [0, 0],
      [1, 1],
      [2, 0],
    ]);
  });
});

it("whatever comes: times rise, no high and no low of a counter is lost, and what was polled is a sample or suppressed", () => {
  const tags = [
    `${counter}, deadband: 3, minIntervalMs: 2500`,
    "type: int16, minIntervalMs: 4000",
    "type: int16, deadband: 2",
  ];
  const device = deviceWith(
    tags,
    "derived: [{ name: sum, operation: sum, of: [{ tag: t1 }, { tag: t2 }], minIntervalMs: 3000 }]\nheartbeatMs: 30000",
  );
  const value = fc.option(fc.nat(12), { freq: 8 });
  const step = fc.record({
    values: fc.tuple(value, value, value),
    lost: fc.boolean(),
    backMs: fc.constantFrom(0, 0, 0, 700),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const shaper = createShaper(device, { lastSourceTimeMs: 0 });
      const all: ShapedSample[] = [];
      let polledAll = 0;
      let suppressedAll = 0;
      let derivedAll = 0;
      let given = 0;
      let marks = 0;
      const derivedIn = () => shaper.counts().marked ?? 0;
      const note = (samples: ShapedSample[]) => {
        all.push(...samples);
        polledAll += shaper.counts().polled;
        suppressedAll += shaper.counts().suppressed;
        derivedAll += derivedIn();
        expect(shaper.counts().suppressed).toBeGreaterThanOrEqual(0);
        return samples;
      };
      for (const [i, { values, lost, backMs }] of steps.entries()) {
        const nowMs = t0 + 1000 * i - backMs;
        note(
          shaper.shape(
            values.map((v, tag) => (v === null ? { ...bad, tag } : good(v, tag))),
            nowMs,
          ),
        );
        given += values.length;
        if (!lost) continue;
        const { length } = note(shaper.lost(Status.BadTimeout, nowMs + 300));
        marks += length - shaper.counts().polled - derivedIn();
      }
      note(shaper.rest());
      expect(polledAll).toBe(given);
      expect(all.length).toBe(polledAll - suppressedAll + derivedAll + marks);
      for (const metric of ["t0", "t1", "t2", "sum"]) {
        const times = all.filter((s) => s.metric === metric).map((s) => s.sourceTimeMs);
        expect(times.every((time, n) => n === 0 || time > (times[n - 1] as number))).toBe(true);
      }
      // No rise of the counter is lost: the value that it had last before each fall or gap was reported, and the one that it fell to.
      const told = all.filter((s) => s.metric === "t0" && s.value !== null).map((s) => s.value);
      const turns = steps.flatMap(({ values: [v], lost }, n) => {
        const next = steps[n + 1]?.values[0] ?? null;
        const before = steps[n - 1]?.values[0] ?? null;
        const isLow = v !== null && before !== null && v < before;
        return v !== null && (isLow || lost || next === null || next < v) ? [v] : [];
      });
      let at = 0;
      for (const turn of turns) {
        at = told.indexOf(turn, at);
        expect(at).toBeGreaterThanOrEqual(0);
      }
    }),
  );
});

it("tells of a number that is not in the enumeration once, until the tag is read again", () => {
  const told: unknown[] = [];
  const device = deviceWith(["type: uint16, enumeration: { 0: off, 1: on }"]);
  const shaper = createShaper(device, { lastSourceTimeMs: 0, onUnlisted: (tag, value) => told.push([tag, value]) });
  for (const [i, value] of [1, 5, 5, 6, 0, 7].entries()) shaper.shape([good(value)], t0 + i);
  shaper.shape([bad], t0 + 10);
  expect(told).toEqual([
    ["t0", 5],
    ["t0", 7],
  ]);
});
