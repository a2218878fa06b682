import type { AlarmEvent } from "@jilian/domain/alarm.ts";
import type { StoredAlarm } from "@jilian/store/alarms.ts";
import { describe, expect, it } from "vitest";
import { differingStretches, matchAlarms } from "./alarm-matches.ts";

type Times = readonly (readonly [from: number, to?: number])[];
const event = (times: Times, clearedMs?: number): AlarmEvent => ({
  parts: times.map(([fromMs, toMs]) => ({ fromMs, toMs, peak: 1n, peakMs: fromMs })),
  ...{ clearedMs, ending: undefined },
});
const row = (id: number, times: Times, clearedMs?: number): StoredAlarm =>
  ({ ...event(times, clearedMs), id, raisedMs: times[0]?.[0] }) as StoredAlarm;

describe("what becomes of stored alarms", () => {
  const matched = (rows: readonly StoredAlarm[], events: readonly AlarmEvent[]) =>
    matchAlarms(rows, events)
      .map(({ before, event: one }) => [before?.id, one?.parts[0]?.fromMs])
      .sort((a, b) => (a[1] ?? 0) - (b[1] ?? 0));

  it("the open one goes on as the open one, others by the moment of raising, then by overlap; the rest never was", () => {
    const open = row(1, [[100]]);
    expect(matched([open], [event([[50, 60]], 60), event([[120]])])).toEqual([
      [undefined, 50],
      [1, 120],
    ]);
    expect(matched([row(1, [[10, 20]], 20), row(2, [[30, 40]], 40)], [event([[32, 40]], 40)])).toEqual([
      [1, undefined],
      [2, 32],
    ]);
    expect(matched([row(1, [[10, 20]], 20)], [event([[10, 90]], 90), event([[95, 99]], 99)])).toEqual([
      [1, 10],
      [undefined, 95],
    ]);
  });

  it("differs where one has a part and the other has not, however long the gaps between are", () => {
    const year = 31_536_000_000;
    const stretches = (before: AlarmEvent | undefined, after: AlarmEvent | undefined) =>
      differingStretches({ before: before as StoredAlarm, event: after }, 1000).map(({ fromMs, toMs }) => [
        fromMs,
        toMs,
      ]);
    expect(
      stretches(
        event([[10, 20], [year]]),
        event(
          [
            [10, 20],
            [year, year + 5],
          ],
          year + 5,
        ),
      ),
    ).toEqual([[year, year + 5]]);
    expect(stretches(event([[10, 20]], 20), event([[10, 20]], 20))).toEqual([]);
    expect(stretches(event([[10]]), event([[10, 400]], 400))).toEqual([[400, 1000]]);
    expect(stretches(event([[10, 90]], 90), event([[12, 90]], 90))).toEqual([
      [10, 11],
      [12, 13],
      [10, 90],
      [12, 90],
    ]);
    expect(
      stretches(
        undefined,
        event(
          [
            [10, 20],
            [year, year + 30],
          ],
          year + 30,
        ),
      ),
    ).toEqual([
      [10, 11],
      [10, 20],
      [year, year + 30],
    ]);
  });
});
