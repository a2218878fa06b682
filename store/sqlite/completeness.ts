import type { DatabaseSync } from "node:sqlite";
import { type AccountCounts, countFields, decodeAccount, encodeAccount, noCounts } from "@jilian/domain/account.ts";
import { periodLengthMs, periodStart } from "@jilian/domain/periods.ts";
import type { CompletenessLedger, CompletenessSum, DeviceHour, LossyHour } from "../completeness.ts";
import type { Ledger } from "../ledger.ts";

const columnOf = (field: keyof AccountCounts): string => field.replaceAll(/[A-Z]/g, (sign) => `_${sign.toLowerCase()}`);
const columns = countFields.map(columnOf);

/**
 * Step of the ledger's schema. The parts are kept as they were told; the sums of an hour's parts stand beside what is stored of it, so
 * that a question adds up rows and reads no account.
 */
export const completenessSchema = `
   CREATE TABLE account_part (
     device TEXT NOT NULL, hour_ms INTEGER NOT NULL, part TEXT NOT NULL, source_ms INTEGER NOT NULL, account TEXT NOT NULL,
     PRIMARY KEY (device, hour_ms, part)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE completeness (
     device TEXT NOT NULL, hour_ms INTEGER NOT NULL, parts INTEGER NOT NULL, account_ms INTEGER NOT NULL,
     scheduled INTEGER NOT NULL, answered INTEGER NOT NULL, skipped INTEGER NOT NULL, polled INTEGER NOT NULL,
     suppressed INTEGER NOT NULL, bad INTEGER NOT NULL, marked INTEGER NOT NULL, queued INTEGER NOT NULL,
     dropped_full INTEGER NOT NULL, dropped_age INTEGER NOT NULL, dropped_unwritable INTEGER NOT NULL,
     gaps TEXT NOT NULL, stored INTEGER NOT NULL, PRIMARY KEY (device, hour_ms)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX completeness_lossy ON completeness (hour_ms) WHERE parts > 0 AND queued > stored;`;

type Row = Record<string, unknown>;

const kept = "(queued - dropped_full - dropped_age - dropped_unwritable)";
/** Start of the period of an hour: periods of a day begin at the hour that `offset` says. */
const bucket = "(hour_ms - (hour_ms + :offset) % :length)";
const asked = `WITH member AS (SELECT value ->> 0 AS device, value ->> 1 AS entity FROM json_each(:members))`;
const joined = "FROM member JOIN completeness USING (device)";
const ranged = "WHERE hour_ms >= :from AND hour_ms < :to";

function countsOf(row: Row): AccountCounts {
  return Object.fromEntries(countFields.map((field) => [field, Number(row[columnOf(field)] ?? 0)])) as AccountCounts;
}

/** The sum of an hour's parts, ready to be written. */
function sumOfParts(rows: readonly Row[]) {
  const counts = { ...noCounts };
  const gapMs: Record<string, number> = {};
  for (const row of rows) {
    const account = decodeAccount(String(row.account));
    for (const field of countFields) counts[field] += account[field];
    for (const [reason, ms] of Object.entries(account.gapMs)) gapMs[reason] = (gapMs[reason] ?? 0) + ms;
  }
  const accountMs = rows.reduce((ms, row) => Math.max(ms, Number(row.sourceMs)), 0);
  return { parts: rows.length, accountMs, counts, gaps: JSON.stringify(gapMs) };
}

function writing(db: DatabaseSync, transaction: Ledger["transaction"]) {
  const putPart = db.prepare(
    `INSERT INTO account_part VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT DO UPDATE SET source_ms = ?4, account = ?5 WHERE source_ms < ?4`,
  );
  const partsOf = db.prepare(
    "SELECT source_ms AS sourceMs, account FROM account_part WHERE device = ? AND hour_ms = ? ORDER BY part",
  );
  const values = columns.map((_, i) => `?${i + 6}`).join(", ");
  const putSums = db.prepare(
    `INSERT INTO completeness (device, hour_ms, parts, account_ms, gaps, ${columns.join(", ")}, stored)
     VALUES (?1, ?2, ?3, ?4, ?5, ${values}, 0) ON CONFLICT DO UPDATE SET parts = ?3, account_ms = ?4, gaps = ?5,
     ${columns.map((column, i) => `${column} = ?${i + 6}`).join(", ")}`,
  );
  const putStored = db.prepare(
    `INSERT INTO completeness (device, hour_ms, parts, account_ms, gaps, ${columns.join(", ")}, stored)
     VALUES (?1, ?2, 0, 0, '{}', ${columns.map(() => 0).join(", ")}, ?3) ON CONFLICT DO UPDATE SET stored = ?3`,
  );
  const lossOf = db.prepare(
    "SELECT queued, stored FROM completeness WHERE device = ? AND hour_ms = ? AND parts > 0 AND queued > stored",
  );

  /** Does work on each hour and tells those whose loss it changed. */
  function changing<T extends DeviceHour>(rows: readonly T[], work: (row: T) => void): DeviceHour[] {
    return transaction(() =>
      rows
        .filter((row) => {
          const loss = () => JSON.stringify(lossOf.get(row.device, row.hourMs) ?? null);
          const before = loss();
          work(row);
          return loss() !== before;
        })
        .map(({ device, hourMs }) => ({ device, hourMs })),
    );
  }

  return {
    writeAccounts: (accounts) => {
      const rows = accounts.map((one) => ({ ...one, hourMs: one.account.hourMs }));
      return changing(rows, ({ device, hourMs, sourceTimeMs, account }) => {
        putPart.run(device, hourMs, account.part, sourceTimeMs, encodeAccount(account));
        const { parts, accountMs, counts, gaps } = sumOfParts(partsOf.all(device, hourMs));
        putSums.run(device, hourMs, parts, accountMs, gaps, ...countFields.map((field) => counts[field]));
      });
    },
    writeStored: (counts) =>
      changing(counts, ({ device, hourMs, stored }) => {
        putStored.run(device, hourMs, stored);
      }),
  } satisfies Partial<CompletenessLedger>;
}

/** The completeness ledger in the embedded ledger. @param transaction of the same database */
export function completenessLedger(db: DatabaseSync, transaction: Ledger["transaction"]): CompletenessLedger {
  const lossy = db.prepare(
    `SELECT device, hour_ms AS hourMs, queued, stored FROM completeness
     WHERE parts > 0 AND queued > stored AND hour_ms >= ? AND hour_ms < ? ORDER BY hour_ms, device`,
  );
  const sums = db.prepare(
    `${asked} SELECT ${bucket} AS startMs, entity, sum(parts > 0) AS accounted, sum(stored) AS stored, max(account_ms) AS accountMs,
       ${columns.map((column) => `sum(${column}) AS ${column}`).join(", ")},
       sum(CASE WHEN parts > 0 THEN max(0, ${kept} - stored) ELSE 0 END) AS missing,
       sum(CASE WHEN parts > 0 THEN max(0, stored - ${kept}) ELSE 0 END) AS uncounted ${joined} ${ranged}
     GROUP BY 1, 2 ORDER BY 1, 2`,
  );
  const gaps = db.prepare(
    `${asked} SELECT ${bucket} AS startMs, entity, key AS reason, sum(value) AS ms
     ${joined}, json_each(gaps) ${ranged} AND gaps <> '{}' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
  );
  return {
    ...writing(db, transaction),
    lossyHours: (fromMs, toMs) => lossy.all(fromMs, toMs).map((row) => ({ ...row }) as LossyHour),
    completeness: ({ members, period, fromMs, toMs }) => {
      const length = periodLengthMs(period);
      const question = {
        members: JSON.stringify(members.map(({ device, entity }) => [device, entity])),
        offset: (length - (periodStart(period, 0) + length)) % length,
        length,
        from: fromMs,
        to: toMs,
      };
      const found = new Map<string, CompletenessSum>();
      for (const row of sums.all(question)) {
        const numbers = (names: readonly string[]) => names.map((name) => [name, Number(row[name])]);
        const sum = {
          ...countsOf(row),
          ...Object.fromEntries(numbers(["startMs", "accounted", "stored", "missing", "uncounted", "accountMs"])),
          entity: String(row.entity),
          gapMs: {},
        } as CompletenessSum;
        found.set(`${sum.startMs}/${sum.entity}`, sum);
      }
      for (const { startMs, entity, reason, ms } of gaps.all(question)) {
        const sum = found.get(`${startMs}/${entity}`);
        if (sum) sum.gapMs[String(reason)] = Number(ms);
      }
      return [...found.values()];
    },
  };
}
