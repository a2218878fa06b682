import { type Account, noCounts } from "@jilian/domain/account.ts";
import { dayMs, hourMs } from "@jilian/domain/periods.ts";
import { expect, it } from "vitest";
import type { CompletenessQuery } from "./completeness.ts";
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

  it("tells the hours whose loss a write has changed, and those with a loss", () => {
    const hour = { device: a, hourMs: dayStart };
    expect(ledger().writeStored([{ ...hour, stored: 8 }])).toEqual([]);
    expect(take(a, 1, account(0, { queued: 8 }))).toEqual([]);
    expect(take(a, 2, account(0, { queued: 10, scheduled: 7 }))).toEqual([hour]);
    expect(another().lossyHours(dayStart, dayStart + 1)).toEqual([{ ...hour, queued: 10, stored: 8 }]);
    expect(take(a, 3, account(0, { queued: 10, scheduled: 8 }))).toEqual([]);
    expect(ledger().writeStored([{ ...hour, stored: 9 }])).toEqual([hour]);
    expect(ledger().writeStored([{ ...hour, stored: 10 }])).toEqual([hour]);
    expect(ledger().writeStored([{ ...hour, stored: 11 }])).toEqual([]);
    expect(another().lossyHours(0, Number.MAX_SAFE_INTEGER)).toEqual([]);
    // What has no account has no loss that is known.
    ledger().writeStored([{ device: b, hourMs: dayStart, stored: 0 }]);
    expect(another().lossyHours(dayStart, dayStart + dayMs)).toEqual([]);
  });
}
