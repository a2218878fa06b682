import type { DatabaseSync } from "node:sqlite";
import type { AuditEntry, Ledger } from "../ledger.ts";
import type { RegistryLedger, StoredRegistryVersion } from "../registry-versions.ts";

/** Step of the ledger's schema. Rows of both tables are only ever added. */
export const registrySchema = `
   CREATE TABLE registry_version (
     number INTEGER PRIMARY KEY, version TEXT NOT NULL, from_ms INTEGER NOT NULL, applied_ms INTEGER NOT NULL,
     applied_by TEXT NOT NULL, note TEXT NOT NULL, file TEXT NOT NULL
   ) STRICT;
   CREATE TABLE audit (
     id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, origin TEXT NOT NULL, action TEXT NOT NULL,
     subject TEXT NOT NULL, detail TEXT NOT NULL
   ) STRICT;`;

/** Versions of the registry in the embedded ledger. */
export function registryRows(db: DatabaseSync): RegistryLedger {
  const all = db.prepare(
    `SELECT number, version, from_ms AS fromMs, applied_ms AS appliedMs, applied_by AS appliedBy, note, file AS fileJson
     FROM registry_version ORDER BY number`,
  );
  const last = db.prepare("SELECT coalesce(max(number), 0) AS number FROM registry_version");
  const insert = db.prepare(
    `INSERT INTO registry_version (version, from_ms, applied_ms, applied_by, note, file) VALUES (?, ?, ?, ?, ?, ?)`,
  );
  return {
    registryVersions: () => all.all().map((row) => ({ ...row }) as StoredRegistryVersion),
    lastRegistryNumber: () => Number(last.get()?.number),
    addRegistryVersion: ({ version, fromMs, appliedMs, appliedBy, note, fileJson }) =>
      Number(insert.run(version, fromMs, appliedMs, appliedBy, note, fileJson).lastInsertRowid),
  };
}

/** The audit table of the embedded ledger. */
export function auditLog(db: DatabaseSync): Pick<Ledger, "addAudit" | "audit"> {
  const insert = db.prepare(
    "INSERT INTO audit (at_ms, actor, origin, action, subject, detail) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const newest = db.prepare(
    `SELECT id, at_ms AS atMs, actor, origin, action, subject, detail FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?`,
  );
  return {
    addAudit: ({ atMs, actor, origin, action, subject, detail }) => {
      insert.run(atMs, actor, origin, action, subject, detail);
    },
    audit: ({ beforeId = Number.MAX_SAFE_INTEGER, limit }) =>
      newest.all(beforeId, limit).map((row) => ({ ...row }) as AuditEntry),
  };
}
