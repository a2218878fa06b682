import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import { type HistoryKind, type Quarter, quarterMs } from "./history-quarter.ts";

/** What identifies a row of the history beside its time: a metric as it was defined. Another definition is another one. */
export type HistoryTag = {
  readonly device: string;
  readonly name: string;
  readonly kind: HistoryKind;
  /** Empty where it has none. */
  readonly unit: string;
  /** Value at which a register begins again at 0, a decimal; empty where it has none. */
  readonly modulus: string;
  /** Whether values are 32-bit floats, which stand for their shortest decimal. */
  readonly float32: boolean;
  readonly simulated: boolean;
};

/** A tag with its id in the file. */
export type KnownTag = HistoryTag & { readonly id: number };
export type HistoryRow = Quarter & { readonly tag: number };

export const valueColumns =
  "quarter, tag, good_ms, until_ms, count, sum, integral, low, high, register, register_ms, wraps, resets, codes";

type Row = Record<string, SQLOutputValue>;

const numberOf = (value: SQLOutputValue | undefined): number | undefined =>
  value === null || value === undefined ? undefined : Number(value);

function codesOf(text: SQLOutputValue | undefined): Map<string, number> | undefined {
  if (typeof text !== "string") return undefined;
  return new Map(Object.entries(JSON.parse(text) as Record<string, number>));
}

/** A row as it is read, integers as bigint. Times in it are relative to its quarter hour. */
export function rowOf(row: Row): HistoryRow {
  const quarter = Number(row.quarter);
  const startMs = quarter * quarterMs;
  const register = row.register;
  return {
    quarter,
    tag: Number(row.tag),
    goodMs: Number(row.good_ms),
    untilMs: startMs + Number(row.until_ms),
    count: Number(row.count),
    sum: Number(row.sum ?? 0),
    integral: Number(row.integral ?? 0),
    low: numberOf(row.low),
    high: numberOf(row.high),
    register: typeof register === "number" || typeof register === "bigint" ? register : undefined,
    registerMs: startMs + Number(row.register_ms ?? 0),
    wraps: Number(row.wraps ?? 0),
    resets: Number(row.resets ?? 0),
    codes: codesOf(row.codes),
  };
}

export function tagOf(row: Row): KnownTag {
  return {
    id: Number(row.id),
    device: String(row.device),
    name: String(row.name),
    kind: String(row.kind) as HistoryKind,
    unit: String(row.unit),
    modulus: String(row.modulus),
    float32: Number(row.float32) === 1,
    simulated: Number(row.simulated) === 1,
  };
}

function statements(db: DatabaseSync) {
  const on = (sql: string) => db.prepare(sql);
  const read = on(`SELECT ${valueColumns} FROM value WHERE quarter = ? AND tag = ?`);
  read.setReadBigInts(true);
  return {
    read,
    begin: on("BEGIN IMMEDIATE"),
    commit: on("COMMIT"),
    addTag: on(
      "INSERT OR IGNORE INTO tag (device, name, kind, unit, modulus, float32, simulated) VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    tagId: on(
      "SELECT id FROM tag WHERE device = ? AND name = ? AND kind = ? AND unit = ? AND modulus = ? AND float32 = ? AND simulated = ?",
    ),
    // A row is only ever gone on with: what accounts for less time than is written is refused.
    write: on(
      `INSERT INTO value (${valueColumns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (quarter, tag) DO UPDATE SET good_ms = excluded.good_ms, until_ms = excluded.until_ms, count = excluded.count,
       sum = excluded.sum, integral = excluded.integral, low = excluded.low, high = excluded.high, register = excluded.register,
       register_ms = excluded.register_ms, wraps = excluded.wraps, resets = excluded.resets, codes = excluded.codes
       WHERE excluded.until_ms >= value.until_ms`,
    ),
    addQuarter: on("INSERT OR IGNORE INTO quarter (quarter) VALUES (?)"),
    oldest: on("SELECT min(quarter) AS quarter FROM quarter"),
    newest: on("SELECT max(quarter) AS quarter FROM quarter"),
    before: on("SELECT max(quarter) AS quarter FROM quarter WHERE quarter < ?"),
    quarters: on("SELECT count(*) AS n FROM quarter"),
    dropValues: on("DELETE FROM value WHERE quarter = ?"),
    dropQuarter: on("DELETE FROM quarter WHERE quarter = ?"),
    free: on("PRAGMA freelist_count"),
    pages: on("PRAGMA page_count"),
    pageSize: on("PRAGMA page_size"),
  };
}

/** All SQL of an open history, prepared once. */
export function historyTables(db: DatabaseSync) {
  const on = statements(db);
  const ids = new Map<HistoryTag, number>();
  /** Ids that were given just now: nothing is written of them, and looking for it costs a query for each quarter hour of a day. */
  const unwritten = new Set<number>();

  function idOf(tag: HistoryTag): number {
    const known = ids.get(tag);
    if (known !== undefined) return known;
    const { device, name, kind, unit, modulus, float32, simulated } = tag;
    const key = [device, name, kind, unit, modulus, Number(float32), Number(simulated)];
    const { changes } = on.addTag.run(...key);
    const id = Number(on.tagId.get(...key)?.id);
    if (Number(changes) > 0) unwritten.add(id);
    ids.set(tag, id);
    return id;
  }

  function transaction<T>(work: () => T): T {
    on.begin.run();
    try {
      const result = work();
      on.commit.run();
      return result;
    } catch (thrown) {
      // Ids that were given in it are none.
      ids.clear();
      unwritten.clear();
      try {
        if (db.isTransaction) db.exec("ROLLBACK");
      } catch {
        // The medium fails; `thrown` says so already.
      }
      throw thrown;
    }
  }

  function writeOne(tag: HistoryTag, row: Quarter): boolean {
    const startMs = row.quarter * quarterMs;
    const isGauge = tag.kind === "gauge";
    const hasRegister = row.register !== undefined;
    const id = idOf(tag);
    unwritten.delete(id);
    const { changes } = on.write.run(
      ...[row.quarter, id, Math.round(row.goodMs), row.untilMs - startMs, row.count],
      ...[isGauge ? row.sum : null, isGauge ? row.integral : null, row.low ?? null, row.high ?? null],
      ...[row.register ?? null, hasRegister ? row.registerMs - startMs : null],
      ...[row.wraps === 0 ? null : row.wraps, row.resets === 0 ? null : row.resets],
      row.codes ? JSON.stringify(Object.fromEntries(row.codes)) : null,
    );
    return Number(changes) > 0;
  }

  const usedBytes = (): number =>
    (Number(on.pages.get()?.page_count) - Number(on.free.get()?.freelist_count)) * Number(on.pageSize.get()?.page_size);

  function read(tag: HistoryTag, quarter: number): Quarter | undefined {
    const id = idOf(tag);
    const row = unwritten.has(id) ? undefined : on.read.get(quarter, id);
    return row && rowOf(row);
  }

  return {
    /** Writes rows in one transaction. @returns how many were refused, because what is written of them accounts for more time */
    write: (rows: readonly (readonly [HistoryTag, Quarter])[]): number =>
      transaction(() => {
        for (const quarter of new Set(rows.map(([, row]) => row.quarter))) on.addQuarter.run(quarter);
        return rows.filter(([tag, row]) => !writeOne(tag, row)).length;
      }),
    read,
    /** The last quarter hour of a tag before one, among so many that hold something. */
    readBefore: (tag: HistoryTag, quarter: number, atMost: number): Quarter | undefined => {
      let at = numberOf(on.before.get(quarter)?.quarter);
      if (at === undefined || unwritten.has(idOf(tag))) return undefined;
      for (let i = 0; at !== undefined && i < atMost; i += 1) {
        const found = read(tag, at);
        if (found) return found;
        at = numberOf(on.before.get(at)?.quarter);
      }
      return undefined;
    },
    /** The oldest quarter hour that holds something; undefined in an empty file. */
    oldest: (): number | undefined => numberOf(on.oldest.get()?.quarter),
    /** The newest one. */
    newest: (): number | undefined => numberOf(on.newest.get()?.quarter),
    quarters: (): number => Number(on.quarters.get()?.n),
    usedBytes,
    /** Deletes the oldest quarter hour. */
    dropOldest: (): void => {
      const quarter = numberOf(on.oldest.get()?.quarter);
      if (quarter === undefined) return;
      transaction(() => {
        on.dropValues.run(quarter);
        on.dropQuarter.run(quarter);
      });
    },
    /** Gives free pages beyond so many back to the file system, few at a time. @returns whether there were any */
    shrink: (spare: number, atMost: number): boolean => {
      const free = Number(on.free.get()?.freelist_count) - spare;
      if (free > 0) db.exec(`PRAGMA incremental_vacuum(${Math.min(free, atMost)})`);
      return free > 0;
    },
    settle: (): void => db.exec("PRAGMA wal_checkpoint(PASSIVE)"),
    close: (): void => db.close(),
  };
}

export type HistoryTables = ReturnType<typeof historyTables>;
