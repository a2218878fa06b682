import type { DatabaseSync } from "node:sqlite";
import {
  type Account,
  type AccountCounts,
  countFields,
  decodeAccount,
  encodeAccount,
  noCounts,
} from "@jilian/domain/account.ts";
import { periodLengthMs, periodStart } from "@jilian/domain/periods.ts";
import {
  type CompletenessLedger,
  type CompletenessSum,
  type DeviceHour,
  hoursKeptMs,
  type LossyHour,
  maxParts,
  partsKeptMs,
} from "../completeness.ts";
import type { Ledger } from "../ledger.ts";
import { pollSums } from "./polls.ts";

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

/** Likewise: the hours that are to be counted, those whose figures differ, dropped metrics, and indexes by age. */
export const completenessDueSchema = `
   ALTER TABLE completeness ADD COLUMN dropped_tags TEXT NOT NULL DEFAULT '{}';
   ALTER TABLE completeness ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;
   CREATE INDEX account_part_hour ON account_part (hour_ms);
   CREATE INDEX completeness_hour ON completeness (hour_ms);
   CREATE TABLE completeness_due (
     hour_ms INTEGER NOT NULL, device TEXT NOT NULL, PRIMARY KEY (hour_ms, device)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE completeness_differs (hour_ms INTEGER PRIMARY KEY) STRICT;`;

/** Rows that are deleted at once at most. */
const prunedAtOnce = 500;

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

function addTo(sums: Map<string, number>, more: Record<string, number> = {}): void {
  for (const [key, value] of Object.entries(more)) sums.set(key, (sums.get(key) ?? 0) + value);
}

function readPart(text: string): Account | undefined {
  try {
    return decodeAccount(text);
  } catch {
    // Kept by an earlier release, whose bounds were wider.
    return undefined;
  }
}

/** The sum of an hour's parts, ready to be written. */
function sumOfParts(rows: readonly Row[]) {
  const counts = { ...noCounts };
  const gapMs = new Map<string, number>();
  const tags = new Map<string, number>();
  for (const row of rows) {
    const account = readPart(String(row.account));
    if (!account) continue;
    for (const field of countFields) counts[field] += account[field];
    addTo(gapMs, account.gapMs);
    addTo(tags, account.droppedTags);
  }
  const accountMs = rows.reduce((ms, row) => Math.max(ms, Number(row.sourceMs)), 0);
  const text = (sums: Map<string, number>) => JSON.stringify(Object.fromEntries(sums));
  return { parts: rows.length, accountMs, counts, gaps: text(gapMs), tags: text(tags) };
}

/** Takes accounts and notes what is to be done. */
function noting(db: DatabaseSync, transaction: Ledger["transaction"]) {
  const putPart = db.prepare(
    `INSERT INTO account_part VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT DO UPDATE SET source_ms = ?4, account = ?5 WHERE source_ms < ?4`,
  );
  const room = db.prepare(
    `SELECT count(*) < ${maxParts} OR total(part = ?3) > 0 AS has FROM account_part WHERE device = ?1 AND hour_ms = ?2`,
  );
  const putDue = db.prepare("INSERT OR IGNORE INTO completeness_due VALUES (?1, ?2)");
  const due = db.prepare("SELECT device, hour_ms AS hourMs FROM completeness_due ORDER BY hour_ms, device");
  const differing = db.prepare("SELECT hour_ms AS hourMs FROM completeness_differs ORDER BY hour_ms");
  const dropDiffering = db.prepare("DELETE FROM completeness_differs WHERE hour_ms = ?");
  return {
    writeAccounts: (accounts) =>
      transaction(() =>
        accounts.filter(({ device, sourceTimeMs, account }) => {
          const { hourMs, part } = account;
          if (!room.get(device, hourMs, part)?.has) return true;
          const { changes } = putPart.run(device, hourMs, part, sourceTimeMs, encodeAccount(account));
          if (changes > 0) putDue.run(hourMs, device);
          return false;
        }),
      ),
    noteDue: (hours) =>
      transaction(() => {
        for (const { device, hourMs } of hours) putDue.run(hourMs, device);
      }),
    dueHours: () => due.all().map((row) => ({ ...row }) as DeviceHour),
    differingHours: () => differing.all().map((row) => Number(row.hourMs)),
    notePublished: (hours) =>
      transaction(() => {
        for (const hour of hours) dropDiffering.run(hour);
      }),
  } satisfies Partial<CompletenessLedger>;
}

function counting(db: DatabaseSync, transaction: Ledger["transaction"]): Pick<CompletenessLedger, "writeStored"> {
  const partsOf = db.prepare(
    "SELECT source_ms AS sourceMs, account FROM account_part WHERE device = ? AND hour_ms = ? ORDER BY part",
  );
  const closed = db.prepare("SELECT 1 FROM completeness WHERE device = ? AND hour_ms = ? AND closed = 1");
  const first = 8;
  const values = columns.map((_, i) => `?${i + first}`).join(", ");
  const putSums = db.prepare(
    `INSERT INTO completeness (device, hour_ms, stored, parts, account_ms, gaps, dropped_tags, ${columns.join(", ")})
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ${values}) ON CONFLICT DO UPDATE SET stored = ?3, parts = ?4, account_ms = ?5,
     gaps = ?6, dropped_tags = ?7, ${columns.map((column, i) => `${column} = ?${i + first}`).join(", ")}`,
  );
  const putStored = db.prepare("UPDATE completeness SET stored = ?3 WHERE device = ?1 AND hour_ms = ?2");
  // What figures are made of: losses, and the polls that rates count (polls.ts).
  const toldOf = db.prepare(
    `SELECT scheduled, answered, polled, bad, queued, max(0, queued - stored) AS missing FROM completeness
     WHERE device = ? AND hour_ms = ? AND parts > 0`,
  );
  const putDiffers = db.prepare("INSERT OR IGNORE INTO completeness_differs VALUES (?)");
  const dropDue = db.prepare("DELETE FROM completeness_due WHERE hour_ms = ? AND device = ?");

  function put(device: string, hourMs: number, stored: number): void {
    // Its parts were kept long enough and are gone: the sums that were made of them stay.
    if (closed.get(device, hourMs)) putStored.run(device, hourMs, stored);
    else {
      const { parts, accountMs, counts, gaps, tags } = sumOfParts(partsOf.all(device, hourMs));
      const numbers = countFields.map((field) => counts[field]);
      putSums.run(device, hourMs, stored, parts, accountMs, gaps, tags, ...numbers);
    }
  }

  return {
    writeStored: (counts) =>
      transaction(() =>
        counts
          .filter(({ device, hourMs, stored, again }) => {
            const told = () => JSON.stringify(toldOf.get(device, hourMs) ?? null);
            const before = told();
            put(device, hourMs, stored);
            if (!again) dropDue.run(hourMs, device);
            const differs = told() !== before;
            if (differs) putDiffers.run(hourMs);
            return differs;
          })
          .map(({ device, hourMs }) => ({ device, hourMs })),
      ),
  };
}

type DeletedPart = { device: string; hourMs: number; part: string };

function pruning(db: DatabaseSync, transaction: Ledger["transaction"]): Pick<CompletenessLedger, "prune"> {
  // Parts that no sum has yet wait for being counted.
  const old = db.prepare(
    `SELECT device, hour_ms AS hourMs, part FROM account_part AS part_of WHERE hour_ms < ? AND NOT EXISTS (
       SELECT 1 FROM completeness_due AS due WHERE due.hour_ms = part_of.hour_ms AND due.device = part_of.device)
     ORDER BY hour_ms LIMIT ${prunedAtOnce}`,
  );
  const dropPart = db.prepare("DELETE FROM account_part WHERE device = ? AND hour_ms = ? AND part = ?");
  const close = db.prepare("UPDATE completeness SET closed = 1 WHERE device = ? AND hour_ms = ? AND closed = 0");
  const hours = ["completeness", "completeness_due"].map((table) =>
    db.prepare(
      `DELETE FROM ${table} WHERE (device, hour_ms) IN (
         SELECT device, hour_ms FROM ${table} WHERE hour_ms < ? LIMIT ${prunedAtOnce})`,
    ),
  );
  return {
    prune: (nowMs) =>
      transaction(() => {
        for (const { device, hourMs, part } of old.all(nowMs - partsKeptMs) as DeletedPart[]) {
          dropPart.run(device, hourMs, part);
          close.run(device, hourMs);
        }
        for (const table of hours) table.run(nowMs - hoursKeptMs);
      }),
  };
}

/** Sums over device hours. Floating, since a sum of integers that overflows is an error in SQLite; whole and exact up to 2^53 all the same. */
function summing(db: DatabaseSync): Pick<CompletenessLedger, "completeness"> {
  const sums = db.prepare(
    `${asked} SELECT ${bucket} AS startMs, entity, sum(parts > 0) AS accounted, total(stored) AS stored,
       max(account_ms) AS accountMs, ${columns.map((column) => `total(${column}) AS ${column}`).join(", ")},
       total(CASE WHEN parts > 0 THEN max(0, ${kept} - stored) ELSE 0 END) AS missing,
       total(CASE WHEN parts > 0 THEN max(0, stored - ${kept}) ELSE 0 END) AS uncounted ${joined} ${ranged}
     GROUP BY 1, 2 ORDER BY 1, 2`,
  );
  const [gaps, tags] = ["gaps", "dropped_tags"].map((column) =>
    db.prepare(
      `${asked} SELECT ${bucket} AS startMs, entity, key, total(value) AS value
       ${joined}, json_each(${column}) ${ranged} AND ${column} <> '{}' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
    ),
  ) as [ReturnType<typeof db.prepare>, ReturnType<typeof db.prepare>];

  function sumOf(row: Row): CompletenessSum {
    const numbers = ["startMs", "accounted", "stored", "missing", "uncounted", "accountMs"] as const;
    return {
      ...countsOf(row),
      ...(Object.fromEntries(numbers.map((name) => [name, Number(row[name])])) as Record<
        (typeof numbers)[number],
        number
      >),
      entity: String(row.entity),
      gapMs: {},
      droppedTags: {},
    };
  }

  return {
    completeness: ({ members, period, fromMs, toMs, byMetric }) => {
      const length = periodLengthMs(period);
      const question = {
        members: JSON.stringify(members.map(({ device, entity }) => [device, entity])),
        offset: (length - (periodStart(period, 0) + length)) % length,
        length,
        from: fromMs,
        to: toMs,
      };
      const keyOf = (row: Row) => `${row.startMs}/${row.entity}`;
      const found = new Map(sums.all(question).map((row) => [keyOf(row), sumOf(row)]));
      for (const row of gaps.all(question)) {
        const sum = found.get(keyOf(row));
        if (sum) sum.gapMs[String(row.key)] = Number(row.value);
      }
      for (const row of byMetric ? tags.all(question) : []) {
        const sum = found.get(keyOf(row));
        if (sum) sum.droppedTags[String(row.key)] = Number(row.value);
      }
      return [...found.values()];
    },
  };
}

/** The completeness ledger in the embedded ledger. @param transaction of the same database */
export function completenessLedger(db: DatabaseSync, transaction: Ledger["transaction"]): CompletenessLedger {
  const isLossy = "parts > 0 AND queued > stored AND hour_ms >= :from AND hour_ms < :to";
  const rows = "SELECT device, hour_ms AS hourMs, queued, stored FROM";
  const lossy = db.prepare(`${rows} completeness WHERE ${isLossy} ORDER BY hour_ms, device`);
  // By the key of each device: those of a page are few, and all that lack something may be many.
  const lossyOf = db.prepare(
    `${rows} json_each(:devices) AS asked CROSS JOIN completeness ON device = asked.value
     WHERE ${isLossy} ORDER BY hour_ms, device`,
  );
  return {
    ...noting(db, transaction),
    ...counting(db, transaction),
    ...pruning(db, transaction),
    ...summing(db),
    ...pollSums(db, transaction),
    lossyHours: (from, to, devices) => {
      const found = devices
        ? lossyOf.all({ from, to, devices: JSON.stringify([...new Set(devices)]) })
        : lossy.all({ from, to });
      return found.map((row) => ({ ...row }) as LossyHour);
    },
  };
}
