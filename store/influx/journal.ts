import { randomUUID } from "node:crypto";
import { JilianError } from "@jilian/domain/errors.ts";
import { greatestOf } from "@jilian/domain/lists.ts";
import { commitSet } from "../columns/commit-set.ts";
import type { ChangedColumns } from "../columns/packing.ts";
import type { CommitEntry } from "../telemetry.ts";
import type { Block } from "./answer.ts";
import { changeSet, readChanges, writeChanges } from "./changes.ts";
import type { InfluxClient } from "./client.ts";
import { readCommits, writeCommits } from "./commits.ts";
import { ownWrite } from "./faults.ts";
import { fixedTimeMs } from "./series.ts";
import { lineText, within } from "./text.ts";

/**
 * What InfluxDB lacks: transactions. A transaction is samples that carry its number, then one journal entry with its commit ranges and
 * changed minutes, at the time `number` ms. It is confirmed when its entry is; until then its samples are as good as not there. Why this
 * holds through a kill, a lost answer or a request that arrives late, at any point:
 *
 * - The entry is sent after InfluxDB has acknowledged every sample. So an entry, whenever it arrives, never tells of missing samples.
 * - A number belongs to one batch. A write whose outcome is unknown is completed with the very same lines before the next begins
 *   (write.ts); one that InfluxDB refuses has its number voided for ever (`store_void`), and void beats an entry, in whatever order they
 *   arrive. After an unclean end at number n the next owner voids n + 1, the only one that can be under way.
 * - A sample that is found again and whose transaction is void or unknown is written again, under the new number, and its minute counts
 *   as changed. So what a killed transaction left behind reaches the figures when its gateway sends it again, as it must, because the
 *   commit was not confirmed.
 * - Whoever opens the store writes its name (`store_owner`) before it reads anything; a writer acknowledges nothing before it has read
 *   its own name after its entry. So what an owner acknowledged, its successor has read; two owners at once cannot both acknowledge.
 * - Rewriting is harmless: the same key is only ever written with the same content.
 */
export type Journal = {
  /** Number of the last transaction, void ones included. */
  readonly lastTx: () => number;
  /** True for a transaction that was acknowledged, here or by an owner before. */
  readonly isConfirmed: (tx: number) => boolean;
  readonly committed: () => CommitEntry[];
  /** Writes the entry of the next transaction, whose samples are acknowledged. Again with the same content when its outcome is unknown. */
  readonly write: (commits: readonly CommitEntry[], changed: ChangedColumns) => Promise<void>;
  /** Takes the number of the next transaction out of use; what carries it counts as not stored. Idempotent until it has succeeded. */
  readonly writeVoid: () => Promise<void>;
  readonly changedMinutes: (afterTx: number, upToTx: number) => Promise<ChangedColumns>;
  /** @throws JilianError STORE_LOCKED when another process has opened this database since */
  readonly fence: () => Promise<void>;
  /** Notes that nothing is under way, so that the next owner goes on with the next number. */
  readonly writeClosed: () => Promise<void>;
};

export type JournalOptions = {
  /** Entries above which the commit ranges are written merged, so that opening reads no more than that. */
  snapshotEntries: number;
  /** Called once, when another process has taken over. */
  onFenced: (error: JilianError) => void;
};

/** String fields end at 64 kB in 2.x: longer texts go on in further points. */
const partCharacters = 48_000;
const entriesPerQuery = 500;
/** Changed minutes of the newest transactions kept in memory: the KPI engine asks for them within a second. */
const keptTransactions = 2_000;
const keptChanges = 500_000;

/** Lines of one record of one or two texts: the head last, because a record without a head is none. */
function recordLines(measurement: string, atMs: number, texts: Record<string, string>, fields = ""): string[][] {
  const most = greatestOf(Object.values(texts).map((text) => text.length));
  const parts = Math.max(1, Math.ceil(most / partCharacters));
  const line = (part: number) => {
    const own = Object.entries(texts).map(([name, text]) => {
      const piece = text.slice(part * partCharacters, (part + 1) * partCharacters);
      return `${name}=${lineText(piece)}`;
    });
    const tag = part === 0 ? "" : `,part=${part}`;
    const head = part === 0 ? `,parts=${parts}i${fields}` : "";
    return `${measurement}${tag} ${own.join(",")}${head} ${atMs}`;
  };
  const rest = Array.from({ length: parts - 1 }, (_, i) => line(i + 1));
  return rest.length > 0 ? [rest, [line(0)]] : [[line(0)]];
}

/** Texts of records by their time, from an answer grouped by part. */
function recordTexts(blocks: readonly Block[]): Map<number, string> {
  const found = new Map<number, string>();
  const parts = blocks.map(({ tags, values }) => ({ part: Number(tags.part || 0), values }));
  for (const { values } of parts.sort((a, b) => a.part - b.part)) {
    for (const [ms, text] of values) found.set(Number(ms), (found.get(Number(ms)) ?? "") + String(text ?? ""));
  }
  return found;
}

/** Time of the last point that has a field; 0 for none. */
async function lastTime(client: InfluxClient, measurement: string, field: string): Promise<number> {
  const [found] = await client.query(`SELECT "${field}" FROM "${measurement}" ORDER BY time DESC LIMIT 1`);
  return Number(found?.values[0]?.[0] ?? 0);
}

/** The newest transactions' changed minutes. What is no longer kept is read from the entries. */
function keptChangesBook() {
  const kept = new Map<number, ChangedColumns>();
  let rows = 0;
  return {
    add: (tx: number, changed: ChangedColumns) => {
      kept.set(tx, changed);
      rows += changed[0]?.length ?? 0;
      for (const [old, { 0: series }] of kept) {
        if (kept.size <= keptTransactions && rows <= keptChanges) break;
        rows -= series?.length ?? 0;
        kept.delete(old);
      }
    },
    /** All of (afterTx, upToTx], or undefined when some of it is not kept. */
    between: (afterTx: number, upToTx: number): ChangedColumns[] | undefined => {
      const found: ChangedColumns[] = [];
      for (let tx = afterTx + 1; tx <= upToTx; tx += 1) {
        const changed = kept.get(tx);
        if (!changed) return undefined;
        found.push(changed);
      }
      return found;
    },
  };
}

function fenced(address: string): JilianError {
  return new JilianError("another process has opened this InfluxDB database as its owner", {
    code: "STORE_LOCKED",
    action: "write to InfluxDB",
    address,
    remedy: "run one ingest for a database; stop the other one, or give it a database of its own",
  });
}

async function readVoids(client: InfluxClient): Promise<Set<number>> {
  const [found] = await client.query(`SELECT "session" FROM "store_void"`);
  return new Set((found?.values ?? []).map(([ms]) => Number(ms)));
}

/** Commit ranges of all confirmed transactions: the last snapshot, and the entries after it. */
async function readAllCommits(client: InfluxClient, lastTx: number, voids: ReadonlySet<number>) {
  const commits = commitSet();
  const snapshotTx = await lastTime(client, "store_commits", "parts");
  const field = `SELECT "commits" FROM`;
  if (snapshotTx > 0) {
    const at = within(snapshotTx, snapshotTx + 1);
    const blocks = await client.query(`${field} "store_commits" WHERE ${at} GROUP BY "part"`);
    commits.add(readCommits(recordTexts(blocks).get(snapshotTx) ?? ""));
  }
  for (let fromTx = snapshotTx + 1; fromTx <= lastTx; fromTx += entriesPerQuery) {
    const some = within(fromTx, fromTx + entriesPerQuery);
    const blocks = await client.query(`${field} "store_journal" WHERE ${some} GROUP BY "part"`);
    for (const [tx, text] of recordTexts(blocks)) if (!voids.has(tx)) commits.add(readCommits(text));
  }
  return { commits, snapshotTx };
}

/** @returns the session that owns the store now, and whether the one before ended in order at `lastTx` */
async function takeOver(client: InfluxClient) {
  const session = randomUUID();
  const [before] = await client.query(`SELECT "session" FROM "store_owner"`);
  await client.write([`store_owner session=${lineText(session)} ${fixedTimeMs}`]);
  const lastTx = Math.max(
    await lastTime(client, "store_journal", "parts"),
    await lastTime(client, "store_void", "session"),
  );
  const [closed] = await client.query(`SELECT "session", "tx" FROM "store_closed"`);
  const [, closedSession, closedTx] = closed?.values.at(-1) ?? [];
  const owner = before?.values.at(-1)?.[1];
  const clean = (owner === undefined && lastTx === 0) || (owner === closedSession && Number(closedTx) === lastTx);
  return { session, lastTx, clean };
}

/** Checks who owns the store; once it is another, it stays so. */
function createFence(
  client: InfluxClient,
  session: string,
  error: JilianError,
  onFenced: JournalOptions["onFenced"],
): () => Promise<void> {
  let isFenced = false;
  return async () => {
    if (!isFenced) {
      const [owner] = await client.query(`SELECT "session" FROM "store_owner"`);
      if (owner?.values.at(-1)?.[1] === session) return;
      isFenced = true;
      // After the calls under way have got their answer.
      setImmediate(() => onFenced(error));
    }
    throw error;
  };
}

/** @throws what the client throws; JilianError STORE_LOCKED when another process opens the store at the same time */
export async function openJournal(
  writing: InfluxClient,
  address: string,
  { snapshotEntries, onFenced }: JournalOptions,
): Promise<Journal> {
  const client = { ...writing, write: ownWrite(writing.write, address) };
  const { session, lastTx: foundTx, clean } = await takeOver(client);
  const voids = await readVoids(client);
  const { commits, snapshotTx } = await readAllCommits(client, foundTx, voids);
  const kept = keptChangesBook();
  const fence = createFence(client, session, fenced(address), onFenced);
  let lastTx = foundTx;
  let snapshotAtTx = snapshotTx;

  /** The head is sent after the rest is acknowledged. */
  async function writeRecord(groups: readonly string[][]): Promise<void> {
    for (const lines of groups) await client.write(lines);
  }

  async function writeVoid(): Promise<void> {
    await client.write([`store_void session=${lineText(session)} ${lastTx + 1}`]);
    await fence();
    lastTx += 1;
    voids.add(lastTx);
    kept.add(lastTx, []);
  }

  /** Not needed for what is stored, only for a fast start: a failure is left to the next time. */
  async function writeSnapshot(): Promise<void> {
    if (lastTx - snapshotAtTx < snapshotEntries) return;
    const all = commits.all();
    const pieces = all.reduce((sum, { ranges }) => sum + ranges.length, 0);
    // Where little merges, rewriting must not become a habit.
    if (lastTx - snapshotAtTx < 2 * pieces) return;
    snapshotAtTx = lastTx;
    await writeRecord(recordLines("store_commits", lastTx, { commits: writeCommits(all) })).catch(() => undefined);
  }

  async function write(entries: readonly CommitEntry[], changed: ChangedColumns): Promise<void> {
    const tx = lastTx + 1;
    const texts = { commits: writeCommits(entries), changed: writeChanges(changed) };
    await writeRecord(recordLines("store_journal", tx, texts, `,session=${lineText(session)}`));
    await fence();
    lastTx = tx;
    commits.add(entries);
    kept.add(tx, changed);
    await writeSnapshot();
  }

  async function changedMinutes(afterTx: number, upToTx: number): Promise<ChangedColumns> {
    const [from, to] = [Math.max(0, afterTx) + 1, Math.min(upToTx, lastTx)];
    const found = changeSet();
    const known = kept.between(from - 1, to);
    for (const columns of known ?? []) found.addColumns(columns);
    for (let fromTx = from; !known && fromTx <= to; fromTx += entriesPerQuery) {
      const some = within(fromTx, Math.min(fromTx + entriesPerQuery, to + 1));
      const blocks = await client.query(`SELECT "changed" FROM "store_journal" WHERE ${some} GROUP BY "part"`);
      for (const [tx, text] of recordTexts(blocks)) if (!voids.has(tx)) readChanges(text, found.add);
    }
    return found.columns();
  }

  if (!clean) await writeVoid();
  await fence();
  return {
    lastTx: () => lastTx,
    isConfirmed: (tx) => tx <= lastTx && !voids.has(tx),
    committed: commits.all,
    write,
    writeVoid,
    changedMinutes,
    fence,
    writeClosed: async () => {
      await fence();
      await client.write([`store_closed session=${lineText(session)},tx=${lastTx}i ${fixedTimeMs}`]);
    },
  };
}
