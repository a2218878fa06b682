import type { DatabaseSync } from "node:sqlite";
import { type HistoryRow, type KnownTag, rowOf, tagOf, valueColumns } from "./history-tables.ts";

/** Rows of one query: little in memory, and no read that holds up the gateway's log for long. */
const pageRows = 2000;

/** All tags that the file has ever held, by id. */
export function readTags(db: DatabaseSync): Map<number, KnownTag> {
  const rows = db.prepare("SELECT * FROM tag ORDER BY id").all();
  return new Map(rows.map(tagOf).map((tag) => [tag.id, tag]));
}

/**
 * The rows of some tags from a quarter hour (inclusive) to another (exclusive), in the order of time, page by page: the file may be written
 * meanwhile.
 */
export function* readRows(
  db: DatabaseSync,
  from: number,
  to: number,
  wanted: ReadonlySet<number>,
): Generator<HistoryRow> {
  const select = db.prepare(
    `SELECT ${valueColumns} FROM value WHERE (quarter, tag) > (?, ?) AND quarter < ?
     AND tag IN (SELECT value FROM json_each(?)) ORDER BY quarter, tag LIMIT ${pageRows}`,
  );
  select.setReadBigInts(true);
  const ids = JSON.stringify([...wanted]);
  let after: readonly [number, number] = [from, -1];
  for (;;) {
    const rows = select.all(...after, to, ids).map(rowOf);
    yield* rows;
    const last = rows.at(-1);
    if (!last || rows.length < pageRows) return;
    after = [last.quarter, last.tag];
  }
}
