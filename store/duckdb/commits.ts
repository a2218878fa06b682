import { BIGINT, type DuckDBConnection, VARCHAR } from "@duckdb/node-api";
import { commitSet } from "../columns/commit-set.ts";
import type { CommitEntry } from "../telemetry.ts";
import { append, transaction } from "./database.ts";

/** Rows of commit_range above which it is rewritten merged: each batch adds some, and merged they are a handful for each epoch. */
const compactAboveRows = { atStart: 4_096, running: 65_536 };

/** What is committed, merged, in memory; the table holds the same, in pieces. */
export type CommitBook = {
  readonly all: () => CommitEntry[];
  /** Greatest transaction number among the ranges stored. */
  readonly lastTx: () => number;
  /** Stores ranges in the transaction that the connection is in. */
  readonly append: (entries: readonly CommitEntry[], tx: number) => Promise<void>;
  /** Notes ranges as stored, after the transaction. */
  readonly note: (entries: readonly CommitEntry[], tx: number) => void;
  /** Rewrites the table merged when it has grown long. In a transaction of its own. */
  readonly compact: () => Promise<void>;
};

type Piece = { group: string; node: string; epoch: string; first: number; last: number };

const pieces = (entries: readonly CommitEntry[]): Piece[] =>
  entries.flatMap(({ group, node, epoch, ranges }) =>
    ranges.map(([first, last]) => ({ group, node, epoch, first, last })),
  );

async function appendPieces(connection: DuckDBConnection, rows: readonly Piece[], tx: number): Promise<void> {
  const row = (i: number) => rows[i] as Piece;
  const at = BigInt(tx);
  await append(connection, "commit_range", rows.length, [
    [VARCHAR, (i) => row(i).group],
    [VARCHAR, (i) => row(i).node],
    [VARCHAR, (i) => row(i).epoch],
    [BIGINT, (i) => BigInt(row(i).first)],
    [BIGINT, (i) => BigInt(row(i).last)],
    [BIGINT, () => at],
  ]);
}

/**
 * Overlapping and adjacent pieces are merged by the query, so that a long table does not become a long list here. Each piece once: of two
 * that are alike, the two windows may take either first, and the one that begins no island would join the island before, gap included.
 */
const mergedQuery = `
  SELECT grp, node, epoch, min(first_offset)::DOUBLE, max(last_offset)::DOUBLE FROM (
    SELECT *, sum(apart) OVER (PARTITION BY grp, node, epoch ORDER BY first_offset, last_offset ROWS UNBOUNDED PRECEDING) AS island
    FROM (SELECT *, CASE WHEN first_offset <= 1 + max(last_offset) OVER (PARTITION BY grp, node, epoch
        ORDER BY first_offset, last_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS apart
      FROM (SELECT DISTINCT grp, node, epoch, first_offset, last_offset FROM commit_range)))
  GROUP BY grp, node, epoch, island ORDER BY ALL`;

export async function openCommitBook(connection: DuckDBConnection): Promise<CommitBook> {
  const held = commitSet();
  const size = await (await connection.run("SELECT count(*)::DOUBLE, max(tx)::DOUBLE FROM commit_range")).getRows();
  let rows = Number(size[0]?.[0]);
  let lastTx = Number(size[0]?.[1] ?? 0);
  let mergedRows = 0;

  async function compact(above: number): Promise<void> {
    // Twice what the last merge left: where little merges, rewriting must not become a habit.
    if (rows <= Math.max(above, 2 * mergedRows)) return;
    const merged = pieces(held.all());
    await transaction(connection, async () => {
      await connection.run("DELETE FROM commit_range");
      await appendPieces(connection, merged, lastTx);
    });
    rows = merged.length;
    mergedRows = rows;
  }

  for (const row of await (await connection.run(mergedQuery)).getRows()) {
    const [group, node, epoch, first, last] = row as [string, string, string, number, number];
    held.add([{ group, node, epoch, ranges: [[first, last]] }]);
  }
  await compact(compactAboveRows.atStart);
  return {
    all: held.all,
    lastTx: () => lastTx,
    append: (entries, tx) => appendPieces(connection, pieces(entries), tx),
    note: (entries, tx) => {
      held.add(entries);
      rows += pieces(entries).length;
      lastTx = Math.max(lastTx, tx);
    },
    compact: () => compact(compactAboveRows.running),
  };
}
