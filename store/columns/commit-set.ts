import { JilianError } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import type { CommitEntry } from "../telemetry.ts";

/** @throws JilianError COMMIT_RANGE_INVALID: a range frees data at a gateway, so nothing in it is guessed */
export function checkCommits(entries: readonly CommitEntry[]): void {
  for (const { group, node, epoch, ranges } of entries) {
    for (const [first, last] of ranges) {
      if (Number.isSafeInteger(first) && Number.isSafeInteger(last) && first >= 0 && first <= last) continue;
      throw new JilianError(`[${first}, ${last}] of ${group}/${node} epoch ${epoch} is not a range of offsets`, {
        code: "COMMIT_RANGE_INVALID",
        action: "write a batch",
        remedy: "give closed ranges of whole numbers from 0, first not above last",
      });
    }
  }
}

type Held = { group: string; node: string; epoch: string; set: RangeSet };

/** What is committed, merged, in memory. */
export function commitSet() {
  const held = new Map<string, Held>();
  return {
    add: (entries: readonly CommitEntry[]) => {
      for (const { group, node, epoch, ranges } of entries) {
        if (ranges.length === 0) continue;
        const key = JSON.stringify([group, node, epoch]);
        const { set } = getOrMake(held, key, () => ({ group, node, epoch, set: rangeSet() }));
        for (const [first, last] of ranges) set.add(first, last);
      }
    },
    all: (): CommitEntry[] => [...held.values()].map(({ set, ...key }) => ({ ...key, ranges: set.ranges() })),
  };
}
