import type { DatabaseSync, StatementSync } from "node:sqlite";

/** What is kept in memory of a record that leaves the outbox. */
export type FreedRow = { position: number; device: number; samples: number; size: number };
export type RecordRow = { position: number; device: number; writtenAtMs: number; samples: number; bytes: Uint8Array };
export type SetAsideRow = RecordRow & { epoch: string; offset: number; deviceName: string; reason: string };

type Row = Record<string, unknown>;

function freedRow(row: Row): FreedRow {
  const { position, device, samples, size } = row as FreedRow;
  return { position, device, samples, size };
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

const freed = "position, device, samples, length(bytes) AS size";

/** How many records that were set aside are kept for inspection; older ones make room. */
const setAsideKept = 1000;

/** What an outbox takes into memory when it opens: everything but the records themselves. */
function loadTables(db: DatabaseSync) {
  const all = (sql: string): Row[] => db.prepare(sql).all();
  const meta = new Map(all("SELECT key, value FROM meta").map((r) => [String(r.key), r.value]));
  const devices = all("SELECT id, name, last_source_ms FROM device").map((r) => ({
    id: Number(r.id),
    name: String(r.name),
    lastSourceTimeMs: Number(r.last_source_ms),
  }));
  const metrics = all("SELECT id, device, definition FROM metric ORDER BY id").map((r) => ({
    id: Number(r.id),
    device: String(r.device),
    definition: String(r.definition),
  }));
  const pending = all(
    "SELECT device, count(*) AS records, sum(length(bytes)) AS bytes FROM record GROUP BY device",
  ).map((r) => ({ device: Number(r.device), records: Number(r.records), bytes: Number(r.bytes) }));
  // Positions of records set aside are not given again: a later one would take their place.
  const [last] = all(
    `SELECT max(ifnull((SELECT max(position) FROM record), 0), ifnull((SELECT max(base) FROM epoch), 0),
     ifnull((SELECT max(position) FROM set_aside), 0)) AS position`,
  );
  // An epoch of which nothing is pending any more is forgotten: notices for it are then notices for an unknown one.
  const epochs = all(
    `SELECT epoch, base FROM epoch e WHERE EXISTS (SELECT 1 FROM record r WHERE r.position >= e.base AND r.position <
     ifnull((SELECT min(base) FROM epoch n WHERE n.base > e.base), 9223372036854775807)) ORDER BY base`,
  ).map((r) => ({ epoch: String(r.epoch), base: Number(r.base) }));
  return { meta, devices, metrics, pending, epochs, lastPosition: Number(last?.position) };
}

/** All SQL on an open outbox file, prepared once. Positions are record keys: base of the epoch plus offset. */
export function outboxTables(db: DatabaseSync) {
  const on = (sql: string): StatementSync => db.prepare(sql);
  const begin = on("BEGIN IMMEDIATE");
  const commit = on("COMMIT");
  const insert = on("INSERT INTO record (position, device, written_ms, samples, bytes) VALUES (?, ?, ?, ?, ?)");
  const saveDevice = on(
    `INSERT INTO device (id, name, last_source_ms) VALUES (?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET last_source_ms = excluded.last_source_ms`,
  );
  const saveMetric = on(
    `INSERT INTO metric (id, device, name, definition) VALUES (?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET definition = excluded.definition`,
  );
  const saveMeta = on(
    "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
  );
  const saveEpoch = on("INSERT OR IGNORE INTO epoch (epoch, base) VALUES (?, ?)");
  const after = on("SELECT * FROM record WHERE position > ? ORDER BY position LIMIT ?");
  const between = on(`SELECT ${freed} FROM record WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?`);
  const remove = on("DELETE FROM record WHERE position BETWEEN ? AND ?");
  const first = on("SELECT position, written_ms FROM record ORDER BY position LIMIT 1");
  const one = on("SELECT * FROM record WHERE position = ?");
  const aside = on("INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?, ?, ?, ?, ?)");
  const trimAside = on(
    `DELETE FROM set_aside WHERE position <=
     (SELECT position FROM set_aside ORDER BY position DESC LIMIT 1 OFFSET ${setAsideKept})`,
  );
  const free = on("PRAGMA freelist_count");

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
    transaction,
    insert: (row: RecordRow): void => {
      insert.run(row.position, row.device, row.writtenAtMs, row.samples, row.bytes);
    },
    saveDevice: (id: number, name: string, lastSourceTimeMs: number): void => {
      saveDevice.run(id, name, lastSourceTimeMs);
    },
    saveMetric: (id: number, device: string, name: string, definition: string): void => {
      saveMetric.run(id, device, name, definition);
    },
    saveMeta: (key: string, value: number): void => {
      saveMeta.run(key, value);
    },
    saveEpoch: (epoch: string, base: number): void => {
      saveEpoch.run(epoch, base);
    },
    /** Records after a position, oldest first. */
    after: (position: number, limit: number): RecordRow[] => after.all(position, limit).map(recordRow),
    one: (position: number): RecordRow | undefined => {
      const row = one.get(position);
      return row && recordRow(row);
    },
    /** The first records of a range of positions, without their bytes. */
    between: (from: number, to: number, limit: number): FreedRow[] => between.all(from, to, limit).map(freedRow),
    remove: (from: number, to: number): void => {
      remove.run(from, to);
    },
    oldest: (): { position: number; writtenAtMs: number } | undefined => {
      const row = first.get();
      return row && { position: Number(row.position), writtenAtMs: Number(row.written_ms) };
    },
    /** Every record, newest first. */
    newestFirst: function* (): Generator<RecordRow> {
      for (const row of on("SELECT * FROM record ORDER BY position DESC").iterate()) yield recordRow(row);
    },
    setAside: (row: SetAsideRow): void => {
      aside.run(row.position, row.epoch, row.offset, row.deviceName, row.writtenAtMs, row.reason, row.bytes);
      trimAside.run();
    },
    freePages: (): number => Number(free.get()?.freelist_count),
    exec: (sql: string): void => db.exec(sql),
    load: () => loadTables(db),
    dropEpochsExcept: (kept: readonly string[]): void => {
      on("DELETE FROM epoch WHERE epoch NOT IN (SELECT value FROM json_each(?))").run(JSON.stringify(kept));
    },
    close: (): void => db.close(),
  };
}

export type OutboxTables = ReturnType<typeof outboxTables>;
