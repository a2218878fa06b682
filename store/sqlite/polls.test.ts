import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noCounts } from "@jilian/domain/account.ts";
import { dayMs, hourMs, periodStart } from "@jilian/domain/periods.ts";
import { pino } from "pino";
import { expect, test } from "vitest";
import { openLedger } from "./ledger.ts";

test("polls of days are those of their hours, whatever comes late", () => {
  const folder = mkdtempSync(join(tmpdir(), "polls-"));
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: pino({ level: "silent" }) });
  const day = periodStart("day", Date.UTC(2026, 10, 22, 2));
  const put = (device: string, hour: number, queued: number, stored: number) => {
    const hourAt = day + hour * hourMs;
    const counts = { ...noCounts, scheduled: 100, answered: 90, polled: 900, bad: 5, queued };
    const account = { ...counts, hourMs: hourAt, part: "0000000a", gapMs: {} };
    ledger.writeAccounts([{ device, sourceTimeMs: hourAt + queued, account }]);
    ledger.writeStored([{ device, hourMs: hourAt, stored }]);
  };
  const brief = ({ device, scheduled, missing }: { device: string; scheduled: number; missing: number }) =>
    [device, scheduled, missing] as const;
  put("f/g/a", 23, 50, 50);
  put("f/g/a", 24, 50, 40);
  put("f/g/b", 25, 50, 60);
  // Stored without an account: nothing is known of its polls.
  ledger.writeStored([{ device: "f/g/c", hourMs: day, stored: 9 }]);
  expect(ledger.polls(day, day + dayMs).map(brief)).toEqual([["f/g/a", 100, 0]]);
  const whole = [
    ["f/g/a", 200, 10],
    ["f/g/b", 100, 0],
  ];
  expect(ledger.polls(day, day + 2 * dayMs).map(brief)).toEqual(whole);
  expect(ledger.polls(day + 23 * hourMs, day + 26 * hourMs).map(brief)).toEqual(whole);
  expect(ledger.pollDays(day, day + 2 * dayMs).map((sum) => [...brief(sum), sum.dayMs])).toEqual([
    ["f/g/a", 100, 0, day],
    ["f/g/a", 100, 10, day + dayMs],
    ["f/g/b", 100, 0, day + dayMs],
  ]);
  // What was made of a day is made again when one of its hours changes.
  put("f/g/a", 24, 51, 51);
  expect(ledger.polls(day, day + 2 * dayMs).map(brief)).toEqual([
    ["f/g/a", 200, 0],
    ["f/g/b", 100, 0],
  ]);
  ledger.close();
  rmSync(folder, { recursive: true });
});
