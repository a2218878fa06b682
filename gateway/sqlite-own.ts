import { closeSync, openSync, readSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";

/** How much of a file is looked at to tell whose it is: SQLite's first pages hold the schema. */
const headBytes = 65_536;
const pageBytes = 4096;

/**
 * Whether a file that SQLite cannot read was one of ours: it says so in its header or by its schema, or its first page was never written or
 * is erased, which no file of a person is.
 * @param statement the beginning of a CREATE TABLE that no other file has
 */
export function wasOwn(path: string, applicationId: number, statement: string): boolean {
  const head = Buffer.alloc(headBytes);
  const handle = openSync(path, "r");
  let read: number;
  try {
    read = readSync(handle, head, 0, headBytes, 0);
  } finally {
    closeSync(handle);
  }
  const first = head.subarray(0, Math.min(read, pageBytes));
  if (first.every((byte) => byte === 0) || first.every((byte) => byte === 0xff)) return true;
  return head.readUInt32BE(68) === applicationId || head.includes(statement);
}

export type Migration = {
  readonly steps: readonly string[];
  readonly applicationId: number;
  /** What the file says of itself from its beginning on. */
  readonly meta: Readonly<Record<string, string>>;
};

/** Brings a schema from a version up to date in one transaction; a fresh file (version 0) runs every step. */
export function migrate(db: DatabaseSync, version: number, { steps, applicationId, meta }: Migration): void {
  if (version >= steps.length) return;
  db.exec("BEGIN IMMEDIATE");
  for (const step of steps.slice(version)) db.exec(step);
  const insert = db.prepare("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)");
  for (const [key, value] of Object.entries(meta)) insert.run(key, value);
  db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${steps.length}; COMMIT`);
}
