import type { DatabaseSync } from "node:sqlite";
import { migrate } from "./sqlite-own.ts";

/** Marks a file as a history of Jilian in SQLite's own header field. */
export const historyApplicationId = 0x4a4c4853;

/**
 * Step n brings a file from schema version n to n + 1; the version is SQLite's `user_version`. A step is never changed once released.
 * Rows lie in the order of time, so that a quarter hour is written and dropped page by page: a flash card wears by pages.
 */
const migrations = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
   CREATE TABLE tag (id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
     modulus TEXT NOT NULL, float32 INTEGER NOT NULL, simulated INTEGER NOT NULL,
     UNIQUE (device, name, kind, unit, modulus, float32, simulated)) STRICT;
   CREATE TABLE quarter (quarter INTEGER PRIMARY KEY) STRICT;
   CREATE TABLE value (quarter INTEGER, tag INTEGER, good_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, count INTEGER NOT NULL,
     sum REAL, integral REAL, low REAL, high REAL, register ANY, register_ms INTEGER, wraps INTEGER, resets INTEGER, codes TEXT,
     PRIMARY KEY (quarter, tag)) STRICT, WITHOUT ROWID;`,
];

/** Schema version that this program writes; older files are brought up to it, newer ones refused. */
export const historySchemaVersion = migrations.length;

/** Brings the schema from a version up to date in one transaction; a fresh file (version 0) runs every step. */
export function migrateHistory(db: DatabaseSync, version: number, owner: { group: string; node: string }): void {
  const meta = { group: owner.group, node: owner.node };
  migrate(db, version, { steps: migrations, applicationId: historyApplicationId, meta });
}
