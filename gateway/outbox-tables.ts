import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { RecordId } from "@jilian/domain/commit.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";

/** What is kept in memory of a record that leaves the outbox. */
export type FreedRow = { position: number; device: number; size: number };
export type RecordRow = { position: number; device: number; writtenAtMs: number; samples: number; bytes: Uint8Array };
export type AsideRow = RecordId & {
  position: number;
  device: string;
  writtenAtMs: number;
  reason: string;
  bytes: Uint8Array;
};
export type DeviceRow = {
  id: number;
  name: string;
  lastSourceTimeMs: number;
  pending: number;
  bytes: number;
  /** Position and time of writing of its last record; 0 when none is known. */
  lastPosition: number;
  lastWrittenMs: number;
  note: string;
};
/** `definition` and `earlier` as JSON. */
export type MetricRow = {
  id: number;
  device: string;
  name: string;
  definition: string;
  sinceMs: number;
  earlier: string;
};
export type DroppedRow = { metric: number; samples: number; firstMs: number; lastMs: number };

type Row = Record<string, unknown>;

function freedRow(row: Row): FreedRow {
  const { position, device, size } = row as FreedRow;
  return { position, device, size };
}

function recordRow(row: Row): RecordRow {
  return {
    position: Number(row.position),
    device: Number(row.device),
    writtenAtMs: Number(row.written_ms),
    samples: Number(row.samples),
    bytes: row.bytes as Uint8Array,
  };
}

export function asideRow(row: Row): AsideRow {
  return {
    position: Number(row.position),
    epoch: String(row.epoch),
    offset: Number(row.offset),
    device: String(row.device),
    writtenAtMs: Number(row.written_ms),
    reason: String(row.reason),
    bytes: row.bytes as Uint8Array,
  };
}

const oldestSql = "SELECT position, written_ms FROM record WHERE position > ? ORDER BY position LIMIT 1";

function oldestRow(row: Row | undefined): { position: number; writtenAtMs: number } | undefined {
  return row && { position: Number(row.position), writtenAtMs: Number(row.written_ms) };
}

/** What an outbox takes into memory when it opens: everything but the records themselves, of which the head of the oldest alone is read. */
function loadTables(db: DatabaseSync) {
  const all = (sql: string): Row[] => db.prepare(sql).all();
  const meta = new Map(all("SELECT key, value FROM meta").map((r) => [String(r.key), r.value]));
  const notes = new Map(all("SELECT key, value FROM note").map((r) => [String(r.key), String(r.value)]));
  const devices: DeviceRow[] = all("SELECT * FROM device ORDER BY id").map((r) => ({
    id: Number(r.id),
    name: String(r.name),
    lastSourceTimeMs: Number(r.last_source_ms),
    pending: Number(r.pending_records),
    bytes: Number(r.pending_bytes),
    lastPosition: Number(r.last_position),
    lastWrittenMs: Number(r.last_written_ms),
    note: String(r.note),
  }));
  const metrics = all("SELECT * FROM metric ORDER BY id").map((r) => ({
    id: Number(r.id),
    device: String(r.device),
    definition: JSON.parse(String(r.definition)) as MetricDefinition,
    sinceMs: Number(r.since_ms),
    earlier: String(r.earlier),
  }));
  const dropped: DroppedRow[] = all("SELECT * FROM dropped").map((r) => ({
    metric: Number(r.metric),
    samples: Number(r.samples),
    firstMs: Number(r.first_ms),
    lastMs: Number(r.last_ms),
  }));
  const [asides] = all("SELECT count(*) AS records, ifnull(sum(length(bytes)), 0) AS bytes FROM set_aside").map(
    (r) => ({
      records: Number(r.records),
      bytes: Number(r.bytes),
    }),
  );
  // No position is given again: of a record set aside a later one would take the place, and of a freed one the time of writing.
  const [last] = all(
    `SELECT max(ifnull((SELECT max(position) FROM record), 0), ifnull((SELECT max(base) FROM epoch), 0),
     ifnull((SELECT max(position) FROM set_aside), 0), ifnull((SELECT max(last_position) FROM device), 0)) AS position`,
  );
  // An epoch of which nothing is pending any more is forgotten: notices for it are then notices for an unknown one.
  const epochs = all(
    `SELECT epoch, base FROM epoch e WHERE EXISTS (SELECT 1 FROM record r WHERE r.position >= e.base AND r.position <
     ifnull((SELECT min(base) FROM epoch n WHERE n.base > e.base), 9223372036854775807)) ORDER BY base`,
  ).map((r) => ({ epoch: String(r.epoch), base: Number(r.base) }));
  const [lastEpoch] = all("SELECT epoch, base FROM epoch ORDER BY base DESC LIMIT 1").map((r) => ({
    epoch: String(r.epoch),
    base: Number(r.base),
  }));
  const oldest = oldestRow(db.prepare(oldestSql).get(0));
  return {
    meta,
    notes,
    devices,
    metrics,
    dropped,
    asides,
    epochs,
    lastEpoch,
    oldest,
    lastPosition: Number(last?.position),
  };
}

/** SQL on records set aside, prepared once. */
function asideTables(on: (sql: string) => StatementSync) {
  const insert = on(
    'INSERT INTO set_aside (position, epoch, "offset", device, written_ms, reason, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const after = on("SELECT * FROM set_aside WHERE position > ? ORDER BY position LIMIT ?");
  const byId = on('SELECT * FROM set_aside WHERE epoch = ? AND "offset" = ?');
  const remove = on("DELETE FROM set_aside WHERE position BETWEEN ? AND ?");
  return {
    setAside: ({ position, epoch, offset, device, writtenAtMs, reason, bytes }: AsideRow): void => {
      insert.run(position, epoch, offset, device, writtenAtMs, reason, bytes);
    },
    /** Records set aside after a position, oldest first. */
    asidesAfter: (position: number, limit: number): AsideRow[] => after.all(position, limit).map(asideRow),
    asideOf: ({ epoch, offset }: RecordId): AsideRow | undefined => {
      const row = byId.get(epoch, offset);
      return row && asideRow(row);
    },
    removeAsides: (from: number, to: number): void => {
      remove.run(from, to);
    },
  };
}

/** SQL that writes what the state has marked as changed, prepared once. */
function housekeepingTables(on: (sql: string) => StatementSync) {
  const device = on(
    `INSERT INTO device (id, name, last_source_ms, pending_records, pending_bytes, last_position, last_written_ms, note)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET last_source_ms = excluded.last_source_ms, pending_records = excluded.pending_records,
     pending_bytes = excluded.pending_bytes, last_position = excluded.last_position,
     last_written_ms = excluded.last_written_ms, note = excluded.note`,
  );
  const metric = on(
    `INSERT INTO metric (id, device, name, definition, since_ms, earlier) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET definition = excluded.definition, since_ms = excluded.since_ms, earlier = excluded.earlier`,
  );
  const meta = on("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
  const epoch = on(
    "INSERT INTO epoch (epoch, base) VALUES (?, ?) ON CONFLICT (base) DO UPDATE SET epoch = excluded.epoch",
  );
  const dropped = on("INSERT OR REPLACE INTO dropped (metric, samples, first_ms, last_ms) VALUES (?, ?, ?, ?)");
  const note = on("INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)");
  const noNote = on("DELETE FROM note WHERE key = ?");
  const fill = on("INSERT OR REPLACE INTO meta (key, value) VALUES ('filler', zeroblob(?))");
  return {
    saveDevice: (row: DeviceRow): void => {
      const { lastSourceTimeMs, pending, bytes, lastPosition, lastWrittenMs } = row;
      device.run(row.id, row.name, lastSourceTimeMs, pending, bytes, lastPosition, lastWrittenMs, row.note);
    },
    saveMetric: (row: MetricRow): void => {
      metric.run(row.id, row.device, row.name, row.definition, row.sinceMs, row.earlier);
    },
    saveMeta: (key: string, value: number | string): void => {
      meta.run(key, value);
    },
    saveEpoch: (name: string, base: number): void => {
      epoch.run(name, base);
    },
    saveDropped: (row: DroppedRow): void => {
      dropped.run(row.metric, row.samples, row.firstMs, row.lastMs);
    },
    /** Makes the file larger by so many bytes, in place of what the last call made it larger by. */
    fill: (bytes: number): void => {
      fill.run(bytes);
    },
    saveNote: (key: string, value: string | undefined): void => {
      if (value === undefined) noNote.run(key);
      else note.run(key, value);
    },
  };
}

/** All SQL on an open outbox file, prepared once. Positions are record keys: base of the epoch plus offset. */
export function outboxTables(db: DatabaseSync) {
  const on = (sql: string): StatementSync => db.prepare(sql);
  const begin = on("BEGIN IMMEDIATE");
  const commit = on("COMMIT");
  const insert = on("INSERT INTO record (position, device, written_ms, samples, bytes) VALUES (?, ?, ?, ?, ?)");
  const after = on("SELECT * FROM record WHERE position > ? ORDER BY position LIMIT ?");
  const between = on(
    `SELECT position, device, length(bytes) AS size FROM record WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?`,
  );
  const written = on("SELECT position, written_ms AS writtenAtMs FROM record WHERE position BETWEEN ? AND ?");
  const remove = on("DELETE FROM record WHERE position BETWEEN ? AND ?");
  const first = on(oldestSql);
  const one = on("SELECT * FROM record WHERE position = ?");
  const free = on("PRAGMA freelist_count");
  const pages = on("PRAGMA page_count");
  const pageSize = on("PRAGMA page_size");

  /** All or nothing. The failure of a statement is told, not that of undoing it. */
  function transaction<T>(work: () => T): T {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (thrown) {
      try {
        if (db.isTransaction) db.exec("ROLLBACK");
      } catch {
        // The medium fails; `thrown` says so already.
      }
      throw thrown;
    }
  }

  return {
    ...housekeepingTables(on),
    ...asideTables(on),
    transaction,
    insert: (row: RecordRow): void => {
      insert.run(row.position, row.device, row.writtenAtMs, row.samples, row.bytes);
    },
    /** Records after a position, oldest first. */
    after: (position: number, limit: number): RecordRow[] => after.all(position, limit).map(recordRow),
    one: (position: number): RecordRow | undefined => {
      const row = one.get(position);
      return row && recordRow(row);
    },
    /** The first records of a range of positions, without their bytes. */
    between: (from: number, to: number, limit: number): FreedRow[] => between.all(from, to, limit).map(freedRow),
    /** When the records of a range of positions were written. */
    written: (from: number, to: number): { position: number; writtenAtMs: number }[] =>
      written.all(from, to) as { position: number; writtenAtMs: number }[],
    remove: (from: number, to: number): void => {
      remove.run(from, to);
    },
    /** The first record after a position. */
    oldest: (position: number) => oldestRow(first.get(position)),
    /** Every record, newest first. */
    newestFirst: function* (): Generator<RecordRow> {
      for (const row of on("SELECT * FROM record ORDER BY position DESC").iterate()) yield recordRow(row);
    },
    /** Growth by more pages than these fails from now on. */
    limitGrowth: (by: number): void => db.exec(`PRAGMA max_page_count = ${Number(pages.get()?.page_count) + by}`),
    freePages: (): number => Number(free.get()?.freelist_count),
    freeBytes: (): number => Number(free.get()?.freelist_count) * Number(pageSize.get()?.page_size),
    exec: (sql: string): void => db.exec(sql),
    load: () => loadTables(db),
    dropEpochsExcept: (kept: readonly string[]): void => {
      on("DELETE FROM epoch WHERE epoch NOT IN (SELECT value FROM json_each(?))").run(JSON.stringify(kept));
    },
    close: (): void => db.close(),
  };
}

export type OutboxTables = ReturnType<typeof outboxTables>;
export type LoadedOutbox = ReturnType<typeof loadTables>;
