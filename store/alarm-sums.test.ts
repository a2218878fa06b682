import { describe, expect, it } from "vitest";
import { alarmSums, noAlarms } from "./alarm-sums.ts";
import type { StoredAlarm } from "./alarms.ts";

const alarm = (device: string, times: readonly (readonly [number, number?])[], clearedMs?: number) =>
  ({
    device,
    raisedMs: times[0]?.[0],
    clearedMs,
    parts: times.map(([fromMs, toMs]) => ({ fromMs, toMs, peak: 1n, peakMs: fromMs })),
  }) as unknown as StoredAlarm;

describe("alarms of a period", () => {
  it("are counted where they were raised and timed where they lasted, gaps left out, alarm by alarm", () => {
    const alarms = [
      alarm("a", [[50, 150]], 150),
      alarm("a", [[120, 130], [160]]),
      alarm("a", [[10, 100]], 100),
      alarm("b", [[199, 300]], 300),
      alarm("c", [[200]]),
    ];
    const sums = alarmSums(alarms, 100, 200, { untilMs: 0 });
    expect(Object.fromEntries(sums)).toEqual({
      a: { raised: 1, activeMs: 50 + 10 + 40, partial: false },
      b: { raised: 1, activeMs: 1, partial: false },
    });
  });

  it("are a lower bound where the ledger has dropped some", () => {
    expect(alarmSums([alarm("a", [[120, 130]], 130)], 100, 200, { untilMs: 101 }).get("a")?.partial).toBe(true);
    expect([noAlarms(100, { untilMs: 101 }).partial, noAlarms(100, { untilMs: 100 }).partial]).toEqual([true, false]);
  });
});
