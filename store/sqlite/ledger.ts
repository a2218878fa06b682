import { closeSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { JilianError } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import type { FirstBirth, Ledger, UnregisteredDevice } from "../ledger.ts";
import { alarmLedger } from "./alarms.ts";
import { certificateLedger } from "./certificates.ts";
import { completenessLedger } from "./completeness.ts";
import { credentials } from "./credentials.ts";
import { definitionLedger } from "./definitions.ts";
import { findingLedger } from "./findings.ts";
import { kpiLedger } from "./kpi.ts";
import { leaseLedger } from "./leases.ts";
import { nodeBoxes } from "./node-boxes.ts";
import { auditLog, registryRows } from "./registry.ts";
import { changeLog, results } from "./results.ts";
import { migrate, migrations } from "./schema.ts";

const busyTimeoutMs = 5000;

function openError(path: string, cause: unknown): JilianError {
  return new JilianError(`cannot open the ledger ${path}`, {
    code: "LEDGER_UNREADABLE",
    action: "open the ledger",
    remedy: "check that the folder exists, that this user may write in it, and that the file is a ledger",
    address: path,
    cause,
  });
}

/** Opens the file, made readable by its owner alone: it holds hashes of secrets. */
function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    closeSync(openSync(path, "a", 0o600));
    db = new DatabaseSync(path, { timeout: busyTimeoutMs });
    // WAL lets the api read while the engine writes; FULL because a result that was served must survive a power cut.
    db.exec("PRAGMA synchronous = FULL");
    db.exec("PRAGMA journal_mode = WAL");
    return db;
  } catch (cause) {
    db?.close();
    throw openError(path, cause);
  }
}

/** Transactions that take the write lock at once, so that what they read cannot change before they write; inner ones are savepoints. */
function transactions(db: DatabaseSync): Ledger["transaction"] {
  let depth = 0;
  return (work) => {
    const [begin, commit, rollback] =
      depth === 0
        ? ["BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"]
        : [`SAVEPOINT s${depth}`, `RELEASE s${depth}`, `ROLLBACK TO s${depth}; RELEASE s${depth}`];
    db.exec(begin);
    depth += 1;
    try {
      const result = work();
      db.exec(commit);
      return result;
    } catch (thrown) {
      // A full disk makes SQLite roll back by itself; a second rollback would hide the cause.
      if (db.isTransaction) db.exec(rollback);
      throw thrown;
    } finally {
      depth -= 1;
    }
  };
}

function births(db: DatabaseSync): Pick<Ledger, "noteBirth" | "firstBirths" | "noteUnregistered" | "unregistered"> {
  const insert = db.prepare("INSERT OR IGNORE INTO first_birth VALUES (?, ?, ?, ?)");
  const earlier = db.prepare(
    `UPDATE first_birth SET first_birth_ms = ?4 WHERE "group" = ?1 AND node = ?2 AND device = ?3 AND first_birth_ms > ?4`,
  );
  const all = db.prepare(
    `SELECT "group", node, device, first_birth_ms AS firstBirthMs FROM first_birth ORDER BY "group", node, device`,
  );
  const seen = db.prepare(
    `INSERT INTO unregistered VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO UPDATE SET
       first_seen_ms = min(first_seen_ms, ?4), last_seen_ms = max(last_seen_ms, ?4)`,
  );
  const strangers = db.prepare(
    `SELECT "group", node, device, first_seen_ms AS firstSeenMs, last_seen_ms AS lastSeenMs
     FROM unregistered ORDER BY "group", node, device`,
  );
  return {
    noteBirth: ({ group, node, device, firstBirthMs }) => {
      if (insert.run(group, node, device, firstBirthMs).changes === 1) return true;
      earlier.run(group, node, device, firstBirthMs);
      return false;
    },
    firstBirths: () => all.all().map((row) => ({ ...row }) as FirstBirth),
    noteUnregistered: ({ group, node, device }, atMs) => {
      seen.run(group, node, device, atMs);
    },
    unregistered: () => strangers.all().map((row) => ({ ...row }) as UnregisteredDevice),
  };
}

function numbers(db: DatabaseSync): Pick<Ledger, "getNumber" | "setNumber"> {
  const select = db.prepare("SELECT value FROM number WHERE name = ?");
  const upsert = db.prepare("INSERT INTO number VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2");
  return {
    getNumber: (name) => select.get(name)?.value as number | undefined,
    setNumber: (name, value) => {
      upsert.run(name, value);
    },
  };
}

/**
 * Opens the embedded ledger: one SQLite file that several processes of this machine share (not over a network file system). The file is
 * made where it is missing, its folder is not.
 * @throws JilianError LEDGER_UNREADABLE, LEDGER_FOREIGN, LEDGER_NEWER
 */
export function openLedger({ path, log }: { path: string; log: Logger }): Ledger {
  const db = openDatabase(path);
  try {
    const found = migrate(db, path);
    if (found < migrations.length) log.info({ path, from: found, to: migrations.length }, "ledger migrated");
    const transaction = transactions(db);
    return {
      ...credentials(db),
      ...certificateLedger(db),
      ...results(db, transaction),
      ...changeLog(db),
      ...completenessLedger(db, transaction),
      ...births(db),
      ...findingLedger(db, transaction),
      ...nodeBoxes(db),
      ...numbers(db),
      ...kpiLedger(db, transaction),
      ...definitionLedger(db),
      ...leaseLedger(db, transaction),
      ...alarmLedger(db, transaction),
      ...registryRows(db),
      ...auditLog(db),
      transaction,
      close: () => {
        if (db.isOpen) db.close();
      },
    };
  } catch (thrown) {
    db.close();
    throw thrown instanceof JilianError ? thrown : openError(path, thrown);
  }
}
