import { createHash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import type { CertificateLedger, EnrolmentToken, GatewayCertificate } from "../certificates.ts";

/**
 * Step of the ledger's schema. The revision is counted by triggers: whatever changes who may come in is seen, in whichever process and by
 * whichever code it was changed.
 */
export const certificateSchema = `
   CREATE TABLE enrolment_token (
     hash TEXT PRIMARY KEY, "group" TEXT NOT NULL, node TEXT NOT NULL, created_ms INTEGER NOT NULL,
     expires_ms INTEGER NOT NULL, used_ms INTEGER
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE certificate (
     serial TEXT PRIMARY KEY, "group" TEXT NOT NULL, node TEXT NOT NULL, issued_ms INTEGER NOT NULL,
     expires_ms INTEGER NOT NULL, renews TEXT, key_hash TEXT NOT NULL, pem TEXT NOT NULL, revoked_ms INTEGER
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX certificate_gateway ON certificate ("group", node);
   CREATE TABLE access_revision (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL) STRICT;
   INSERT INTO access_revision VALUES (1, 0);
   CREATE TRIGGER credential_set AFTER UPDATE ON credential BEGIN UPDATE access_revision SET revision = revision + 1; END;
   CREATE TRIGGER credential_made AFTER INSERT ON credential BEGIN UPDATE access_revision SET revision = revision + 1; END;
   CREATE TRIGGER credential_gone AFTER DELETE ON credential BEGIN UPDATE access_revision SET revision = revision + 1; END;
   CREATE TRIGGER certificate_revoked AFTER UPDATE ON certificate BEGIN UPDATE access_revision SET revision = revision + 1; END;`;

const tokenColumns = `hash, "group", node, created_ms AS createdMs, expires_ms AS expiresMs, used_ms AS usedMs`;
const certificateColumns = `serial, "group", node, issued_ms AS issuedMs, expires_ms AS expiresMs, renews, key_hash AS keyHash, pem,
  revoked_ms AS revokedMs`;

function tokens(db: DatabaseSync): Pick<CertificateLedger, "addToken" | "token" | "useToken" | "withdrawTokens"> {
  const insert = db.prepare("INSERT INTO enrolment_token VALUES (?, ?, ?, ?, ?, NULL)");
  const select = db.prepare(`SELECT ${tokenColumns} FROM enrolment_token WHERE hash = ?`);
  const use = db.prepare(
    "UPDATE enrolment_token SET used_ms = ?2 WHERE hash = ?1 AND used_ms IS NULL AND expires_ms > ?2",
  );
  const withdraw = db.prepare(
    `UPDATE enrolment_token SET used_ms = ?3 WHERE "group" = ?1 AND node = ?2 AND used_ms IS NULL AND expires_ms > ?3`,
  );
  return {
    addToken: ({ hash, group, node, createdMs, expiresMs }) => {
      insert.run(hash, group, node, createdMs, expiresMs);
    },
    token: (hash) => {
      const row = select.get(hash);
      return row && ({ ...row } as EnrolmentToken);
    },
    useToken: (hash, nowMs) => use.run(hash, nowMs).changes === 1,
    withdrawTokens: ({ group, node }, nowMs) => Number(withdraw.run(group, node, nowMs).changes),
  };
}

/** Tokens and certificates of the embedded ledger. */
export function certificateLedger(db: DatabaseSync): CertificateLedger {
  const insert = db.prepare("INSERT INTO certificate VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)");
  const select = db.prepare(`SELECT ${certificateColumns} FROM certificate WHERE serial = ?`);
  const all = db.prepare(
    `SELECT ${certificateColumns} FROM certificate ORDER BY "group", node, issued_ms DESC, serial`,
  );
  const ofGateway = db.prepare(
    `SELECT ${certificateColumns} FROM certificate WHERE "group" = ? AND node = ? ORDER BY issued_ms DESC, serial`,
  );
  const revoke = db.prepare("UPDATE certificate SET revoked_ms = ?2 WHERE serial = ?1 AND revoked_ms IS NULL");
  const revision = db.prepare("SELECT revision FROM access_revision");
  const secret = db.prepare("SELECT salt, hash FROM credential WHERE kind = ? AND name = ?");
  return {
    ...tokens(db),
    addCertificate: ({ serial, group, node, issuedMs, expiresMs, renews, keyHash, pem }) => {
      insert.run(serial, group, node, issuedMs, expiresMs, renews, keyHash, pem);
    },
    certificate: (serial) => {
      const row = select.get(serial);
      return row && ({ ...row } as GatewayCertificate);
    },
    certificates: (gateway) =>
      (gateway ? ofGateway.all(gateway.group, gateway.node) : all.all()).map(
        (row) => ({ ...row }) as GatewayCertificate,
      ),
    revokeCertificate: (serial, nowMs) => revoke.run(serial, nowMs).changes === 1,
    accessRevision: () => Number(revision.get()?.revision),
    credentialStamp: (kind, name) => {
      const row = secret.get(kind, name) as { salt: Uint8Array; hash: Uint8Array } | undefined;
      return row && createHash("sha256").update(row.salt).update(row.hash).digest("base64");
    },
  };
}
