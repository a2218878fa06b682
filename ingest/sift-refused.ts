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
 * Records to be tried together, or one part of a record. Known to be bad: it would be a waste to try it as a whole. Suspect: it may be, its
 * metrics were refused when they came last.
 */
type Piece = { records: readonly QueuedRecord[]; known?: "bad" | "suspect"; division?: Division };

export type SiftActions = {
  /** Writes records in one transaction. @throws a batch fault when a record is at fault, anything else when the store is */
  write: (records: readonly QueuedRecord[]) => Promise<void>;
  /**
   * This record the store will never take as it is.
   * @param samples those that are refused, all others of the record are stored; undefined when they were not told apart
   */
  refuse: (record: QueuedRecord, error: unknown, samples?: readonly QueuedSample[]) => void;
  /** There was no time to find out about this record of an outbox: it comes again. */
  defer: (record: QueuedRecord) => void;
};

const isSuspect = ({ metric }: QueuedSample): boolean => metric.wasRefused === true;

/** What is to be done at first, the next one last: what is not suspect goes before all else, whatever the suspects cost. */
function firstPieces(records: readonly QueuedRecord[]): Piece[] {
  const groups = Map.groupBy(records, ({ samples }) => samples.some(isSuspect));
  const suspects = (groups.get(true) ?? []).toReversed();
  const others = groups.get(false) ?? [];
  return [...suspects.map((record): Piece => ({ records: [record], known: "suspect" })), { records: others }];
}

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
 * some 2 log2(n) writes, the same again its samples; two, once its metric is known. Call what it returns until it resolves: after an error
 * that is the store's it goes on where it was.
 */
export function siftRefused(records: readonly QueuedRecord[], { write, refuse, defer }: SiftActions) {
  let refusedWrites = 0;
  /** What is still to be done, the next one last. */
  const left = firstPieces(records);
  /** The second half of what was refused, while its first half is tried. */
  let sibling: Piece | undefined;

  function halve(whole: readonly QueuedRecord[]): void {
    let some = whole;
    if (refusedWrites >= maxRefusedWrites) {
      for (const record of whole) if (record.record) defer(record);
      // What no outbox will send again is sifted to the end.
      some = whole.filter(({ record }) => !record);
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
  function divide({ known, division: found }: Piece, only: QueuedRecord, error?: unknown): void {
    const { samples } = only;
    const division = found ?? { whole: only, undecided: samples.length, refused: [], error, isGivenUp: false };
    if (refusedWrites >= maxRefusedWrites && division.whole.record && error !== undefined) {
      giveUp(division, error);
      return;
    }
    const parts = inTwo(samples).map((part): Piece => {
      const record = { ...only, record: undefined, again: false, newestLiveMs: undefined, samples: part };
      return { records: [record], division };
    });
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

  function refuseOne({ division }: Piece, only: QueuedRecord, error: unknown): void {
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
    const { records: some, division } = piece;
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
      else if (only) refuseOne(piece, only, error);
      return;
    }
    // What the whole was refused for is in the other half.
    if (sibling) sibling.known = "bad";
    sibling = undefined;
    if (some.length > 1 || !only) return;
    for (const { metric } of only.samples) if (metric.wasRefused) metric.wasRefused = false;
    if (division) decided(division, only.samples.length);
  }

  return async (): Promise<void> => {
    for (let piece = left.at(-1); piece; piece = left.at(-1)) {
      const at = left.length - 1;
      const { records: some, known, division } = piece;
      const [only] = some;
      if (division?.isGivenUp) sibling = undefined;
      else if (known === "suspect" && only?.record && refusedWrites >= maxRefusedWrites) defer(only);
      else if (known === "bad" && some.length > 1) halve(some);
      else if (known && only && only.samples.length > 1) divide(piece, only);
      else if (only) await tryPiece(piece);
      // Its halves lie above it; after an error of the store it is the next one again.
      left.splice(at, 1);
    }
  };
}
