import type { RecordId } from "@jilian/domain/commit.ts";
import { append } from "@jilian/domain/lists.ts";
import { type Range, type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";

/** Ranges kept of one epoch; a record is sent in order but for what the socket had no room for, so that a handful is usual. */
const maxRanges = 20_000;
const looksEvery = 1000;

/**
 * What this process has sent, by epoch: nothing else may be freed by a notice. Bounded: of too many epochs the one used longest ago is
 * forgotten, of too many ranges the lower half. What is forgotten is sent again and committed then.
 */
export function sentLog(maxEpochs: number) {
  const epochs = new Map<string, RangeSet>();
  let added = 0;

  function bounded(set: RangeSet): RangeSet {
    added += 1;
    if (added % looksEvery !== 0) return set;
    const ranges = set.ranges();
    return ranges.length > maxRanges ? rangeSet(ranges.slice(-maxRanges / 2)) : set;
  }

  return {
    add: ({ epoch, offset }: RecordId): void => {
      const set = bounded(epochs.get(epoch) ?? rangeSet());
      set.add(offset, offset);
      // Put in again, so that the epochs are in the order of their last use.
      epochs.delete(epoch);
      epochs.set(epoch, set);
      const [oldest] = epochs.keys();
      if (epochs.size > maxEpochs && oldest !== undefined) epochs.delete(oldest);
    },
    /** The parts of ranges that were sent, and whether that is all of them. */
    within: (epoch: string, ranges: readonly Range[]): { sent: Range[]; isAll: boolean } => {
      const set = epochs.get(epoch);
      const sent: Range[] = [];
      let isAll = true;
      for (const [first, last] of ranges) {
        const found = set?.within(first, last) ?? [];
        append(sent, found);
        isAll &&= found.length === 1 && found[0]?.[0] === first && found[0][1] === last;
      }
      return { sent, isAll };
    },
    /** Whether records of an epoch were sent. */
    knows: (epoch: string): boolean => epochs.has(epoch),
    /** The greatest offset of an epoch that was sent; -1 when none was. */
    last: (epoch: string): number => epochs.get(epoch)?.last() ?? -1,
  };
}
