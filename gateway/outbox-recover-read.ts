import { existsSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { codeOf } from "@jilian/domain/errors.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { sqliteCode } from "./outbox-file.ts";

type Row = Record<string, unknown>;
type Metric = { device: string; definition: MetricDefinition };

/** How far a walk came: `skipped` positions could not be read. */
export type Walked = { after: number; skipped: number };
/** Takes a row in; false: not now, the walk ends before it. */
type Take = (row: Row, position: number) => boolean;

/** SQLite's codes for a connection in use, want of memory, and a file that cannot be opened: they say nothing of the file's pages. */
const passing = new Set([5, 6, 7, 14]);
/** Positions that are tried one by one in a stretch that cannot be read; beyond them its steps grow with its length. */
const singleSteps = 1024;
/** Bytes of a file that hold one record at least: it has no more of them, whatever a damaged counter says. */
const leastRecordBytes = 16;
/** Where no position could be found that ends the records. */
const unknownEnd = 2 ** 32;

/** Whether it comes from damage, and not from a fault of the program or a medium that is away. */
export function isDamage(thrown: unknown): boolean {
  const code = sqliteCode(thrown);
  // What no number of JavaScript holds was no key of ours.
  return code === undefined ? codeOf(thrown) === "ERR_OUT_OF_RANGE" : !passing.has(code);
}

function isWhole(value: unknown, least: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least;
}

function outOfOrder(): Error {
  return Object.assign(new RangeError("a key is out of order"), { code: "ERR_OUT_OF_RANGE" });
}

/**
 * Walks a table by its key across pages that cannot be read: each row before such a page is taken, and the first one after it searched for
 * position by position. What the tree above a page says of its keys is not believed beyond that: it may be damaged as well.
 * @param query its rows with `position` from one to another, in order. From one, not after one: that would be looked for on the page before.
 */
function walker(db: DatabaseSync, query: string) {
  let rows = db.prepare(query);
  /** The stretch under way that cannot be read: where it began, and how far it was tried. */
  let stretch: { from: number; at: number } | undefined;

  function isReadable(after: number, last: number): boolean {
    try {
      rows.get(after + 1, last);
      return true;
    } catch (thrown) {
      if (!isDamage(thrown)) throw thrown;
      return false;
    }
  }

  /** Where to go on after a position behind which nothing can be read. */
  function skip(after: number, last: number): number {
    stretch ??= { from: after, at: after };
    const stride = Math.max(1, Math.floor((after - stretch.from) / singleSteps));
    let to = Math.min(last, after + stride);
    if (to > after + 1 && isReadable(to, last)) {
      for (let bad = after; to - bad > 1; ) {
        const middle = Math.floor((bad + to) / 2);
        if (isReadable(middle, last)) to = middle;
        else bad = middle;
      }
    }
    stretch.at = to;
    return to;
  }

  return (from: number, last: number, untilMs: number, take: Take): Walked => {
    let [after, skipped] = [from, 0];
    if (stretch?.at !== from) stretch = undefined;
    while (after < last && performance.now() < untilMs) {
      try {
        for (const row of rows.iterate(after + 1, last)) {
          const { position } = row;
          if (!isWhole(position, after + 1)) throw outOfOrder();
          if (!take(row, position)) return { after, skipped };
          after = position;
          stretch = undefined;
          if (performance.now() >= untilMs) return { after, skipped };
        }
        after = last;
      } catch (thrown) {
        if (!isDamage(thrown)) throw thrown;
        // The next iteration of a statement that failed would begin with its failure.
        rows = db.prepare(query);
        const to = skip(after, last);
        skipped += to - after;
        after = to;
      }
    }
    return { after, skipped };
  };
}

/** The value that a query gives: undefined where it cannot be read, 0 where there is none. */
function numberOf(db: DatabaseSync, sql: string): number | undefined {
  try {
    const value = db.prepare(sql).get()?.value ?? 0;
    return isWhole(value, 0) ? value : undefined;
  } catch (thrown) {
    if (!isDamage(thrown)) throw thrown;
    return undefined;
  }
}

/** Before the first and up to the last position that a record can have; `isKnown` is false where nothing tells the last. */
function boundsOf(db: DatabaseSync) {
  const first =
    numberOf(db, "SELECT min(position) AS value FROM record") ?? numberOf(db, "SELECT min(base) AS value FROM epoch");
  const last =
    numberOf(db, "SELECT max(position) AS value FROM record") ??
    numberOf(db, "SELECT max(last_position) AS value FROM device");
  return {
    before: Math.max(0, (first ?? 0) - 1),
    last: last ?? unknownEnd,
    isKnown: last !== undefined,
  };
}

/** The metrics of the file by its own ids, from both ends up to a page that cannot be read. */
function metricsOf(db: DatabaseSync): Map<number, Metric> {
  const found = new Map<number, Metric>();
  for (const order of ["ASC", "DESC"]) {
    try {
      for (const row of db.prepare(`SELECT id, device, name, definition FROM metric ORDER BY id ${order}`).iterate()) {
        const metric = metricOf(row);
        if (metric && isWhole(row.id, 1)) found.set(row.id, metric);
      }
    } catch (thrown) {
      if (!isDamage(thrown)) throw thrown;
    }
  }
  return found;
}

function metricOf({ device, name, definition }: Row): Metric | undefined {
  try {
    const parsed = JSON.parse(String(definition)) as MetricDefinition;
    return typeof device === "string" && parsed.name === name ? { device, definition: parsed } : undefined;
  } catch {
    return undefined;
  }
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

/**
 * Opens a damaged outbox file for reading.
 * @throws errors of SQLite, also where nothing of it can be read ({@link isDamage})
 */
export function damagedFile(path: string) {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const mostRecords = Math.floor((sizeOf(path) + sizeOf(`${path}-wal`)) / leastRecordBytes);
    const range = "WHERE position >= ? AND position <= ? ORDER BY position";
    return {
      ...boundsOf(db),
      mostRecords,
      metrics: metricsOf(db),
      records: walker(db, `SELECT position, bytes FROM record ${range}`),
      lastAside: numberOf(db, "SELECT max(position) AS value FROM set_aside") ?? unknownEnd,
      asides: walker(db, `SELECT position, device, reason, bytes FROM set_aside ${range}`),
      close: (): void => db.close(),
    };
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

export type DamagedFile = ReturnType<typeof damagedFile>;
