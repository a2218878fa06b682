import type { DatabaseSync } from "node:sqlite";
import type { KpiLedger, Recompute, TakenUp } from "../kpi-ledger.ts";
import type { Ledger } from "../ledger.ts";

/** Step of the ledger's schema. Both tables can be dropped: leaves are folded again, and who waited for a recompute asks again. */
export const kpiSchema = `
   CREATE TABLE kpi_hour (hour_ms INTEGER PRIMARY KEY) STRICT;
   CREATE TABLE kpi_recompute (
     id INTEGER PRIMARY KEY AUTOINCREMENT, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, reason TEXT NOT NULL,
     requested_ms INTEGER NOT NULL, cursor_ms INTEGER NOT NULL, done_ms INTEGER, first_change INTEGER NOT NULL
   ) STRICT;`;

/** Step of the ledger's schema. A ledger of before says nothing of its series: what they are at the next start is taken for known. */
export const takenUpSchema = `
   CREATE TABLE kpi_taken_up (series TEXT PRIMARY KEY, dated TEXT NOT NULL) STRICT, WITHOUT ROWID;`;

const columns = `id, from_ms AS fromMs, to_ms AS toMs, reason, requested_ms AS requestedMs, cursor_ms AS cursorMs,
  done_ms AS doneMs, first_change AS firstChange`;

/** What the KPI engine keeps, in the embedded ledger. */
export function kpiLedger(db: DatabaseSync, transaction: Ledger["transaction"]): KpiLedger {
  const putHour = db.prepare("INSERT OR IGNORE INTO kpi_hour VALUES (?)");
  const hours = db.prepare("SELECT hour_ms AS hourMs FROM kpi_hour WHERE hour_ms >= ? AND hour_ms < ? ORDER BY 1");
  const add = db.prepare(
    `INSERT INTO kpi_recompute (from_ms, to_ms, reason, requested_ms, cursor_ms, first_change)
     SELECT ?1, ?2, ?3, ?4, ?1, last FROM change_counter`,
  );
  const next = db.prepare(`SELECT ${columns} FROM kpi_recompute WHERE done_ms IS NULL ORDER BY id LIMIT 1`);
  const one = db.prepare(`SELECT ${columns} FROM kpi_recompute WHERE id = ?`);
  const move = db.prepare("UPDATE kpi_recompute SET cursor_ms = ?2 WHERE id = ?1");
  const end = db.prepare("UPDATE kpi_recompute SET done_ms = ?2, cursor_ms = to_ms WHERE id = ?1");
  const taken = db.prepare("SELECT series, dated FROM kpi_taken_up");
  const putTaken = db.prepare("INSERT INTO kpi_taken_up VALUES (?1, ?2) ON CONFLICT DO UPDATE SET dated = ?2");
  const forgetTaken = db.prepare("DELETE FROM kpi_taken_up");
  const read = (row: Record<string, unknown> | undefined) => row && ({ ...row } as Recompute);
  return {
    noteHours: (own) =>
      transaction(() => {
        for (const hour of own) putHour.run(hour);
      }),
    knownHours: (fromMs, toMs) => hours.all(fromMs, toMs).map((row) => Number(row.hourMs)),
    addRecompute: ({ fromMs, toMs, reason }, atMs) => Number(add.run(fromMs, toMs, reason, atMs).lastInsertRowid),
    nextRecompute: () => read(next.get()),
    recompute: (id) => read(one.get(id)),
    moveRecompute: (id, cursorMs) => {
      move.run(id, cursorMs);
    },
    endRecompute: (id, atMs) => {
      end.run(id, atMs);
    },
    takenUp: () => taken.all().map((row) => ({ ...row }) as TakenUp),
    noteTakenUp: (own) =>
      transaction(() => {
        for (const { series, dated } of own) putTaken.run(series, dated);
      }),
    forgetTakenUp: () => {
      forgetTaken.run();
    },
  };
}
