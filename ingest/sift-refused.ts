import { codeOf } from "@jilian/domain/errors.ts";
import { append } from "@jilian/domain/lists.ts";
import { batchFaults, lineFaults } from "@jilian/store/telemetry.ts";
import type { QueuedRecord, QueuedSample } from "./queue.ts";

/**
 * Writes of one batch that may be refused before the rest of it is left for later: some hundred transactions find ten bad records among
 * thousands, and beyond that the good ones of others are rather stored first.
 */
const maxRefusedWrites = 120;
/**
 * Writes of one batch with records of nodes without an outbox before what is left of those is refused unsifted. It cannot come again, so it
 * gets more of them; but one bad node must not hold up everyone: thousands of refused samples would cost two writes each.
 */
const maxPlainWrites = 300;
/**
 * Of these, those that look for what is bad, so that its metrics are known the next time. The rest looks for what is good: it divides what
 * is largest.
 */
const seekingWrites = 120;

/** A record that is stored in parts, since the store does not take it as a whole. */
type Division = {
  whole: QueuedRecord;
  /** Samples that are neither stored nor refused. */
  undecided: number;
  refused: QueuedSample[];
  /** Of the last sample that was refused. */
  error: unknown;
  isUnsifted: boolean;
  isGivenUp: boolean;
};

/** Records, or parts of records, to be tried together. */
type Piece = {
  records: readonly QueuedRecord[];
  /**
   * Bad: it was refused, or is what is left of what was. Suspect: it may be, its metrics were refused when they came last. Untried when
   * absent.
   */
  known?: "bad" | "suspect";
  /** Why it was refused, or what it was a part of. */
  error?: unknown;
  /** The other half of what was refused. */
  sibling?: Piece;
};

export type SiftActions = {
  /** Writes records in one transaction. @throws a batch fault when a record is at fault, anything else when the store is */
  write: (records: readonly QueuedRecord[]) => Promise<void>;
  /**
   * This record the store will never take as it is.
   * @param samples those that are refused, all others of the record are stored; undefined when they were not told apart
   * @param isUnsifted true when good samples may be among them, since there was no time to tell: of a node without an outbox
   */
  refuse: (record: QueuedRecord, error: unknown, samples?: readonly QueuedSample[], isUnsifted?: boolean) => void;
  /** There was no time to find out about this record of an outbox, of which a part may be stored: it comes again. */
  defer: (record: QueuedRecord) => void;
};

const isSuspect = ({ metric }: QueuedSample): boolean => metric.wasRefused === true;

/** The samples of a record or part in two: those that are suspect apart, or halves. */
function inTwo(samples: readonly QueuedSample[]): QueuedSample[][] {
  const suspects = samples.filter(isSuspect);
  if (suspects.length > 0 && suspects.length < samples.length)
    return [samples.filter((sample) => !isSuspect(sample)), suspects];
  const middle = Math.ceil(samples.length / 2);
  return [samples.slice(0, middle), samples.slice(middle)];
}

/** Records by their nodes, each in its order: what is bad is so by node, and is found the sooner. */
function byNode(records: readonly QueuedRecord[]): QueuedRecord[][] {
  return [...Map.groupBy(records, ({ group, node }) => `${group}/${node}`).values()];
}

/**
 * Stores all samples but those that the store refuses for themselves, which it finds by halving: n records with one bad among them cost
 * some 2 log2(n) writes, the same again its samples; one each, once their metrics are known. What is not suspect goes first, in two writes,
 * whatever the suspects cost; and of what was refused both halves are tried before either is divided further, so that what is good is
 * stored by the time the effort ends. Beyond its bound each node's rest is tried once, as a whole. Call what it returns until it resolves:
 * after an error that is the store's it goes on where it was.
 */
export function siftRefused(records: readonly QueuedRecord[], { write, refuse, defer }: SiftActions) {
  /** Of pieces with records of nodes without an outbox; and those of outboxes alone that were refused. Neither may use up what the other has. */
  let plainWrites = 0;
  let refusedWrites = 0;
  /** Of parts of records. */
  const divisions = new Map<QueuedRecord, Division>();
  /** What is still to be done, the next one last. */
  const left = firstPieces();

  function divisionOf(whole: QueuedRecord, error?: unknown): Division {
    return { whole, undecided: whole.samples.length, refused: [], error, isUnsifted: false, isGivenUp: false };
  }

  /** A part of a record, which commits nothing. */
  function newPart(division: Division, samples: QueuedSample[]): QueuedRecord {
    const part = { ...division.whole, record: undefined, again: false, newestLiveMs: undefined, samples };
    divisions.set(part, division);
    return part;
  }

  /** Records without suspects in one write, the good parts of all others in the next one, and then what is suspect, one by one. */
  function firstPieces(): Piece[] {
    const groups = Map.groupBy(records, ({ samples }) => samples.some(isSuspect));
    const good: QueuedRecord[] = [];
    const suspects = (groups.get(true) ?? []).map((record): Piece => {
      const [rest, bad] = [record.samples.filter((sample) => !isSuspect(sample)), record.samples.filter(isSuspect)];
      if (rest.length === 0) return { records: [record], known: "suspect" };
      const division = divisionOf(record);
      good.push(newPart(division, rest));
      return { records: [newPart(division, bad)], known: "suspect" };
    });
    return [...suspects.toReversed(), { records: good }, { records: groups.get(false) ?? [] }];
  }

  /** Whether a record, or the one that it is a part of, comes again. */
  function comesAgain(record: QueuedRecord): boolean {
    return (divisions.get(record)?.whole ?? record).record !== undefined;
  }

  const isSpent = (record: QueuedRecord): boolean =>
    comesAgain(record) ? refusedWrites >= maxRefusedWrites : plainWrites >= maxPlainWrites;

  function deferWhole(record: QueuedRecord): void {
    const division = divisions.get(record);
    if (division) division.isGivenUp = true;
    defer(division?.whole ?? record);
  }

  /** Puts the parts of what was refused on top, each to be tried. */
  function pushParts(parts: readonly Piece[]): void {
    append(left, parts.toReversed());
  }

  function pushHalves(first: readonly QueuedRecord[], second: readonly QueuedRecord[], error: unknown): void {
    const sibling = { records: second, error };
    pushParts([{ records: first, error, sibling }, sibling]);
  }

  /** Takes records that are refused together apart. */
  function halve(piece: Piece): void {
    const nodes = byNode(piece.records);
    const all = nodes.flat();
    if (all.some(isSpent) && nodes.length > 1) {
      pushParts(nodes.map((ofNode) => ({ records: ofNode })));
      return;
    }
    const some = all.filter((record) => !isSpent(record));
    for (const record of all) {
      if (!isSpent(record)) continue;
      if (comesAgain(record)) deferWhole(record);
      else refuseUnsifted(record, piece.error);
    }
    const middle = Math.ceil(some.length / 2);
    const [first, second] = [some.slice(0, middle), some.slice(middle)];
    if (some.length === all.length) pushHalves(first, second, piece.error);
    else pushParts([{ records: first }, { records: second }]);
  }

  function giveUp(division: Division, error: unknown): void {
    division.isGivenUp = true;
    refuse(division.whole, error);
  }

  /** Takes a record, or a part of one, in two parts. */
  function divide({ known, error }: Piece, only: QueuedRecord): void {
    const division = divisions.get(only) ?? divisionOf(only, error);
    if (known === "bad" && isSpent(only)) {
      if (division.whole.record) giveUp(division, error);
      else refuseUnsifted(only, error);
      return;
    }
    const [first, second] = inTwo(only.samples).map((samples) => [newPart(division, samples)]);
    // Of a suspect, which was not tried, neither half need be bad.
    if (known === "bad") pushHalves(first as QueuedRecord[], second as QueuedRecord[], error);
    else pushParts([{ records: first as QueuedRecord[] }, { records: second as QueuedRecord[] }]);
  }

  function decided(division: Division, count: number): void {
    division.undecided -= count;
    if (division.undecided > 0) return;
    const { whole, refused, error, isUnsifted } = division;
    if (refused.length > 0) refuse(whole, error, refused, isUnsifted);
    // The store has all of it after all: what is still to be noted is that.
    else if (whole.record) left.push({ records: [{ ...whole, samples: [] }] });
  }

  /** Refuses what is left of a record that does not come again, whatever of it is good. */
  function refuseUnsifted(record: QueuedRecord, error: unknown): void {
    const division = divisions.get(record);
    if (!division) refuse(record, error, record.samples, true);
    else {
      append(division.refused, record.samples);
      division.error = error;
      division.isUnsifted = true;
      decided(division, record.samples.length);
    }
  }

  function refuseOne(only: QueuedRecord, error: unknown): void {
    const division = divisions.get(only);
    const isOfLine = lineFaults.has(codeOf(error)) && only.samples.length > 0;
    if (isOfLine) for (const { metric } of only.samples) metric.wasRefused = true;
    if (!division) refuse(only, error, isOfLine ? only.samples : undefined);
    else if (!isOfLine) giveUp(division, error);
    else {
      append(division.refused, only.samples);
      division.error = error;
      decided(division, only.samples.length);
    }
  }

  /** Keeps what was refused and can be divided, below the other half of it, or what else is still to be tried at all. */
  function setBack(piece: Piece, error: unknown): void {
    left.push(piece);
    Object.assign(piece, { known: "bad", error });
    const at = left.length - 2;
    const next = left[at];
    if (next && !next.known) left.splice(at, 2, piece, next);
  }

  /** Tries a piece. @throws when the store is at fault */
  async function tryPiece(piece: Piece): Promise<void> {
    const { records: some, sibling } = piece;
    const [only] = some;
    const isOfOutboxes = some.every(comesAgain);
    try {
      await write(some);
    } catch (error) {
      const code = codeOf(error);
      if (!batchFaults.has(code)) throw error;
      if (isOfOutboxes) refusedWrites += 1;
      else plainWrites += 1;
      left.pop();
      if (some.length > 1 || (only && only.samples.length > 1 && lineFaults.has(code))) setBack(piece, error);
      else if (only) refuseOne(only, error);
      return;
    }
    if (!isOfOutboxes) plainWrites += 1;
    left.pop();
    // What the whole was refused for is in the other half.
    if (sibling) sibling.known = "bad";
    for (const record of some) {
      for (const { metric } of record.samples) if (metric.wasRefused) metric.wasRefused = false;
      const division = divisions.get(record);
      if (division) decided(division, record.samples.length);
    }
  }

  /** What is suspect of nodes without an outbox and was not tried yet: once, as a whole. */
  function poolSuspects(): void {
    const isPooled = ({ known, records: [only] }: Piece) => known === "suspect" && only && !comesAgain(only);
    const pooled = left.filter(isPooled).flatMap((piece) => piece.records);
    const others = left.filter((piece) => !isPooled(piece));
    left.length = 0;
    append(left, others);
    pushParts(byNode(pooled).map((ofNode) => ({ records: ofNode })));
  }

  /** What is refused and largest comes next, of nodes without an outbox: there is the most good in it. */
  function raiseLargest(): void {
    const sizeOf = ({ known, records: some }: Piece) =>
      known === "bad" && some.every((record) => !comesAgain(record))
        ? some.reduce((sum, { samples }) => sum + Math.max(1, samples.length), 0)
        : 0;
    let [largest, size] = [-1, 0];
    for (const [at, piece] of left.entries()) {
      const own = sizeOf(piece);
      if (own >= size && own > 0) [largest, size] = [at, own];
    }
    if (largest >= 0) append(left, left.splice(largest, 1));
  }

  /** Does the next piece. @returns whether there was one */
  async function next(): Promise<boolean> {
    if (plainWrites >= seekingWrites && left.at(-1)?.known === "bad") raiseLargest();
    const piece = left.at(-1);
    const [only] = piece?.records ?? [];
    if (!piece) return false;
    const { known, records: some, error } = piece;
    const division = only && divisions.get(only);
    const isOne = some.length === 1 && only !== undefined && only.samples.length > 1;
    const isDivided = isOne && (known === "bad" ? lineFaults.has(codeOf(error)) : known === "suspect" && !division);
    const isLate = known === "suspect" && only && isSpent(only);
    if (isLate && !division?.isGivenUp && !comesAgain(only)) {
      poolSuspects();
      return true;
    }
    const isTried = only && !division?.isGivenUp && !isLate && !isDivided && !(known === "bad" && some.length > 1);
    if (isTried) {
      await tryPiece(piece);
      return true;
    }
    left.pop();
    if (!only || division?.isGivenUp) return true;
    if (isLate) deferWhole(only);
    else if (isDivided) divide(piece, only);
    else halve(piece);
    return true;
  }

  return async (): Promise<void> => {
    while (await next());
  };
}
