import type { DatabaseSync } from "node:sqlite";
import type { Ledger, NodeBox } from "../ledger.ts";

/** Boxes kept for a gateway: more were never one gateway's, and a name that is misused must not fill the ledger. */
const boxesPerNode = 16;

export function nodeBoxes(db: DatabaseSync): Pick<Ledger, "nodeBoxes" | "noteNodeBox"> {
  const select = db.prepare(
    `SELECT "group", node, box, starts, epoch, dropped_samples AS droppedSamples, set_aside_records AS setAsideRecords,
       set_backs AS setBacks, last_seen_ms AS lastSeenMs FROM node_box WHERE "group" = ? AND node = ? ORDER BY seen DESC`,
  );
  // A row that replaces another gets the highest number, whatever the clocks say.
  const replace = db.prepare(
    `INSERT OR REPLACE INTO node_box ("group", node, box, starts, epoch, dropped_samples, set_aside_records, set_backs, last_seen_ms)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const trim = db.prepare(
    `DELETE FROM node_box WHERE "group" = ?1 AND node = ?2 AND seen NOT IN
       (SELECT seen FROM node_box WHERE "group" = ?1 AND node = ?2 ORDER BY seen DESC LIMIT ${boxesPerNode})`,
  );
  return {
    nodeBoxes: (group, node) => select.all(group, node).map((row) => ({ ...row }) as NodeBox),
    noteNodeBox: (found) => {
      const { group, node, box, starts, epoch, droppedSamples, setAsideRecords, setBacks, lastSeenMs } = found;
      replace.run(group, node, box, starts, epoch, droppedSamples, setAsideRecords, setBacks, lastSeenMs);
      trim.run(group, node);
    },
  };
}
