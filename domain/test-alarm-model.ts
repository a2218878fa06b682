import fc from "fast-check";
import type { AlarmCondition, AlarmEvent, AlarmPart, AlarmReading, AlarmTest, AlarmValue } from "./alarm.ts";

/**
 * The definition of an alarm, millisecond by millisecond, for the tests: slow, and written without a look at the machine. At each moment it asks
 * which reading is in force and what it says; delays are counted in moments.
 */
export function modelEvents(
  condition: AlarmCondition,
  readings: readonly AlarmReading[],
  nowMs: number,
  endMs = Infinity,
): AlarmEvent[] {
  const { test, staleMs, onDelayMs, offDelayMs } = condition;
  const at = (ms: number) => readings.findLast(({ atMs }) => atMs <= ms && atMs < endMs);
  const judged = (ms: number): AlarmValue | undefined => {
    const one = at(ms);
    if (!one || ms >= one.atMs + staleMs) return undefined;
    if (test.kind !== "rate") return one.value;
    const thenMs = one.atMs - test.windowMs;
    const then = at(thenMs);
    if (!then || thenMs >= then.atMs + staleMs) return undefined;
    if (typeof then.value !== "bigint" || typeof one.value !== "bigint") return undefined;
    return ((one.value - then.value) * 60_000n) / BigInt(test.windowMs);
  };
  const events: { parts: AlarmPart[]; clearedMs: number | undefined; ending: AlarmEvent["ending"] }[] = [];
  let open: (typeof events)[number] | undefined;
  let held = 0;
  const endPart = (ms: number) => {
    const last = open?.parts.at(-1);
    if (open && last && last.toMs === undefined) open.parts[open.parts.length - 1] = { ...last, toMs: ms };
  };
  for (let ms = 0; ms <= Math.min(nowMs, endMs - 1); ms += 1) {
    const value = judged(ms);
    if (value === undefined) {
      held = 0;
      endPart(ms);
      continue;
    }
    const [there, gone] = said(test, value);
    held = (open ? gone : there) ? held + 1 : 0;
    if (open && held > offDelayMs) {
      endPart(ms);
      Object.assign(open, { clearedMs: ms, ending: "cleared" });
      open = undefined;
      held = there ? 1 : 0;
    } else if (!open && held > onDelayMs) {
      open = {
        parts: [{ fromMs: ms, toMs: undefined, peak: value, peakMs: ms }],
        clearedMs: undefined,
        ending: undefined,
      };
      events.push(open);
      held = 0;
    } else if (open) {
      const last = open.parts.at(-1) as AlarmPart;
      if (last.toMs !== undefined) open.parts.push({ fromMs: ms, toMs: undefined, peak: value, peakMs: ms });
      else if (further(test, value, last.peak))
        open.parts[open.parts.length - 1] = { ...last, peak: value, peakMs: ms };
    }
  }
  if (open && nowMs >= endMs) {
    endPart(endMs);
    Object.assign(open, { clearedMs: endMs, ending: "rule" });
  }
  return events;
}

function said(test: AlarmTest, value: AlarmValue): [there: boolean, gone: boolean] {
  if (test.kind === "state") return [test.codes.has(String(value)), !test.codes.has(String(value))];
  const number = value as bigint;
  if (test.kind === "threshold" && test.above !== undefined)
    return [number > test.above, number <= test.above - test.hysteresis];
  if (test.kind === "threshold") {
    const limit = test.below as bigint;
    return [number < limit, number >= limit + test.hysteresis];
  }
  if (test.rise !== undefined) return [number > test.rise, number <= test.rise];
  return [number < -(test.fall as bigint), number >= -(test.fall as bigint)];
}

function further(test: AlarmTest, value: AlarmValue, peak: AlarmValue): boolean {
  if (test.kind === "state") return false;
  const falling = test.kind === "threshold" ? test.above === undefined : test.rise === undefined;
  return falling ? value < peak : value > peak;
}

const limit = fc.constantFrom(2n, 3n, 4n);
const tests: fc.Arbitrary<AlarmTest> = fc.oneof(
  fc
    .record({ above: limit, hysteresis: fc.constantFrom(0n, 1n, 2n) })
    .map((one) => ({ kind: "threshold" as const, ...one })),
  fc
    .record({ below: limit, hysteresis: fc.constantFrom(0n, 1n) })
    .map((one) => ({ kind: "threshold" as const, ...one })),
  fc
    .record({ rise: fc.constantFrom(0n, 20_000n), windowMs: fc.integer({ min: 1, max: 9 }) })
    .map((one) => ({ kind: "rate" as const, ...one })),
  fc
    .record({ fall: fc.constantFrom(0n, 20_000n), windowMs: fc.integer({ min: 1, max: 9 }) })
    .map((one) => ({ kind: "rate" as const, ...one })),
  fc.constant({ kind: "state" as const, codes: new Set(["1", "2"]) }),
);

/** Conditions of some milliseconds, so that every moment can be looked at. */
export const someCondition: fc.Arbitrary<AlarmCondition> = fc.record({
  test: tests,
  onDelayMs: fc.integer({ min: 0, max: 6 }),
  offDelayMs: fc.integer({ min: 0, max: 6 }),
  staleMs: fc.integer({ min: 1, max: 12 }),
});

/** Some readings for a condition, by time; every sixth says nothing. */
export function someReadings({ test }: AlarmCondition, untilMs: number): fc.Arbitrary<AlarmReading[]> {
  const number = fc.bigInt({ min: 0n, max: 6n });
  const value: fc.Arbitrary<AlarmValue> = test.kind === "state" ? number.map((n) => String(n % 4n)) : number;
  const gap = fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 1, max: 4 }) },
    { weight: 1, arbitrary: fc.integer({ min: 5, max: 30 }) },
  );
  const one = fc.record({ gap, value: fc.option(value, { nil: undefined, freq: 6 }) });
  return fc.array(one, { maxLength: 40 }).map((list) => {
    let atMs = 0;
    const readings = list.map((reading): AlarmReading => {
      atMs += reading.gap;
      return { atMs, value: reading.value };
    });
    return readings.filter((reading) => reading.atMs <= untilMs);
  });
}
