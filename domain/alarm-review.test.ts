import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AlarmCondition, type AlarmEvent, type AlarmReading, raisedMsOf } from "./alarm.ts";
import { alarmEvents } from "./alarm-machine.ts";
import { alarmReview, type NewReadings } from "./alarm-review.ts";
import { modelEvents, someCondition, someReadings } from "./test-alarm-model.ts";

/** Reviews stored readings as the engine does, until no new reading is left. @returns the events then, and how many readings were read */
function review(
  condition: AlarmCondition,
  known: readonly AlarmEvent[],
  stored: readonly AlarmReading[],
  fresh: readonly NewReadings[],
  nowMs: number,
): { events: AlarmEvent[]; read: number } {
  let events = [...known];
  let left = [...fresh];
  let read = 0;
  while (left.length > 0) {
    const job = alarmReview(condition, events, left, { segmentMs: 0, endMs: Infinity });
    for (const reading of stored.filter(({ atMs }) => atMs >= job.readFromMs)) {
      read += 1;
      if (!job.feed(reading)) break;
    }
    const { sinceMs, untilMs = Infinity, againFromMs, events: own } = job.result(nowMs);
    if (againFromMs !== undefined) {
      left = [{ firstMs: againFromMs, lastMs: left[0]?.lastMs as number }, ...left.slice(1)];
      continue;
    }
    const before = events.filter(({ clearedMs = Infinity }) => clearedMs <= sinceMs);
    events = [...before, ...own, ...events.filter((event) => raisedMsOf(event) > untilMs)];
    left = left.filter(({ firstMs }) => firstMs > untilMs);
  }
  return { events, read };
}

describe("late readings", () => {
  it("come to the events that arrival in order comes to, after each of them", () => {
    const some = someCondition.chain((condition) =>
      fc.record({
        condition: fc.constant(condition),
        readings: someReadings(condition, 400),
        ranks: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 40, maxLength: 40 }),
      }),
    );
    fc.assert(
      fc.property(some, ({ condition, readings, ranks }) => {
        let known: AlarmEvent[] = [];
        for (let round = 0; round < 10; round += 1) {
          const stored = readings.filter((_, i) => (ranks[i] as number) <= round);
          const fresh = readings
            .filter((_, i) => ranks[i] === round)
            .map(({ atMs }): NewReadings => ({ firstMs: atMs, lastMs: atMs }));
          // What delays and staleness say by now is looked at too: the engine has timers for it.
          const last = stored.at(-1)?.atMs ?? 0;
          const wanted = [...fresh.filter(({ firstMs }) => firstMs < last), { firstMs: last, lastMs: last }];
          known = review(condition, known, stored, wanted, 500 + round).events;
          expect(known).toEqual(modelEvents(condition, stored, 500 + round));
        }
      }),
      { numRuns: 600 },
    );
  });

  it("change a rate that was known of a later reading: the value a window before it is another", () => {
    const condition: AlarmCondition = {
      test: { kind: "rate", fall: 20_000n, windowMs: 4 },
      onDelayMs: 0,
      offDelayMs: 6,
      staleMs: 6,
    };
    const first: AlarmReading[] = [
      { atMs: 1, value: 0n },
      { atMs: 5, value: 2n },
      { atMs: 10, value: 0n },
      { atMs: 11, value: 3n },
      { atMs: 16, value: 0n },
    ];
    const known = alarmEvents(condition, first, 500);
    expect(known).toMatchObject([{ parts: [{ fromMs: 10, peak: -45_000n, peakMs: 16 }] }]);
    const stored = [...first, { atMs: 12, value: 0n }].sort((a, b) => a.atMs - b.atMs);
    const { events } = review(condition, known, stored, [{ firstMs: 12, lastMs: 12 }], 500);
    expect(events).toEqual(modelEvents(condition, stored, 500));
    expect(events).toMatchObject([{ parts: [{ fromMs: 10, peak: -30_000n, peakMs: 10 }] }]);
  });

  it("follow a part that now begins later to its end: the peak that was known of it may have lain before", () => {
    const condition: AlarmCondition = {
      test: { kind: "threshold", above: 5n, hysteresis: 0n },
      onDelayMs: 0,
      offDelayMs: 0,
      staleMs: 10,
    };
    const there = Array.from({ length: 100 }, (_, n) => ({ atMs: n * 5, value: n === 1 ? 99n : 6n }));
    const stored = [...there, { atMs: 22, value: 1n }].sort((a, b) => a.atMs - b.atMs);
    const { events } = review(
      condition,
      alarmEvents(condition, there, 496),
      stored,
      [{ firstMs: 22, lastMs: 22 }],
      496,
    );
    expect(events.map(({ parts }) => parts[0]?.peak)).toEqual([99n, 6n]);
    expect(events).toEqual(modelEvents(condition, stored, 496));
  });

  it("cost what they bring, however much is stored after them", () => {
    const condition: AlarmCondition = {
      test: { kind: "threshold", above: 5n, hysteresis: 1n },
      onDelayMs: 10,
      offDelayMs: 10,
      staleMs: 30,
    };
    const stored = Array.from({ length: 10_000 }, (_, n) => ({ atMs: n * 10, value: BigInt(n % 97) / 12n }));
    const late = stored.filter(({ atMs }) => atMs >= 20_000 && atMs < 30_000);
    const known = alarmEvents(
      condition,
      stored.filter((one) => !late.includes(one)),
      1e6,
    );
    let events = known;
    let read = 0;
    for (let i = 0; i < late.length; i += 100) {
      const some = late.slice(i, i + 100);
      const there = stored.filter((one) => !late.includes(one) || late.indexOf(one) < i + 100);
      const fresh = [{ firstMs: some[0]?.atMs as number, lastMs: some.at(-1)?.atMs as number }];
      const done = review(condition, events, there, fresh, 1e6);
      read += done.read;
      events = done.events;
    }
    expect(events).toEqual(alarmEvents(condition, stored, 1e6));
    expect(read).toBeLessThan(2 * late.length);
  });
});
