import { type Account, maxCount, maxGapMs, noCounts } from "@jilian/domain/account.ts";
import { dayMs, hourMs } from "@jilian/domain/periods.ts";
import { expect, it } from "vitest";
import { type CompletenessQuery, hoursKeptMs, maxParts, partsKeptMs, type StoredCount } from "./completeness.ts";
import type { Ledger } from "./ledger.ts";

/** 2026-11-22T00:00+08:00. */
const dayStart = Date.UTC(2026, 10, 21, 16);
const [a, b] = ["f-1/gw/a", "f-1/gw/b"] as const;

function account(hour: number, more: Partial<Account> = {}): Account {
  return { ...noCounts, hourMs: dayStart + hour * hourMs, part: "00000001", gapMs: {}, ...more };
}

/** Tests that every ledger passes. */
export function completenessTests(ledger: () => Ledger, another: () => Ledger): void {
  const take = (device: string, sourceTimeMs: number, one: Account) =>
    ledger().writeAccounts([{ device, sourceTimeMs, account: one }]);
  const ask = (more: Partial<CompletenessQuery> = {}) =>
    another().completeness({
      members: [a, b].map((device) => ({ device, entity: "f-1" })),
      period: "hour",
      fromMs: dayStart,
      toMs: dayStart + dayMs,
      ...more,
    });

  it("of an account of one part the newest counts in whatever order they come; parts add up", () => {
    const at = (n: number) => dayStart + 7 * dayMs + n;
    take(a, at(2), account(0, { queued: 20, scheduled: 9, answered: 8, gapMs: { MODBUS_TIMEOUT: 500 } }));
    take(a, at(1), account(0, { queued: 10, scheduled: 4, answered: 4 }));
    take(a, at(2), account(0, { queued: 20, scheduled: 9, answered: 8, gapMs: { MODBUS_TIMEOUT: 500 } }));
    take(a, at(3), account(0, { part: "00000002", queued: 5, scheduled: 2, gapMs: { MODBUS_TIMEOUT: 1, X: 2 } }));
    ledger().writeStored([{ device: a, hourMs: dayStart, stored: 25 }]);
    expect(ask()).toEqual([
      {
        ...noCounts,
        entity: "f-1",
        startMs: dayStart,
        accounted: 1,
        queued: 25,
        scheduled: 11,
        answered: 8,
        stored: 25,
        missing: 0,
        uncounted: 0,
        gapMs: { MODBUS_TIMEOUT: 501, X: 2 },
        droppedTags: {},
        accountMs: at(3),
      },
    ]);
  });

  it("adds up devices, hours and days, and what is missing here is not made good by what is uncounted there", () => {
    take(a, 1, account(0, { queued: 10, droppedFull: 1, droppedAge: 1, droppedUnwritable: 1 }));
    take(b, 1, account(0, { queued: 10 }));
    take(b, 1, account(23, { queued: 4 }));
    take(b, 1, account(24, { queued: 99 }));
    ledger().writeStored([
      { device: a, hourMs: dayStart, stored: 5 },
      { device: b, hourMs: dayStart, stored: 13 },
      { device: a, hourMs: dayStart + 23 * hourMs, stored: 7 },
      { device: b, hourMs: dayStart + 23 * hourMs, stored: 3 },
    ]);
    const brief = (query: Partial<CompletenessQuery>) =>
      ask(query).map((s) => [
        s.entity,
        (s.startMs - dayStart) / hourMs,
        s.accounted,
        s.queued,
        s.stored,
        s.missing,
        s.uncounted,
      ]);
    expect(brief({})).toEqual([
      ["f-1", 0, 2, 20, 18, 2, 3],
      ["f-1", 23, 1, 4, 10, 1, 0],
    ]);
    expect(brief({ period: "day" })).toEqual([["f-1", 0, 3, 24, 28, 3, 3]]);
    expect(brief({ members: [{ device: a, entity: a }], fromMs: dayStart + hourMs })).toEqual([[a, 23, 0, 0, 7, 0, 0]]);
    expect(brief({ members: [] })).toEqual([]);
  });

  it("tells the hours of which a write has changed what figures are made of, and those with a loss, of all devices or of some", () => {
    const hour = { device: a, hourMs: dayStart };
    const store = (stored: number) => ledger().writeStored([{ ...hour, stored }]);
    expect(store(8)).toEqual([]);
    // Nothing is missing, but rates are made of it.
    take(a, 1, account(0, { queued: 8 }));
    expect(store(8)).toEqual([hour]);
    expect(store(8)).toEqual([]);
    expect(another().differingHours()).toEqual([dayStart]);
    ledger().notePublished([dayStart]);
    take(a, 2, account(0, { queued: 10, scheduled: 7 }));
    // What was told of it shows with what is stored of it.
    expect(another().lossyHours(dayStart, dayStart + 1)).toEqual([]);
    expect(ask()).toMatchObject([{ queued: 8, missing: 0 }]);
    expect(store(8)).toEqual([hour]);
    expect(another().lossyHours(dayStart, dayStart + 1)).toEqual([{ ...hour, queued: 10, stored: 8 }]);
    expect(another().lossyHours(dayStart, dayStart + 1, [b, a, a])).toEqual([{ ...hour, queued: 10, stored: 8 }]);
    for (const devices of [[b], []]) expect(another().lossyHours(dayStart, dayStart + 1, devices)).toEqual([]);
    take(a, 3, account(0, { queued: 10, scheduled: 8 }));
    expect(store(8)).toEqual([hour]);
    expect(store(9)).toEqual([hour]);
    expect(store(10)).toEqual([hour]);
    expect(store(11)).toEqual([]);
    expect(another().lossyHours(0, Number.MAX_SAFE_INTEGER)).toEqual([]);
    // What has no account has no loss that is known.
    ledger().writeStored([{ device: b, hourMs: dayStart, stored: 0 }]);
    expect(another().lossyHours(dayStart, dayStart + dayMs)).toEqual([]);
  });

  it("what is to be counted, and whose figures differ, is kept until it is done", () => {
    const hours = [a, b].map((device) => ({ device, hourMs: dayStart }));
    take(b, 1, account(0, { queued: 5 }));
    ledger().noteDue([...hours, ...hours]);
    expect(another().dueHours()).toEqual(hours);
    const [first, second] = hours.map((hour) => ({ ...hour, stored: 3 })) as [StoredCount, StoredCount];
    expect(ledger().writeStored([first, { ...second, again: true }])).toEqual([hours[1]]);
    expect(another().dueHours()).toEqual([hours[1]]);
    expect(another().differingHours()).toEqual([dayStart]);
    ledger().notePublished([dayStart, 7]);
    expect(another().differingHours()).toEqual([]);
    // An account that is known already, or older, asks for nothing.
    ledger().writeStored([second]);
    take(b, 1, account(0, { queued: 5 }));
    take(b, 0, account(0, { queued: 4 }));
    expect(another().dueHours()).toEqual([]);
  });

  it("takes so many parts of an hour, and sums of the greatest counts stay numbers", () => {
    const part = (n: number) => n.toString(16).padStart(8, "0");
    const most = { queued: maxCount, scheduled: maxCount, gapMs: { X: maxGapMs } };
    const accounts = Array.from({ length: maxParts + 2 }, (_, i) => {
      return { device: a, sourceTimeMs: 1, account: account(0, { ...most, part: part(i) }) };
    });
    expect(ledger().writeAccounts(accounts)).toEqual(accounts.slice(maxParts));
    // A part that is known has room.
    expect(take(a, 2, account(0, { part: part(0), ...most }))).toEqual([]);
    ledger().writeStored([{ device: a, hourMs: dayStart, stored: 3 }]);
    expect(another().lossyHours(dayStart, dayStart + 1)).toMatchObject([{ queued: maxParts * maxCount }]);
    expect(ask({ period: "day" })).toMatchObject([
      { queued: maxParts * maxCount, missing: maxParts * maxCount - 3, gapMs: { X: maxParts * maxGapMs } },
    ]);
  });

  it("adds up what was dropped by metric where that is asked for", () => {
    take(a, 1, account(0, { queued: 9, droppedTags: { 温度: 2, "": 1 } }));
    take(a, 2, account(0, { part: "00000002", droppedTags: { 温度: 3, toString: 1 } as Record<string, number> }));
    take(a, 3, account(1, { droppedTags: { power: 7 } }));
    ledger().writeStored([0, 1].map((n) => ({ device: a, hourMs: dayStart + n * hourMs, stored: 0 })));
    const byHour: Record<string, number>[] = ask({ byMetric: true }).map(({ droppedTags }) => droppedTags);
    expect(byHour).toEqual([JSON.parse('{"温度":5,"":1,"toString":1}'), { power: 7 }]);
    expect(ask({ byMetric: true, period: "day" })[0]?.droppedTags).toMatchObject({ 温度: 5, power: 7 });
    expect(ask().map(({ droppedTags }) => droppedTags)).toEqual([{}, {}]);
  });

  it("keeps the sums of an hour whose parts are gone, until the hour goes too", () => {
    take(a, 1, account(0, { queued: 9 }));
    take(b, 1, account(0, { queued: 4 }));
    ledger().writeStored([{ device: a, hourMs: dayStart, stored: 5 }]);
    const parts = dayStart + partsKeptMs;
    ledger().prune(parts);
    take(a, 1, account(0, { queued: 99 }));
    expect(another().dueHours()).toEqual([{ device: b, hourMs: dayStart }]);
    ledger().prune(parts + 1);
    take(a, 2, account(0, { queued: 1, part: "00000002" }));
    ledger().writeStored([a, b].map((device) => ({ device, hourMs: dayStart, stored: 6 })));
    // The second device had not been counted: its account waited.
    const loss = (device: string, queued: number, stored: number) => ({ device, hourMs: dayStart, queued, stored });
    expect(another().lossyHours(0, Number.MAX_SAFE_INTEGER)).toEqual([loss(a, 9, 6)]);
    expect(ask({ members: [{ device: b, entity: b }] })).toMatchObject([{ queued: 4, uncounted: 2 }]);
    ledger().prune(dayStart + hoursKeptMs + 1);
    expect(ask()).toEqual([]);
  });
}
