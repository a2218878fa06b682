import { DatabaseSync } from "node:sqlite";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { AsideRecord } from "./model.ts";
import { asideOf } from "./outbox-asides.ts";
import {
  checkKind,
  checkOwner,
  fault,
  foreign,
  isCorrupt,
  locked,
  Sqlite,
  sqliteCode,
  unopenable,
} from "./outbox-file.ts";
import { asideRow } from "./outbox-tables.ts";

export type OutboxViewOptions = { path: string; group: string; node: string };

/** What is set aside, oldest first and so many at most, and how many records there are. */
export type OutboxView = { asides: AsideRecord[]; total: number };

function read(db: DatabaseSync, options: OutboxViewOptions, limit: number): OutboxView {
  const all = (sql: string, ...values: number[]): Record<string, unknown>[] => db.prepare(sql).all(...values);
  const version = checkKind(db, options);
  if (version === 0) throw foreign(options, "holds no outbox yet");
  checkOwner(new Map(all("SELECT key, value FROM meta").map((row) => [String(row.key), row.value])), options);
  const names = new Map(all("SELECT id, name FROM metric").map(({ id, name }) => [Number(id), String(name)]));
  const rows = all("SELECT * FROM set_aside ORDER BY position LIMIT ?", limit).map(asideRow);
  const [count] = all("SELECT count(*) AS total FROM set_aside");
  return { asides: rows.map((row) => asideOf(row, (id) => names.get(id))), total: Number(count?.total) };
}

/**
 * What is set aside in the outbox of a gateway that does not run. Only looks: no epoch begins, nothing is repaired or renamed.
 * @throws JilianError OUTBOX_CORRUPT it is damaged; the others as `openOutbox`
 */
export function viewAsides(options: OutboxViewOptions, limit: number): OutboxView {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(options.path, { readOnly: true, timeout: 1000 });
    return read(db, options, limit);
  } catch (thrown) {
    if (thrown instanceof JilianError) throw thrown;
    if (sqliteCode(thrown) === Sqlite.busy) throw locked(options, thrown);
    if (!isCorrupt(thrown)) throw unopenable(options, thrown);
    const remedy = "start the gateway: it keeps the damaged file under another name and begins a fresh one";
    throw fault(options, "OUTBOX_CORRUPT", `is damaged: ${messageOf(thrown)}`, remedy, thrown);
  } finally {
    db?.close();
  }
}
