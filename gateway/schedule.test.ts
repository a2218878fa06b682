import type { Clock } from "@jilian/domain/clock.ts";
import { describe, expect, it } from "vitest";
import { backOffMs, firstPollMs, nextPoll, phaseOf, wait } from "./schedule.ts";

const at = (nowMs: number, rate = 1): Clock => ({ now: () => nowMs, rate });

describe("phaseOf", () => {
  it("spreads ids over the interval and never changes for an id", () => {
    const phases = Array.from({ length: 1000 }, (_, i) => phaseOf(`device-${i}`, 1000));
    expect(phases).toEqual(Array.from({ length: 1000 }, (_, i) => phaseOf(`device-${i}`, 1000)));
    const tenths = Array.from({ length: 10 }, (_, i) => phases.filter((p) => Math.floor(p / 100) === i).length);
    expect(Math.min(...tenths)).toBeGreaterThan(60);
    expect(Math.max(...tenths)).toBeLessThan(140);
  });
});

describe("nextPoll", () => {
  it.each([
    // now, took, wait, skipped: interval 1000, phase 300
    [10_320, 20, 980, 0],
    [11_299, 999, 1, 0],
    [11_301, 1001, 999, 1],
    [12_800, 2500, 500, 2],
    // The timer fired half a millisecond early: not two polls for one point.
    [10_299, 0, 1001, 0],
    [10_300, 0, 1000, 0],
  ])("at %i after %i ms: waits %i, skips %i", (nowMs, tookMs, waitMs, skipped) => {
    expect(nextPoll(at(nowMs), 1000, 300, tookMs)).toEqual({ waitMs, skipped });
  });

  it("is not stopped by a clock that is set back, and counts no skips for one set forward", () => {
    expect(nextPoll(at(10_320 - 86_400_000), 1000, 300, 20)).toEqual({ waitMs: 980, skipped: 0 });
    expect(nextPoll(at(10_320 + 86_400_000), 1000, 300, 20)).toEqual({ waitMs: 980, skipped: 0 });
  });

  it("waits machine time for an interval of a faster clock", () => {
    expect(nextPoll(at(60_000, 60), 6000, 0, 20)).toEqual({ waitMs: 100, skipped: 0 });
    expect(nextPoll(at(61_200, 60), 6000, 0, 120)).toEqual({ waitMs: 80, skipped: 1 });
  });
});

it("begins within a second, also with an hourly interval", () => {
  expect(firstPollMs(at(0), 3_600_000, 1_800_000)).toBe(500);
  expect(firstPollMs(at(950), 1000, 960)).toBe(10);
});

it("backs off between half and whole of a doubling wait, up to the limit", () => {
  const limits = { retryMinMs: 500, retryMaxMs: 30_000 };
  for (const [failures, most] of [
    [0, 500],
    [1, 1000],
    [3, 4000],
    [6, 30_000],
    [5000, 30_000],
  ] as const) {
    for (let i = 0; i < 100; i += 1) {
      const waitMs = backOffMs(failures, limits);
      expect(waitMs).toBeGreaterThanOrEqual(most / 2);
      expect(waitMs).toBeLessThanOrEqual(most);
    }
  }
});

it("ends a wait at once when the signal aborts", async () => {
  const stop = new AbortController();
  const waiting = wait(60_000, stop.signal);
  stop.abort();
  await expect(waiting).rejects.toThrow();
});
