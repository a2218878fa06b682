import type { DatabaseSync } from "node:sqlite";
import { dayMs, hourMs, periodStart } from "@jilian/domain/periods.ts";
import type { CompletenessLedger, DevicePolls } from "../completeness.ts";
import type { Ledger } from "../ledger.ts";

/** Start of the day in Asia/Shanghai that holds an hour. */
const dayOf = (hour: string) => `(${hour} - (${hour} + ${8 * hourMs}) % ${dayMs})`;

/**
 * Step of the ledger's schema: sums of days, so that a year is some hundred rows of a device. A day is made when it is asked for; a change
 * in one of its hours unmakes it.
 */
export const pollSchema = `
   CREATE TABLE completeness_day (
     day_ms INTEGER NOT NULL, device TEXT NOT NULL, scheduled INTEGER NOT NULL, answered INTEGER NOT NULL,
     polled INTEGER NOT NULL, bad INTEGER NOT NULL, queued INTEGER NOT NULL, missing INTEGER NOT NULL,
     PRIMARY KEY (day_ms, device)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE completeness_day_made (day_ms INTEGER PRIMARY KEY) STRICT;
   CREATE TRIGGER completeness_put AFTER INSERT ON completeness BEGIN
     DELETE FROM completeness_day_made WHERE day_ms = ${dayOf("NEW.hour_ms")};
   END;
   CREATE TRIGGER completeness_changed AFTER UPDATE ON completeness BEGIN
     DELETE FROM completeness_day_made WHERE day_ms = ${dayOf("NEW.hour_ms")};
   END;`;

const sums = `total(scheduled) AS scheduled, total(answered) AS answered, total(polled) AS polled, total(bad) AS bad,
  total(queued) AS queued`;

/** What gateways accounted for, by device. Hours without an account are left out. */
export function pollSums(
  db: DatabaseSync,
  transaction: Ledger["transaction"],
): Pick<CompletenessLedger, "polls" | "pollDays"> {
  const made = db.prepare("SELECT 1 FROM completeness_day_made WHERE day_ms = ?");
  const dropDay = db.prepare("DELETE FROM completeness_day WHERE day_ms = ?");
  const makeDay = db.prepare(
    `INSERT INTO completeness_day SELECT ?1, device, sum(scheduled), sum(answered), sum(polled), sum(bad), sum(queued),
       sum(max(0, queued - stored)) FROM completeness WHERE hour_ms >= ?1 AND hour_ms < ?2 AND parts > 0 GROUP BY device`,
  );
  const noteDay = db.prepare("INSERT OR IGNORE INTO completeness_day_made VALUES (?)");
  const days = db.prepare(
    `SELECT device, day_ms AS dayMs, scheduled, answered, polled, bad, queued, missing FROM completeness_day
     WHERE day_ms >= ? AND day_ms < ? ORDER BY device, day_ms`,
  );
  const ofDays = db.prepare(
    `SELECT device, ${sums}, total(missing) AS missing FROM completeness_day WHERE day_ms >= ? AND day_ms < ? GROUP BY device`,
  );
  const ofHours = db.prepare(
    `SELECT device, ${sums}, total(max(0, queued - stored)) AS missing FROM completeness
     WHERE hour_ms >= ? AND hour_ms < ? AND parts > 0 GROUP BY device`,
  );

  /** Makes the days that begin in [fromMs, toMs), where they are not made: together, since a year's own commits would take seconds. */
  function ensure(fromMs: number, toMs: number): void {
    const missing: number[] = [];
    for (let day = fromMs; day < toMs; day += dayMs) if (!made.get(day)) missing.push(day);
    if (missing.length === 0) return;
    transaction(() => {
      for (const day of missing) {
        dropDay.run(day);
        makeDay.run(day, day + dayMs);
        noteDay.run(day);
      }
    });
  }

  return {
    polls: (fromMs, toMs) => {
      const found = new Map<string, DevicePolls>();
      const add = (rows: Record<string, unknown>[]) => {
        for (const row of rows) {
          const next = { ...row } as DevicePolls;
          const known = found.get(next.device);
          found.set(next.device, known ? addPolls(known, next) : next);
        }
      };
      const firstDay = periodStart("day", fromMs + dayMs - 1);
      const lastDay = periodStart("day", toMs);
      if (lastDay <= firstDay) add(ofHours.all(fromMs, toMs));
      else {
        ensure(firstDay, lastDay);
        add(ofHours.all(fromMs, firstDay));
        add(ofDays.all(firstDay, lastDay));
        add(ofHours.all(lastDay, toMs));
      }
      return [...found.values()];
    },
    pollDays: (fromMs, toMs) => {
      ensure(fromMs, toMs);
      return days.all(fromMs, toMs).map((row) => ({ ...row }) as DevicePolls & { dayMs: number });
    },
  };
}

function addPolls(a: DevicePolls, b: DevicePolls): DevicePolls {
  return {
    device: a.device,
    scheduled: a.scheduled + b.scheduled,
    answered: a.answered + b.answered,
    polled: a.polled + b.polled,
    bad: a.bad + b.bad,
    queued: a.queued + b.queued,
    missing: a.missing + b.missing,
  };
}
