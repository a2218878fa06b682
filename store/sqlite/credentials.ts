import { createHmac, randomBytes, scryptSync, timingSafeEqual } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { JilianError } from "@jilian/domain/errors.ts";
import { isId } from "@jilian/domain/identity.ts";
import type { CredentialView, Ledger, Principal } from "../ledger.ts";

/** About 7 ms and 4 MiB a check on one desktop core: a storm of 100 reconnecting gateways costs a small server a second or two. */
const cost = { N: 2 ** 12, r: 8, p: 1 };
const hashBytes = 32;
const minSecretLength = 8;
/** Remembered verdicts; the oldest goes first. Each is 44 characters and a flag. */
const maxVerdicts = 4096;

type Kind = Principal["kind"];
type Row = { salt: Uint8Array; hash: Uint8Array };

function refuse(message: string, remedy: string): never {
  throw new JilianError(message, { code: "CREDENTIAL_INVALID", action: "set a credential", remedy });
}

function principalOf(kind: Kind, name: string): Principal | undefined {
  if (kind === "viewer") {
    const [own = "", enterprise = "", ...others] = name.split("@");
    return isId(own) && isId(enterprise) && others.length === 0 ? { kind, name, enterprise } : undefined;
  }
  if (kind !== "gateway") return isId(name) ? { kind, name } : undefined;
  const [group = "", node = "", ...rest] = name.split("/");
  return isId(group) && isId(node) && rest.length === 0 ? { kind, name, group, node } : undefined;
}

function checkNew(principal: Principal, secret: string): void {
  const { kind, name } = principal;
  const known = principalOf(kind, name);
  const form = { gateway: 'use "group/node" in lower-case ids', viewer: 'use "name@enterprise" in lower-case ids' };
  // The parts that a name has are those the principal says.
  if (known === undefined || JSON.stringify({ ...known, ...principal }) !== JSON.stringify(known)) {
    refuse(
      `"${name}" cannot be the name of a ${kind}`,
      kind === "gateway" || kind === "viewer" ? form[kind] : "use a lower-case id",
    );
  }
  if (secret.length < minSecretLength) {
    refuse(`the secret of "${name}" is shorter than ${minSecretLength} characters`, "use a longer, random secret");
  }
  if ((kind === "api" || kind === "operator") && secret.includes(".")) {
    refuse(`the secret of "${name}" holds a dot, which separates name and secret in a key`, "leave out the dot");
  }
}

/**
 * Credentials of a ledger. Hashes are scrypt with a salt for each credential. Verdicts, good and bad, are remembered under a keyed digest
 * that covers the stored hash too: repeated connects and requests are cheap, and a credential changed by another process counts at once.
 */
export function credentials(
  db: DatabaseSync,
): Pick<Ledger, "setCredential" | "authenticate" | "authenticateKey" | "revokeCredential" | "credentials"> {
  const select = db.prepare("SELECT salt, hash FROM credential WHERE kind = ? AND name = ?");
  const upsert = db.prepare(
    `INSERT INTO credential (kind, name, salt, hash, created_ms)
     VALUES (?, ?, ?, ?, CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER))
     ON CONFLICT DO UPDATE SET salt = excluded.salt, hash = excluded.hash, created_ms = excluded.created_ms`,
  );
  const remove = db.prepare("DELETE FROM credential WHERE kind = ? AND name = ?");
  const listed = db.prepare("SELECT kind, name, created_ms AS createdMs FROM credential ORDER BY kind, name");
  const processKey = randomBytes(32);
  const nobody: Row = { salt: randomBytes(16), hash: randomBytes(hashBytes) };
  const verdicts = new Map<string, boolean>();

  function verify(kind: Kind, name: string, secret: string, row: Row): boolean {
    const digest = createHmac("sha256", processKey)
      .update(row.hash)
      .update(JSON.stringify([kind, name, secret]))
      .digest("base64");
    const remembered = verdicts.get(digest);
    if (remembered !== undefined) return remembered;
    const verdict = timingSafeEqual(scryptSync(secret, row.salt, hashBytes, cost), row.hash);
    if (verdicts.size >= maxVerdicts) verdicts.delete(verdicts.keys().next().value as string);
    verdicts.set(digest, verdict);
    return verdict;
  }

  function authenticate(kind: Kind, name: string, secret: string): Principal | undefined {
    // An unknown name is checked against nobody's hash: it costs what a wrong secret costs.
    const row = (select.get(kind, name) as Row | undefined) ?? nobody;
    return verify(kind, name, secret, row) ? principalOf(kind, name) : undefined;
  }

  return {
    setCredential: (principal, secret) => {
      checkNew(principal, secret);
      const salt = randomBytes(16);
      upsert.run(principal.kind, principal.name, salt, scryptSync(secret, salt, hashBytes, cost));
    },
    authenticate,
    revokeCredential: (kind, name) => remove.run(kind, name).changes === 1,
    credentials: () => listed.all().map((row) => ({ ...row }) as CredentialView),
    authenticateKey: (key, kind: Kind = "api") => {
      const dot = key.lastIndexOf(".");
      return authenticate(kind, key.slice(0, Math.max(dot, 0)), key.slice(dot + 1));
    },
  };
}
