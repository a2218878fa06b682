import type { Table } from "./session.ts";

/** Addresses in a row that answer, both ends included. */
export type Range = {
  readonly from: number;
  to: number;
  /** Beyond this address only some were tried, and answered. */
  sampledFrom?: number;
};

/** What a unit said to a read: the bytes of an answer, the code of an exception, or nothing. */
export type Said = Buffer | number | undefined;
export type Ask = (address: number, quantity: number) => Promise<Said>;

export type TableFinding = {
  readonly table: Table;
  readonly ranges: readonly Range[];
  /** The exception that says that there is no such table, or the last one where nothing is readable. */
  readonly exception?: number;
  /** The unit did not answer for this table at all. */
  readonly silent: boolean;
  /** Most registers (bits) that one read gave; `isLimit` when more were refused, more than once, where they are readable. */
  readonly largest: number;
  readonly isLimit: boolean;
  /** False when the bound ended it early. */
  readonly isWhole: boolean;
};

const addresses = 65_536;
const illegalFunction = 1;
const mostSilent = 3;

export const isBits = (table: Table): boolean => table === "coil" || table === "discrete";
/** Most of one read: MODBUS Application Protocol V1.1b3, 6.1 to 6.4. */
const mostOf = (table: Table): number => (isBits(table) ? 2000 : 125);
/** A range is read so far; beyond it is sampled. */
const readThrough = (table: Table): number => (isBits(table) ? 8000 : 2500);

function every(step: number, below: number): number[] {
  return Array.from({ length: Math.ceil(below / step) }, (_, i) => i * step);
}

/** Where vendors begin their ranges: round numbers, decimal and hexadecimal, and one off where manuals count from 1. */
const samples: readonly number[] = [
  ...new Set([
    ...every(1, 10),
    ...every(10, 100),
    ...every(50, 1000),
    ...every(500, 10_000),
    ...every(256, 4096),
    ...every(4096, addresses),
    ...every(5000, addresses),
    ...[101, 1001, 4001, 10_001, 30_001, 40_001],
  ]),
].sort((a, b) => a - b);

/** Where one range ends another often begins soon: what to try beyond it. */
function near({ to }: Range): number[] {
  const next = Array.from({ length: 7 }, (_, i) => to + 2 + i);
  const round = Array.from({ length: 5 }, (_, i) => 10 * (Math.floor(to / 10) + 1 + i));
  return [...next, ...round].filter((address) => address > to && address < addresses);
}

/** The reads of one table, counted and bounded; what was read is kept for the search of values. */
function tableReader(ask: Ask, table: Table, may: () => boolean, words: Map<number, number>) {
  let largest = 0;
  let silentInRow = 0;
  let last: Said;
  return {
    largest: () => largest,
    last: () => last,
    may: () => may() && silentInRow < mostSilent,
    isSilent: () => silentInRow >= mostSilent,
    async reads(address: number, quantity: number): Promise<boolean> {
      if (!may() || silentInRow >= mostSilent) return false;
      last = await ask(address, quantity);
      silentInRow = last === undefined ? silentInRow + 1 : 0;
      if (!Buffer.isBuffer(last)) return false;
      largest = Math.max(largest, quantity);
      if (!isBits(table)) for (let i = 0; i < quantity; i += 1) words.set(address + i, last.readUInt16BE(2 * i));
      return true;
    },
  };
}

type Reader = ReturnType<typeof tableReader>;
/** How many one read may have: found out while reading. */
type Block = { most: number; before: number };

function findingOf(
  table: Table,
  ranges: readonly Range[],
  reader: Reader,
  { most }: Block,
  exception: number | undefined,
): TableFinding {
  return {
    table,
    ranges,
    ...(exception === undefined ? {} : { exception }),
    silent: reader.isSilent(),
    largest: reader.largest(),
    isLimit: most < mostOf(table),
    isWhole: reader.may(),
  };
}

/** The most that a read at an address gives, by halves; 0 for nothing. */
async function bisect(reader: Reader, address: number, refused: number): Promise<number> {
  let good = 0;
  let bad = refused;
  while (bad - good > 1 && reader.may()) {
    const middle = (good + bad) >>> 1;
    if (await reader.reads(address, middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/** Reads upward from an address until something is refused, or far enough. @returns the address after the last one */
async function readUp(reader: Reader, from: number, below: number, block: Block): Promise<number> {
  let end = from;
  while (end < below && reader.may()) {
    const quantity = Math.min(block.most, below - end);
    if (await reader.reads(end, quantity)) {
      end += quantity;
      continue;
    }
    const part = await bisect(reader, end, quantity);
    end += part;
    if (part === 0 || !(await reader.reads(end, 1))) break;
    // The next one is readable alone: either the device gives no more at once, or its memory has a seam here. Twice alike is a limit.
    if (part === block.before) block.most = part;
    block.before = part;
  }
  return end;
}

/** The readable address that is nearest to a refused one, up or down, by halves: the end of a range. */
async function edgeOf(reader: Reader, readable: number, refused: number): Promise<number> {
  let good = readable;
  let bad = refused;
  while (Math.abs(good - bad) > 1 && reader.may()) {
    const middle = (good + bad) >>> 1;
    if (await reader.reads(middle, 1)) good = middle;
    else bad = middle;
  }
  return good;
}

/** The ranges around one readable address; more than one where there is a hole below it. */
async function rangesAround(reader: Reader, table: Table, refused: number, at: number, block: Block): Promise<Range[]> {
  const found: Range[] = [];
  let below = refused;
  while (reader.may()) {
    const from = await edgeOf(reader, at, below);
    const bound = Math.min(addresses, from + readThrough(table));
    const end = await readUp(reader, from, bound, block);
    if (end > from)
      found.push({ from, to: end - 1, ...(end === bound && end < addresses ? { sampledFrom: end } : {}) });
    if (end > at || end <= below + 1) break;
    below = end;
  }
  return found;
}

/**
 * Finds what of a table is readable: tries addresses where ranges usually begin, and where one answers looks for the ends of its range by
 * halves. What lies between two tries can be missed: a bounded search is none of all 65,536.
 * @param may false once no more requests are allowed for this table
 * @param words takes what registers held, by address
 */
export async function findRanges(
  table: Table,
  ask: Ask,
  may: () => boolean,
  words: Map<number, number>,
): Promise<TableFinding> {
  const reader = tableReader(ask, table, may, words);
  const block: Block = { most: mostOf(table), before: 0 };
  const ranges: Range[] = [];
  /** A range whose end is not known yet. */
  let tail: Range | undefined;
  let refused = -1;
  let exception: number | undefined;
  let ahead: readonly number[] = samples;
  for (let address = ahead[0]; address !== undefined; address = ahead[0]) {
    ahead = ahead.slice(1);
    if (address <= (ranges.at(-1)?.to ?? -1)) continue;
    if (!reader.may()) break;
    const isReadable = await reader.reads(address, 1);
    const said = reader.last();
    if (typeof said === "number") exception = said;
    if (said === illegalFunction && ranges.length === 0) break;
    if (tail !== undefined) {
      tail.to = isReadable ? address : await edgeOf(reader, tail.to, address);
      if (!isReadable) tail = undefined;
    } else if (isReadable) {
      ranges.push(...(await rangesAround(reader, table, refused, address, block)));
      tail = ranges.at(-1)?.sampledFrom === undefined ? undefined : ranges.at(-1);
      refused = (ranges.at(-1)?.to ?? address) + 1;
      ahead = [...new Set([...ahead, ...ranges.slice(-1).flatMap(near)])].sort((a, b) => a - b);
    }
    if (!isReadable) refused = address;
  }
  return findingOf(table, ranges, reader, block, exception);
}

/** Reads a given part of a table, over holes; what is readable of it comes back as ranges. */
export async function readGiven(
  table: Table,
  { from, to }: { from: number; to: number },
  ask: Ask,
  may: () => boolean,
  words: Map<number, number>,
): Promise<TableFinding> {
  const reader = tableReader(ask, table, may, words);
  const block: Block = { most: mostOf(table), before: 0 };
  const ranges: Range[] = [];
  let exception: number | undefined;
  for (let at = from; at <= to && reader.may(); ) {
    const end = await readUp(reader, at, to + 1, block);
    if (end > at) ranges.push({ from: at, to: end - 1 });
    const said = reader.last();
    if (typeof said === "number") exception = said;
    if (said === illegalFunction) break;
    at = end;
    // Over a hole one by one: its end is not known.
    while (at <= to && reader.may() && !(await reader.reads(at, 1))) at += 1;
  }
  return findingOf(table, ranges, reader, block, exception);
}
