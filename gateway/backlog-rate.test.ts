import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backlogRate } from "./backlog-rate.ts";

const setting = { recordsPerSecond: 500, bytesPerSecond: 1_000_000, commitTimeoutMs: 10_000 };
const none = { records: 0, bytes: 0 };

type Way = {
  seconds: number;
  recordBytes: number;
  linkBytesPerSecond: number;
  baseMs: number;
  /** The store commits nothing in the first of so many milliseconds of every five seconds. */
  pauseMs?: number;
};

/** A link and store that take records in order, so many bytes a second, and answer after a base delay; a step is 50 ms. */
function run({ seconds, recordBytes, linkBytesPerSecond, baseMs, pauseMs = 0 }: Way) {
  const rate = backlogRate(setting);
  const onTheWay: { sentMs: number; backMs: number }[] = [];
  const delays: { nowMs: number; delayMs: number }[] = [];
  let linkFreeMs = 0;
  let sent = 0;
  rate.begin(0);
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += 50) {
    for (let first = onTheWay[0]; first && first.backMs <= nowMs; first = onTheWay[0]) {
      delays.push({ nowMs, delayMs: first.backMs - first.sentMs });
      rate.committed(first.sentMs, nowMs);
      onTheWay.shift();
    }
    if (onTheWay[0]) rate.waiting(onTheWay[0].sentMs, nowMs);
    while (rate.mayTake({ records: onTheWay.length, bytes: onTheWay.length * recordBytes }, nowMs)) {
      rate.take(recordBytes);
      linkFreeMs = Math.max(nowMs, linkFreeMs) + (recordBytes / linkBytesPerSecond) * 1000;
      const backMs = linkFreeMs + baseMs;
      const pausedMs = Math.floor(backMs / 5000) * 5000 + pauseMs;
      onTheWay.push({ sentMs: nowMs, backMs: Math.max(backMs, pausedMs) });
      sent += 1;
    }
  }
  return { rate, sent, delays };
}

describe("backlog rate", () => {
  test("begins at a hundred records a second, rises to the ceiling by records within seconds, and keeps to it", () => {
    const first = run({ seconds: 1, recordBytes: 100, linkBytesPerSecond: 1e9, baseMs: 200 });
    expect(first.sent).toBeGreaterThan(60);
    expect(first.sent).toBeLessThan(130);
    const short = run({ seconds: 4, recordBytes: 100, linkBytesPerSecond: 1e9, baseMs: 200 });
    // A minute's outage at ten records a second.
    expect(short.sent).toBeGreaterThan(600);
    const long = run({ seconds: 60, recordBytes: 100, linkBytesPerSecond: 1e9, baseMs: 200 });
    expect(long.rate.stats().recordsPerSecond).toBe(500);
    expect(long.sent).toBeGreaterThan(45 * 500);
    expect(long.sent).toBeLessThan(60 * 500);
  });

  test("keeps to the ceiling by bytes where records are large, one larger than a second's worth included", () => {
    const { sent } = run({ seconds: 60, recordBytes: 50_000, linkBytesPerSecond: 1e9, baseMs: 200 });
    expect(sent * 50_000).toBeLessThan(61e6);
    expect(sent * 50_000).toBeGreaterThan(40e6);
    const huge = run({ seconds: 60, recordBytes: 5_000_000, linkBytesPerSecond: 1e9, baseMs: 200 });
    expect(huge.sent).toBeGreaterThan(2);
    expect(huge.sent * 5_000_000).toBeLessThan(66e6);
  });

  test("a thin uplink is used and not flooded: what waits in it delays live data by less than two seconds", () => {
    // A twentieth of the ceiling: 50 kB/s.
    const uplink = { seconds: 120, recordBytes: 2000, linkBytesPerSecond: 50_000, baseMs: 300 };
    const { rate, sent, delays } = run(uplink);
    expect(rate.stats().bytesPerSecond).toBeLessThan(200_000);
    expect(sent * 2000).toBeGreaterThan(0.5 * 120 * 50_000);
    expect(Math.max(...delays.map(({ delayMs }) => delayMs))).toBeLessThan(300 + 2000);
  });

  test("a store that is slow whatever the rate holds nothing up for good", () => {
    const { rate } = run({ seconds: 120, recordBytes: 100, linkBytesPerSecond: 1e9, baseMs: 4000 });
    expect(rate.stats().recordsPerSecond).toBe(500);
    expect(rate.stats().commitDelayMs).toBeCloseTo(4050, -2);
  });

  test("nor does one that pauses for more than a second again and again", () => {
    const { sent } = run({ seconds: 60, recordBytes: 100, linkBytesPerSecond: 1e9, baseMs: 100, pauseMs: 1400 });
    expect(sent).toBeGreaterThan(0.5 * 60 * 500);
  });

  test("sends no more than a window while nothing comes back", () => {
    const rate = backlogRate(setting);
    rate.begin(0);
    let inFlight = 0;
    for (let nowMs = 0; nowMs < 10_000; nowMs += 50) {
      rate.waiting(0, nowMs);
      while (rate.mayTake({ records: inFlight, bytes: inFlight * 100 }, nowMs)) {
        rate.take(100);
        inFlight += 1;
      }
    }
    expect(inFlight).toBeGreaterThan(0);
    expect(inFlight).toBeLessThan(25);
  });

  test("any course of delays leaves it between floor and ceiling, and good commits bring it back to the ceiling", () => {
    const event = fc.record({
      stepMs: fc.integer({ min: 0, max: 20_000 }),
      kind: fc.constantFrom("committed" as const, "waiting" as const, "take" as const, "begin" as const),
      delayMs: fc.integer({ min: 0, max: 120_000 }),
      bytes: fc.integer({ min: 0, max: 10_000_000 }),
    });
    const settings = fc.record({
      recordsPerSecond: fc.integer({ min: 1, max: 1_000_000 }),
      bytesPerSecond: fc.integer({ min: 1024, max: 1_000_000_000 }),
      commitTimeoutMs: fc.integer({ min: 100, max: 3_600_000 }),
    });
    fc.assert(
      fc.property(settings, fc.array(event, { maxLength: 200 }), (ceilings, events) => {
        const rate = backlogRate(ceilings);
        const floor = Math.min(ceilings.recordsPerSecond, Math.max(2, ceilings.recordsPerSecond / 100));
        let nowMs = 1_000_000;
        const check = () => {
          const { recordsPerSecond } = rate.stats();
          expect(recordsPerSecond).toBeGreaterThanOrEqual(floor * (1 - 1e-9));
          expect(recordsPerSecond).toBeLessThanOrEqual(ceilings.recordsPerSecond);
        };
        rate.begin(nowMs);
        for (const { stepMs, kind, delayMs, bytes } of events) {
          nowMs += stepMs;
          if (kind === "begin") rate.begin(nowMs);
          else if (kind === "take") rate.take(bytes);
          else rate[kind](nowMs - delayMs, nowMs);
          check();
        }
        // After an outage of any kind: two minutes in which commits come back at once.
        for (let i = 0; i < 1200; i += 1) {
          nowMs += 100;
          rate.take(1);
          rate.committed(nowMs - 20, nowMs);
        }
        expect(rate.stats().recordsPerSecond).toBeCloseTo(ceilings.recordsPerSecond, 3);
        nowMs += 3_600_000;
        rate.begin(nowMs);
        expect(rate.mayTake(none, nowMs)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
