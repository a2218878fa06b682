import { codeOf } from "@jilian/domain/errors.ts";
import { batchFaults } from "@jilian/store/telemetry.ts";
import type { QueuedRecord } from "./queue.ts";

/**
 * Writes of one batch that may be refused before the rest of it is left for later: some hundred transactions find ten bad records among
 * thousands, and beyond that the good ones of others are rather stored first.
 */
const maxRefusedWrites = 120;

/** Records to be tried together, or known to hold a bad one, so that trying them as a whole would be a waste. */
type Piece = { records: readonly QueuedRecord[]; isBad: boolean };

export type SiftActions = {
  /** Writes records in one transaction. @throws a batch fault when a record is at fault, anything else when the store is */
  write: (records: readonly QueuedRecord[]) => Promise<void>;
  /** This record the store will never take. */
  refuse: (record: QueuedRecord, error: unknown) => void;
  /** There was no time to find out about this record of an outbox: it comes again. */
  defer: (record: QueuedRecord) => void;
};

/**
 * Stores all records but those that the store refuses for themselves, which it finds by halving: n records with one bad among them cost
 * some 2 log2(n) writes. Call what it returns until it resolves: after an error that is the store's it goes on where it was.
 */
export function siftRefused(records: readonly QueuedRecord[], { write, refuse, defer }: SiftActions) {
  let refusedWrites = 0;
  /** What is still to be done, the next one last. */
  const left: Piece[] = [{ records, isBad: false }];
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
    const rest = { records: some.slice(middle), isBad: false };
    left.push(rest, { records: some.slice(0, middle), isBad: false });
    sibling = some === whole ? rest : undefined;
  }

  /** Tries a piece; halves it when it is refused. @throws when the store is at fault */
  async function tryPiece({ records: some }: Piece): Promise<void> {
    try {
      await write(some);
      // What the whole was refused for is in the other half.
      if (sibling) sibling.isBad = true;
      sibling = undefined;
    } catch (error) {
      if (!batchFaults.has(codeOf(error))) throw error;
      refusedWrites += 1;
      sibling = undefined;
      const [only] = some;
      if (some.length === 1 && only) refuse(only, error);
      else halve(some);
    }
  }

  return async (): Promise<void> => {
    for (let piece = left.at(-1); piece; piece = left.at(-1)) {
      const at = left.length - 1;
      if (piece.isBad && piece.records.length > 1) halve(piece.records);
      else if (piece.records.length > 0) await tryPiece(piece);
      // Its halves lie above it; after an error of the store it is the next one again.
      left.splice(at, 1);
    }
  };
}
