import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { OpenRollup, Rollup } from "@jilian/domain/rollup.ts";
import type { RollupRow, RollupUnit } from "./telemetry.ts";

/** Quarter hours of which sums are kept: those of the open hour and of the one before. */
const quartersKept = 8;
/** Hours, days and months of which rollups are kept: a week of hours and more. The others are read from the store by those who look back. */
const blocksKept = 256;
/** Hours, days and months of which it is known what is withdrawn. */
const withdrawnKept = 16;

type Kept = { signature: string; rollup: Rollup };
type KeptOpen = { signature: string; rollup: OpenRollup; asOfMs: number };
/** What is kept of a running period: everything up to `toMs`. */
export type Prefix = Kept & { toMs: number };

/** One string for an hour, day or month. */
export const blockKey = (unit: RollupUnit, startMs: number) => `${unit}|${startMs}`;

/** Rollups in memory: those of hours, days and months, and of quarter hours in the open hour. At most so many, the oldest go. */
export function rollupMemory(most: number) {
  const blocks = new Map<string, Map<string, Kept>>();
  const quarters = new Map<number, Map<string, KeptOpen>>();
  const prefixes = new Map<string, Map<string, Prefix>>();
  /** Stored rollups that may be wrong, by block. */
  const stale = new Map<string, { unit: RollupUnit; startMs: number; keys: Set<string> }>();
  /** Those of late that are withdrawn, by block: a recompute touches a day and a month with each of its hours. */
  const withdrawn = new Map<string, Set<string>>();
  const unwritten = new Map<string, RollupRow>();
  let size = 0;

  function trim(): void {
    for (const [id, block] of blocks) {
      if (size <= most && blocks.size <= blocksKept) return;
      size -= block.size;
      blocks.delete(id);
    }
  }

  return {
    quarters,
    prefixes,
    stale,
    unwritten,
    /** Notes that rollups of a block are withdrawn in the store. */
    noteWithdrawn: (id: string, keys: Iterable<string>) => {
      const known = getOrMake(withdrawn, id, () => new Set<string>());
      for (const key of keys) known.add(key);
      for (const oldest of withdrawn.keys()) {
        if (withdrawn.size <= withdrawnKept) break;
        withdrawn.delete(oldest);
      }
    },
    /** Notes that a rollup is made: what was stored before does not matter any more. */
    noteMade: (id: string, key: string) => {
      stale.get(id)?.keys.delete(key);
      withdrawn.get(id)?.delete(key);
    },
    block: (unit: RollupUnit, startMs: number) => blocks.get(blockKey(unit, startMs)),
    keep: (unit: RollupUnit, startMs: number, key: string, kept: Kept) => {
      if (most === 0) return;
      const block = getOrMake(blocks, blockKey(unit, startMs), () => new Map<string, Kept>());
      if (!block.has(key)) size += 1;
      block.set(key, kept);
      trim();
    },
    drop: (unit: RollupUnit, startMs: number, key: string) => {
      const id = blockKey(unit, startMs);
      if (blocks.get(id)?.delete(key)) size -= 1;
      if (!withdrawn.get(id)?.has(key))
        getOrMake(stale, id, () => ({ unit, startMs, keys: new Set<string>() })).keys.add(key);
      unwritten.delete(`${id}|${key}`);
    },
    keepQuarter: (startMs: number, key: string, kept: KeptOpen) => {
      if (most === 0) return;
      getOrMake(quarters, startMs, () => new Map<string, KeptOpen>()).set(key, kept);
      for (const at of [...quarters.keys()].sort((a, b) => a - b)) {
        if (quarters.size <= quartersKept) break;
        quarters.delete(at);
      }
    },
  };
}
export type RollupMemory = ReturnType<typeof rollupMemory>;
