import { createHash, randomBytes } from "node:crypto";

/** Crockford's base 32: no I, L, O, U, so that a token can be read out over the telephone. */
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const groups = 5;
const groupLength = 5;

/** A one-time token of 125 random bits: `7K2QM-...`, five groups of five. */
export function newToken(): string {
  const letters = [...randomBytes(groups * groupLength)].map((byte) => alphabet[byte % 32]);
  return Array.from({ length: groups }, (_, i) => letters.slice(i * groupLength, (i + 1) * groupLength).join("")).join(
    "-",
  );
}

/**
 * What the ledger keeps of a token; however it was typed: small letters, without dashes, O for 0, I or L for 1. A fast hash is enough,
 * since nobody can guess 125 bits.
 */
export function tokenHash(token: string): string {
  const plain = token.toUpperCase().replaceAll(/[\s-]/g, "").replaceAll("O", "0").replaceAll(/[IL]/g, "1");
  return createHash("sha256").update(`jilian enrolment ${plain}`).digest("hex");
}
