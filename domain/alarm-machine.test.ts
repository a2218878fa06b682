import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AlarmCondition, type AlarmReading, alarmTimeIn, maxAlarmParts } from "./alarm.ts";
import { alarmEvents, beginState, eventsOf, feed, nextChangeMs, settled } from "./alarm-machine.ts";
import { modelEvents, someCondition, someReadings } from "./test-alarm-model.ts";

const above = (limit: bigint, over: Partial<AlarmCondition> = {}): AlarmCondition => ({
  test: { kind: "threshold", above: limit, hysteresis: 0n },
  onDelayMs: 0,
  offDelayMs: 0,
  staleMs: 100,
  ...over,
});
const at = (atMs: number, value: bigint | string | undefined): AlarmReading => ({ atMs, value });

describe("one series judged by a rule", () => {
  it("comes to what the definition says, moment by moment", () => {
    const some = someCondition.chain((condition) =>
      fc.record({
        condition: fc.constant(condition),
        readings: someReadings(condition, 120),
        nowMs: fc.integer({ min: 0, max: 150 }),
        endMs: fc.oneof(fc.constant(Infinity), fc.integer({ min: 1, max: 130 })),
      }),
    );
    fc.assert(
      fc.property(some, ({ condition, readings, nowMs, endMs }) => {
        const seen = readings.filter(({ atMs }) => atMs <= nowMs);
        expect(alarmEvents(condition, seen, nowMs, endMs)).toEqual(modelEvents(condition, seen, nowMs, endMs));
      }),
      { numRuns: 2000 },
    );
  });

  it("says when it would say something else without a further reading, and at no other time does", () => {
    const some = someCondition.chain((condition) =>
      fc.record({ condition: fc.constant(condition), readings: someReadings(condition, 60) }),
    );
    fc.assert(
      fc.property(some, ({ condition, readings }) => {
        const state = beginState(0);
        for (const reading of readings) feed(condition, state, reading);
        const said = (nowMs: number) => eventsOf(settled(condition, state, nowMs, 90));
        const next = nextChangeMs(condition, state, 90) ?? 200;
        expect(said(next - 1)).toEqual(said(state.atMs));
        if (next < 200) expect(said(next)).not.toEqual(said(next - 1));
      }),
      { numRuns: 1000 },
    );
  });

  it("is raised when the delay is over, with the peak, and cleared beyond the hysteresis", () => {
    const condition = above(10n, {
      test: { kind: "threshold", above: 10n, hysteresis: 2n },
      onDelayMs: 20,
      offDelayMs: 5,
    });
    const readings = [at(0, 11n), at(30, 15n), at(40, 9n), at(50, 8n), at(60, 8n)];
    expect(alarmEvents(condition, readings, 1000)).toEqual([
      { parts: [{ fromMs: 20, toMs: 55, peak: 15n, peakMs: 30 }], clearedMs: 55, ending: "cleared" },
    ]);
  });

  it("is unknown while its readings stop, which is no alarm time, and goes on with them", () => {
    const readings = [at(0, 11n), at(300, 12n), at(350, undefined), at(360, 11n), at(400, 1n)];
    const [event] = alarmEvents(above(10n), readings, 1000);
    expect(event?.parts.map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual([
      [0, 100],
      [300, 350],
      [360, 400],
    ]);
    expect(event?.clearedMs).toBe(400);
    expect(alarmTimeIn(event as never, 0, 1000)).toEqual({ raised: 1, activeMs: 190 });
    expect(alarmTimeIn(event as never, 320, 380)).toEqual({ raised: 0, activeMs: 50 });
  });

  it("ends an event with too many gaps and goes on with another", () => {
    const readings = Array.from({ length: maxAlarmParts + 5 }, (_, n) => at(n * 200, 11n));
    const events = alarmEvents(above(10n), readings, 1e9);
    expect(events.map(({ parts, ending }) => [parts.length, ending])).toEqual([
      [maxAlarmParts, "gaps"],
      [5, undefined],
    ]);
  });
});
