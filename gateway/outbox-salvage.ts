import { DatabaseSync } from "node:sqlite";
import { newDevice } from "./outbox-devices.ts";
import type { OutboxTables } from "./outbox-tables.ts";

/** No source time lies beyond: what a damaged page says of a time must not push a device's readings into another century. */
const latestMs = Date.UTC(2100, 0, 1);

type Row = Record<string, unknown>;

/** Each query on its own: the page of one table may be damaged and that of another not. */
function rowsOf(db: DatabaseSync, sql: string): Row[] {
  try {
    return db.prepare(sql).all();
  } catch {
    return [];
  }
}

function isWhole(value: unknown, least: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least;
}

function saveDevices(db: DatabaseSync, to: OutboxTables): number {
  let pending = 0;
  for (const row of rowsOf(db, "SELECT * FROM device")) {
    const { id, name, last_source_ms: lastSourceTimeMs, pending_records: records } = row;
    if (!isWhole(id, 1) || typeof name !== "string" || !isWhole(lastSourceTimeMs, 0) || lastSourceTimeMs > latestMs)
      continue;
    to.saveDevice({ ...newDevice, id, name, lastSourceTimeMs });
    if (isWhole(records, 0)) pending += records;
  }
  return pending;
}

function saveMetrics(db: DatabaseSync, to: OutboxTables): void {
  for (const { id, device, name, definition } of rowsOf(db, "SELECT * FROM metric")) {
    if (!isWhole(id, 1) || typeof device !== "string" || typeof name !== "string") continue;
    try {
      const parsed = JSON.parse(String(definition)) as { name?: unknown };
      if (parsed.name === name) to.saveMetric(id, device, name, String(definition));
    } catch {
      // Declared anew under another id: only records of the damaged file know this one.
    }
  }
}

function saveMeta(db: DatabaseSync, to: OutboxTables): Map<string, unknown> {
  const meta = new Map(rowsOf(db, "SELECT key, value FROM meta").map((row) => [String(row.key), row.value]));
  const box = meta.get("box");
  if (typeof box === "string" && /^[0-9a-f]{16}$/.test(box)) to.saveMeta("box", box);
  for (const key of ["starts", "droppedSamples", "bdSeq"]) {
    const value = meta.get(key);
    if (isWhole(value, 0)) to.saveMeta(key, value);
  }
  // How the last use of it ended: where that cannot be read, as by a power cut, so that no source time is used twice.
  const [closed, bootId] = [meta.get("closed"), meta.get("bootId")];
  to.saveMeta("closed", closed === 1 ? 1 : 0);
  to.saveMeta("bootId", closed === 0 && typeof bootId === "string" ? bootId : "");
  return meta;
}

/**
 * Takes over what can still be read of a damaged outbox into a fresh one: who it is, how it ended, the last source time of each device,
 * the ids of metrics. Its records are not: they stay in the damaged file and count as set aside, at least one, so that the platform is told.
 * @param damaged opened for reading only
 */
export function writeSalvaged(damaged: string, to: OutboxTables): void {
  let from: DatabaseSync | undefined;
  try {
    from = new DatabaseSync(damaged, { readOnly: true });
  } catch {
    // Nothing of it can be read.
  }
  try {
    to.transaction(() => {
      const meta = from === undefined ? new Map<string, unknown>() : saveMeta(from, to);
      const pending = from === undefined ? 0 : saveDevices(from, to);
      if (from !== undefined) saveMetrics(from, to);
      const before = meta.get("setAsideRecords");
      to.saveMeta("setAsideRecords", (isWhole(before, 0) ? before : 0) + Math.max(1, pending));
    });
  } finally {
    from?.close();
  }
}
