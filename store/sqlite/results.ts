import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { type Result, type ResultKey, sameFigure } from "@jilian/domain/result.ts";
import type { ChangeLog, Ledger, LoggedResult } from "../ledger.ts";

/** Columns of `result` and `result_history`. */
const fields = {
  period: "period",
  level: "level",
  start_ms: "startMs",
  entity: "entity",
  indicator: "indicator",
  end_ms: "endMs",
  value: "value",
  reason: "reason",
  unit: "unit",
  completeness: "completeness",
  estimated_share: "estimatedShare",
  lower_bound: "lowerBound",
  status: "status",
  revision: "revision",
  definition_version: "definitionVersion",
  factor_table: "factorTable",
  registry_version: "registryVersion",
  input_watermark: "inputWatermark",
  as_of_ms: "asOfMs",
  simulated: "simulated",
  change: "change",
  lease_epoch: "leaseEpoch",
} as const satisfies Record<string, keyof LoggedResult>;

const columns = Object.keys(fields) as (keyof typeof fields)[];
const list = columns.join(", ");
const selected = columns.map((column) => `${column} AS ${fields[column]}`).join(", ");

function toRow(result: LoggedResult): SQLInputValue[] {
  return columns.map((column) => {
    const value = result[fields[column]];
    return typeof value === "boolean" ? Number(value) : value;
  });
}

function fromRow(row: Record<string, unknown>): LoggedResult {
  return { ...(row as LoggedResult), lowerBound: row.lowerBound === 1, simulated: row.simulated === 1 };
}

const whereKey = "period = ? AND level = ? AND start_ms = ? AND entity = ? AND indicator = ?";

function keyOf(key: ResultKey): SQLInputValue[] {
  return [key.period, key.level, key.startMs, key.entity, key.indicator];
}

type ResultPart = Pick<
  Ledger,
  "writeResults" | "readResults" | "readResult" | "history" | "revisions" | "provisionalBefore"
>;

/** Results of a ledger. `transaction` must take the write lock at its start: the counter is read under it. */
export function results(db: DatabaseSync, transaction: Ledger["transaction"]): ResultPart {
  const one = db.prepare(`SELECT ${selected} FROM result WHERE ${whereKey}`);
  const replace = db.prepare(
    `INSERT INTO result (${list}, first_change) VALUES (${columns.map(() => "?").join(", ")}, ?)
     ON CONFLICT DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(", ")}`,
  );
  const retire = db.prepare(`INSERT INTO result_history (${list}) SELECT ${list} FROM result WHERE ${whereKey}`);
  const older = db.prepare(`SELECT ${selected} FROM result_history WHERE ${whereKey} ORDER BY change`);
  // One statement, hence of one moment: a revision that retires meanwhile is neither missed nor given twice.
  const all = db.prepare(
    `SELECT ${selected} FROM result_history WHERE ${whereKey} UNION ALL SELECT ${selected} FROM result WHERE ${whereKey}
     ORDER BY change`,
  );
  const open = db.prepare(
    `SELECT ${selected} FROM result WHERE status = 'provisional' AND period = ? AND end_ms < ?
     ORDER BY end_ms, level, entity, indicator`,
  );
  const range = db.prepare(
    `SELECT ${selected} FROM result WHERE period = $period AND level = $level AND start_ms >= $fromMs AND start_ms < $toMs
       AND ($entity IS NULL OR entity = $entity) AND ($indicator IS NULL OR indicator = $indicator)
     ORDER BY start_ms, entity, indicator LIMIT $limit`,
  );
  const nextChange = db.prepare("UPDATE change_counter SET last = last + 1 RETURNING last");

  function readResult(key: ResultKey): LoggedResult | undefined {
    const row = one.get(...keyOf(key));
    return row && fromRow(row);
  }

  /** Writes one result; false when the ledger says the same already. */
  function write(result: Result, leaseEpoch: number): boolean {
    const stored = readResult(result);
    if (stored && sameFigure(stored, result) && stored.status === result.status) return false;
    // A provisional figure was never promised to anyone: only what was final once is kept.
    if (stored && stored.status !== "provisional") retire.run(...keyOf(result));
    const change = Number(nextChange.get()?.last);
    replace.run(...toRow({ ...result, change, leaseEpoch }), change);
    return true;
  }

  return {
    readResult,
    writeResults: (batch, leaseEpoch = 0) => transaction(() => batch.filter((one) => write(one, leaseEpoch)).length),
    readResults: ({ indicator = null, entity = null, level, period, fromMs, toMs, limit }) =>
      range.all({ indicator, entity, level, period, fromMs, toMs, limit }).map(fromRow),
    history: (key) => older.all(...keyOf(key)).map(fromRow),
    revisions: (key) => all.all(...keyOf(key), ...keyOf(key)).map(fromRow),
    provisionalBefore: (period, endMs) => open.all(period, endMs).map(fromRow),
  };
}

/** The change log of a ledger, and figures as it had them at one of its changes. */
export function changeLog(db: DatabaseSync): Pick<Ledger, "changeLog" | "changesAfter" | "readResultsAsOf"> {
  const counter = db.prepare("SELECT log AS id, last FROM change_counter");
  // Both sides come in the order of their index and are merged: nothing is sorted, and the limit ends both.
  const after = db.prepare(
    `SELECT ${selected} FROM result WHERE change > $after UNION ALL SELECT ${selected} FROM result_history WHERE change > $after
     ORDER BY change LIMIT $limit`,
  );
  const pinned = db.prepare(
    `SELECT ${selected} FROM result WHERE period = $period AND level = $level AND start_ms >= $fromMs AND start_ms < $toMs
       AND (start_ms, entity, indicator) > ($afterMs, $afterEntity, $afterIndicator) AND first_change <= $asOfChange
       AND ($entity IS NULL OR entity = $entity) AND ($indicator IS NULL OR indicator = $indicator)
     ORDER BY start_ms, entity, indicator LIMIT $limit`,
  );
  const then = db.prepare(
    `SELECT ${selected} FROM result_history WHERE ${whereKey} AND change <= ? ORDER BY change DESC LIMIT 1`,
  );
  const since = db.prepare(
    `SELECT ${selected} FROM result_history WHERE ${whereKey} AND change > ? ORDER BY change LIMIT 1`,
  );

  /** A figure as it was at a change. What history has up to a change that was made does not grow any more: no lock is needed. */
  function asOf(present: LoggedResult, change: number): LoggedResult {
    if (present.change <= change) return present;
    const row = then.get(...keyOf(present), change) ?? since.get(...keyOf(present), change);
    return row ? fromRow(row) : present;
  }

  return {
    changeLog: () => ({ ...counter.get() }) as ChangeLog,
    changesAfter: (position, limit) => after.all({ after: position, limit }).map(fromRow),
    readResultsAsOf: ({ indicator = null, entity = null, level, period, toMs, limit, asOfChange, ...from }) => {
      const [afterMs, afterEntity, afterIndicator] = from.after ?? [-1, "", ""];
      const fromMs = Math.max(from.fromMs, afterMs);
      const question = { indicator, entity, level, period, fromMs, toMs, limit, asOfChange };
      const rows = pinned.all({ ...question, afterMs, afterEntity, afterIndicator });
      return rows.map((row) => asOf(fromRow(row), asOfChange));
    },
  };
}
