import { DatabaseSync } from "node:sqlite";
import { newDevice } from "./outbox-devices.ts";
import { earlierText, readEarlier } from "./outbox-earlier.ts";
import { newRecovering, type Recovering, readRecovering } from "./outbox-recover-list.ts";
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

function saveDevices(db: DatabaseSync, to: OutboxTables): void {
  for (const row of rowsOf(db, "SELECT * FROM device")) {
    const { id, name, last_source_ms: lastSourceTimeMs } = row;
    if (!isWhole(id, 1) || typeof name !== "string" || !isWhole(lastSourceTimeMs, 0) || lastSourceTimeMs > latestMs)
      continue;
    to.saveDevice({ ...newDevice, id, name, lastSourceTimeMs });
  }
}

/** How many records were pending; undefined where that cannot be read. */
function pendingOf(db: DatabaseSync): number | undefined {
  const [row] = rowsOf(db, "SELECT ifnull(sum(pending_records), 0) AS records FROM device");
  return isWhole(row?.records, 0) ? row.records : undefined;
}

function saveMetrics(db: DatabaseSync, to: OutboxTables): void {
  for (const { id, device, name, definition, since_ms, earlier } of rowsOf(db, "SELECT * FROM metric")) {
    if (!isWhole(id, 1) || typeof device !== "string" || typeof name !== "string") continue;
    try {
      const parsed = JSON.parse(String(definition)) as { name?: unknown };
      const sinceMs = isWhole(since_ms, 0) ? since_ms : 0;
      if (parsed.name !== name) continue;
      // Where none is pending yet: its records come from the damaged file, one by one.
      const before = earlierText(readEarlier(name, earlier, 0));
      to.saveMetric({ id, device, name, definition: String(definition), sinceMs, earlier: before });
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

export type Damaged = {
  path: string;
  /** The name that it is about to get, beside the outbox. */
  aside: string;
  /** What the process that had it open knows of earlier recoveries; as the file says, if absent. */
  recovering?: readonly Recovering[] | undefined;
};

/**
 * Takes over what can still be read of a damaged outbox into a fresh one: who it is, how it ended, the last source time of each device,
 * the ids of metrics. Its records are recovered later, under the name that it is about to get. Until then one counts as set aside, so that
 * the platform is told.
 * @param damaged opened for reading only
 * @returns all files that are being recovered from now on, this one last
 */
export function writeSalvaged(damaged: Damaged, to: OutboxTables): Recovering[] {
  let from: DatabaseSync | undefined;
  try {
    from = new DatabaseSync(damaged.path, { readOnly: true });
  } catch {
    // Nothing of it can be read.
  }
  try {
    return to.transaction(() => {
      const meta = from === undefined ? new Map<string, unknown>() : saveMeta(from, to);
      if (from !== undefined) {
        saveDevices(from, to);
        saveMetrics(from, to);
      }
      const before = meta.get("setAsideRecords");
      to.saveMeta("setAsideRecords", (isWhole(before, 0) ? before : 0) + 1);
      // The ids of a metric may not be found here: whether they are the same is for the process to say that has them in memory.
      const earlier = (damaged.recovering ?? readRecovering(meta.get("recovering"))).map(
        ({ sameIds: _ids, ...file }) => file,
      );
      const expected = from && pendingOf(from);
      const files = [...earlier, newRecovering(damaged.aside, expected === undefined ? {} : { expected })];
      to.saveMeta("recovering", JSON.stringify(files));
      return files;
    });
  } finally {
    from?.close();
  }
}
