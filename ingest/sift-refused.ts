import { codeOf } from "@jilian/domain/errors.ts";
import { append } from "@jilian/domain/lists.ts";
import { batchFaults, lineFaults } from "@jilian/store/telemetry.ts";
import type { QueuedRecord, QueuedSample } from "./queue.ts";

/**
 * Writes of one batch that may be refused before the rest of it is left for later: some hundred transactions find ten bad records among
 * thousands, and beyond that the good ones of others are rather stored first.
 */
const maxRefusedWrites = 120;

/** A record that is stored in parts, since the store does not take it as a whole. */
type Division = {
  whole: QueuedRecord;
  /** Samples that are neither stored nor refused. */
  undecided: number;
  refused: QueuedSample[];
  /** Of the last sample that was refused. */
  error: unknown;
  isGivenUp: boolean;
};

/**
 * Records, or parts of records, to be tried together. Known to be bad: it would be a waste to try it as a whole. Suspect: it may be, its
 * metrics were refused when they came last.
 */
type Piece = { records: readonly QueuedRecord[]; known?: "bad" | "suspect" };

export type SiftActions = {
  /** Writes records in one transaction. @throws a batch fault when a record is at fault, anything else when the store is */
  write: (records: readonly QueuedRecord[]) => Promise<void>;
  /**
   * This record the store will never take as it is.
   * @param samples those that are refused, all others of the record are stored; undefined when they were not told apart
   */
  refuse: (record: QueuedRecord, error: unknown, samples?: readonly QueuedSample[]) => void;
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

/**
 * Stores all samples but those that the store refuses for themselves, which it finds by halving: n records with one bad among them cost
 * some 2 log2(n) writes, the same again its samples; one each, once their metrics are known. What is not suspect goes first, in two writes,
 * whatever the suspects cost. Call what it returns until it resolves: after an error that is the store's it goes on where it was.
 */
export function siftRefused(records: readonly QueuedRecord[], { write, refuse, defer }: SiftActions) {
  let refusedWrites = 0;
  /** Of parts of records. */
  const divisions = new Map<QueuedRecord, Division>();
  /** The second half of what was refused, while its first half is tried. */
  let sibling: Piece | undefined;
  /** What is still to be done, the next one last. */
  const left = firstPieces();

  function divisionOf(whole: QueuedRecord, error?: unknown): Division {
    return { whole, undecided: whole.samples.length, refused: [], error, isGivenUp: false };
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

  function deferWhole(record: QueuedRecord): void {
    const division = divisions.get(record);
    if (division) division.isGivenUp = true;
    defer(division?.whole ?? record);
  }

  function halve(whole: readonly QueuedRecord[]): void {
    let some = whole;
    if (refusedWrites >= maxRefusedWrites) {
      for (const record of whole) if (comesAgain(record)) deferWhole(record);
      // What no outbox will send again is sifted to the end.
      some = whole.filter((record) => !comesAgain(record));
    }
    const middle = Math.ceil(some.length / 2);
    const rest: Piece = { records: some.slice(middle) };
    left.push(rest, { records: some.slice(0, middle) });
    sibling = some === whole ? rest : undefined;
  }

  function giveUp(division: Division, error: unknown): void {
    division.isGivenUp = true;
    refuse(division.whole, error);
  }

  /** Takes a record, or a part of one, in two parts. @param error why the store refused it; undefined when that is only known or suspected */
  function divide({ known }: Piece, only: QueuedRecord, error?: unknown): void {
    const division = divisions.get(only) ?? divisionOf(only, error);
    if (refusedWrites >= maxRefusedWrites && division.whole.record && error !== undefined) {
      giveUp(division, error);
      return;
    }
    const parts = inTwo(only.samples).map((part): Piece => ({ records: [newPart(division, part)] }));
    append(left, parts.toReversed());
    sibling = known === "suspect" ? undefined : parts[1];
  }

  function decided(division: Division, count: number): void {
    division.undecided -= count;
    if (division.undecided > 0) return;
    const { whole, refused, error } = division;
    if (refused.length > 0) refuse(whole, error, refused);
    // The store has all of it after all: what is still to be noted is that.
    else if (whole.record) left.push({ records: [{ ...whole, samples: [] }] });
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

  /** Tries a piece; takes it apart when it is refused. @throws when the store is at fault */
  async function tryPiece(piece: Piece): Promise<void> {
    const { records: some } = piece;
    const [only] = some;
    try {
      await write(some);
    } catch (error) {
      const code = codeOf(error);
      if (!batchFaults.has(code)) throw error;
      refusedWrites += 1;
      sibling = undefined;
      if (some.length > 1) halve(some);
      else if (only && only.samples.length > 1 && lineFaults.has(code)) divide(piece, only, error);
      else if (only) refuseOne(only, error);
      return;
    }
    // What the whole was refused for is in the other half.
    if (sibling) sibling.known = "bad";
    sibling = undefined;
    if (some.length === 1)
      for (const { metric } of only?.samples ?? []) if (metric.wasRefused) metric.wasRefused = false;
    for (const record of some) {
      const division = divisions.get(record);
      if (division) decided(division, record.samples.length);
    }
  }

  return async (): Promise<void> => {
    for (let piece = left.at(-1); piece; piece = left.at(-1)) {
      const at = left.length - 1;
      const { records: some, known } = piece;
      const [only] = some;
      const division = only && divisions.get(only);
      if (division?.isGivenUp) sibling = undefined;
      else if (known === "suspect" && only && comesAgain(only) && refusedWrites >= maxRefusedWrites) deferWhole(only);
      else if (known === "bad" && some.length > 1) halve(some);
      else if (only && only.samples.length > 1 && (known === "bad" || (known && !division))) divide(piece, only);
      else if (only) await tryPiece(piece);
      // Its halves lie above it; after an error of the store it is the next one again.
      left.splice(at, 1);
    }
  };
}
