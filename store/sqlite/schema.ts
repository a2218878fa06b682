import type { DatabaseSync } from "node:sqlite";
import { JilianError } from "@jilian/domain/errors.ts";
import { alarmAgainSchema, alarmSchema } from "./alarms.ts";
import { certificateSchema } from "./certificates.ts";
import { completenessDueSchema, completenessSchema } from "./completeness.ts";
import { definitionSchema } from "./definitions.ts";
import { findingSchema } from "./findings.ts";
import { kpiSchema, takenUpSchema } from "./kpi.ts";
import { leaseSchema } from "./leases.ts";
import { pollSchema } from "./polls.ts";
import { registrySchema } from "./registry.ts";

/** "JiLe": marks a file as a ledger (SQLite's application_id), so that another program's database is never migrated by mistake. */
const applicationId = 0x4a694c65;

const resultColumns = `
  period TEXT NOT NULL, level TEXT NOT NULL, start_ms INTEGER NOT NULL, entity TEXT NOT NULL, indicator TEXT NOT NULL,
  end_ms INTEGER NOT NULL, value TEXT, reason TEXT, unit TEXT NOT NULL, completeness REAL, estimated_share REAL,
  lower_bound INTEGER NOT NULL, status TEXT NOT NULL, revision INTEGER NOT NULL, definition_version INTEGER NOT NULL,
  factor_table TEXT, registry_version TEXT NOT NULL, input_watermark INTEGER NOT NULL, as_of_ms INTEGER NOT NULL,
  simulated INTEGER NOT NULL, change INTEGER NOT NULL`;

/**
 * Step n takes a ledger from version n to n + 1. Steps are only ever appended: a released one is never edited.
 * The keys of the results lead with what every query fixes (period, level) and go on in the order in which figures are read.
 */
export const migrations: readonly string[] = [
  `CREATE TABLE credential (
     kind TEXT NOT NULL, name TEXT NOT NULL, salt BLOB NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (kind, name)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE result (${resultColumns}, PRIMARY KEY (period, level, start_ms, entity, indicator)) STRICT, WITHOUT ROWID;
   CREATE INDEX result_provisional ON result (period, end_ms) WHERE status = 'provisional';
   CREATE TABLE result_history (
     ${resultColumns}, PRIMARY KEY (period, level, start_ms, entity, indicator, change)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE change_counter (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
   INSERT INTO change_counter VALUES (1, 0);
   CREATE TABLE first_birth (
     "group" TEXT NOT NULL, node TEXT NOT NULL, device TEXT NOT NULL, first_birth_ms INTEGER NOT NULL,
     PRIMARY KEY ("group", node, device)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE unregistered (
     "group" TEXT NOT NULL, node TEXT NOT NULL, device TEXT NOT NULL, first_seen_ms INTEGER NOT NULL,
     last_seen_ms INTEGER NOT NULL, PRIMARY KEY ("group", node, device)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE finding (
     code TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
     count INTEGER NOT NULL, PRIMARY KEY (code, subject)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE number (name TEXT PRIMARY KEY, value REAL NOT NULL) STRICT, WITHOUT ROWID;`,

  // The log in its order, when a figure first was in it, and who has a credential since when. A figure or a credential of version 1
  // does not say: 0 is before every position that a reader can hold, and null is shown as unknown.
  `CREATE INDEX result_change ON result (change);
   CREATE INDEX result_history_change ON result_history (change);
   ALTER TABLE result ADD COLUMN first_change INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE change_counter ADD COLUMN log TEXT NOT NULL DEFAULT '';
   UPDATE change_counter SET log = lower(hex(randomblob(8)));
   ALTER TABLE credential ADD COLUMN created_ms INTEGER;`,

  // Who a gateway was: the outbox files seen under its name. A higher `seen` was seen later.
  `CREATE TABLE node_box (
     seen INTEGER PRIMARY KEY, "group" TEXT NOT NULL, node TEXT NOT NULL, box TEXT NOT NULL, starts INTEGER NOT NULL,
     epoch TEXT NOT NULL, dropped_samples INTEGER NOT NULL, set_aside_records INTEGER NOT NULL, set_backs INTEGER NOT NULL,
     last_seen_ms INTEGER NOT NULL, UNIQUE ("group", node, box)
   ) STRICT;`,

  // The completeness ledger.
  completenessSchema,

  // What the completeness ledger has still to do, and ways to what is old in it.
  completenessDueSchema,

  // The registry over time, and who changed it.
  registrySchema,

  // What the KPI engine keeps, and what gateways accounted for by day.
  kpiSchema,
  pollSchema,

  // Since when versions of definitions are in force.
  definitionSchema,
  // Alarms by rule.
  alarmSchema,
  // In which periods something was found, and what cured it.
  findingSchema,
  // What a recompute has still to judge again.
  alarmAgainSchema,
  // Who may write figures.
  leaseSchema,
  // What births said of series when the KPI engine took it up.
  takenUpSchema,
  // Certificates of gateways, and tokens for the first of each.
  certificateSchema,
];

function pragma(db: DatabaseSync, name: string): number {
  return Number(Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
}

/**
 * Brings a ledger to the newest version, in one transaction: a kill half-way leaves the old version. Safe when several processes open
 * the same file at once: the version is read again under the write lock.
 * @returns the version found, which equals the newest when there was nothing to do
 * @throws JilianError LEDGER_NEWER when a later release has written the file, LEDGER_FOREIGN when it is another program's
 */
export function migrate(db: DatabaseSync, path: string, steps: readonly string[] = migrations): number {
  db.exec("BEGIN IMMEDIATE");
  try {
    const found = pragma(db, "user_version");
    const owner = pragma(db, "application_id");
    const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n);
    if (owner !== applicationId && (owner !== 0 || tables > 0)) {
      throw new JilianError(`${path} is a database of another program`, {
        code: "LEDGER_FOREIGN",
        action: "open the ledger",
        remedy: "name another file for the ledger in the configuration",
        address: path,
      });
    }
    if (found > steps.length) {
      throw new JilianError(`${path} has ledger version ${found}; this release knows versions up to ${steps.length}`, {
        code: "LEDGER_NEWER",
        action: "open the ledger",
        remedy: "start the release that wrote it, or restore the backup made before that release was installed",
        address: path,
      });
    }
    for (const step of steps.slice(found)) db.exec(step);
    if (found < steps.length) {
      db.exec(`PRAGMA application_id = ${applicationId}`);
      db.exec(`PRAGMA user_version = ${steps.length}`);
    }
    db.exec("COMMIT");
    return found;
  } catch (thrown) {
    db.exec("ROLLBACK");
    throw thrown;
  }
}
