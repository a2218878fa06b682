import { randomBytes } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { migrate } from "./sqlite-own.ts";

/** Marks a file as an outbox of Jilian in SQLite's own header field. */
export const applicationId = 0x4a4c4f42;

/** Step n brings a file from schema version n to n + 1; the version is SQLite's `user_version`. A step is never changed once released. */
const migrations = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
   CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_source_ms INTEGER NOT NULL) STRICT;
   CREATE TABLE metric (id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL,
     UNIQUE (device, name)) STRICT;
   CREATE TABLE epoch (epoch TEXT PRIMARY KEY, base INTEGER NOT NULL UNIQUE) STRICT, WITHOUT ROWID;
   CREATE TABLE record (position INTEGER PRIMARY KEY, device INTEGER NOT NULL, written_ms INTEGER NOT NULL,
     samples INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
   CREATE TABLE set_aside (position INTEGER PRIMARY KEY, epoch TEXT NOT NULL, "offset" INTEGER NOT NULL, device TEXT NOT NULL,
     written_ms INTEGER NOT NULL, reason TEXT NOT NULL, bytes BLOB NOT NULL) STRICT;`,
  // What is pending is counted by device in the file: to open a large backlog reads none of it.
  `ALTER TABLE device ADD COLUMN pending_records INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE device ADD COLUMN pending_bytes INTEGER NOT NULL DEFAULT 0;
   UPDATE device SET pending_records = p.records, pending_bytes = p.bytes FROM
     (SELECT device AS id, count(*) AS records, sum(length(bytes)) AS bytes FROM record GROUP BY device) AS p WHERE p.id = device.id;
   CREATE TABLE dropped (metric INTEGER PRIMARY KEY, samples INTEGER NOT NULL, first_ms INTEGER NOT NULL,
     last_ms INTEGER NOT NULL) STRICT;
   CREATE TABLE note (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE INDEX set_aside_id ON set_aside (epoch, "offset");`,
  // In the row that each record of the device writes anyway, so at the cost of no page: its last record, and a short text.
  `ALTER TABLE device ADD COLUMN last_position INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE device ADD COLUMN last_written_ms INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE device ADD COLUMN note TEXT NOT NULL DEFAULT '';`,
  // Since when a metric is what its definition says, where it was something else before; 0 where nothing else is known.
  `ALTER TABLE metric ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;`,
  // What a metric was before that, as JSON; empty where nothing is pending of then.
  `ALTER TABLE metric ADD COLUMN earlier TEXT NOT NULL DEFAULT '';`,
];

/** Schema version that this program writes; older files are brought up to it, newer ones refused. */
export const outboxSchemaVersion = migrations.length;

/** Brings the schema from a version up to date in one transaction; a fresh file (version 0) runs every step. */
export function migrateSchema(db: DatabaseSync, version: number, owner: { group: string; node: string }): void {
  const meta = { group: owner.group, node: owner.node, box: randomBytes(8).toString("hex") };
  migrate(db, version, { steps: migrations, applicationId, meta });
}
