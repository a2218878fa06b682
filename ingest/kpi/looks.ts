import type { Period } from "@jilian/domain/periods.ts";

/** Long periods change little: their provisional figures are looked at so many times more seldom. */
export const longPeriods: readonly Period[] = ["month", "quarter", "year", "pilot"];
const longInterval = 12;

/** The looks at provisional figures that are due. */
type Looks = { readonly short: boolean; readonly long: boolean };

/**
 * The pace of looks at provisional figures: short periods at a pace, long ones more seldom. Of hundreds of factories a look takes longer than
 * the pace: while something else waits it rests as long as it took, so that at least half of the time is that one's.
 * @param paceMs machine time between two looks; 0: a look with every tick
 */
export function lookPace(paceMs: number) {
  let looked = { short: Number.NEGATIVE_INFINITY, long: Number.NEGATIVE_INFINITY };
  let tookMs = 0;
  return {
    /**
     * @param all whatever is due, a look at all
     * @param isBusy true while the store is not folded, a backlog is not final or a recompute goes on
     */
    due: (all: boolean, isBusy: boolean): Looks => {
      const at = performance.now();
      const ownMs = paceMs > 0 && isBusy ? Math.max(paceMs, 2 * tookMs) : paceMs;
      const short = all || at - looked.short >= ownMs;
      // Progress is noted with them: a backlog keeps them no longer than one rest.
      const long = all || (short && at - looked.long >= paceMs * longInterval);
      looked = { short: short ? at : looked.short, long: long ? at : looked.long };
      return { short, long };
    },
    /** Notes how long the last look at short periods took. */
    took: async <T>(look: () => Promise<T>): Promise<T> => {
      const from = performance.now();
      const found = await look();
      tookMs = performance.now() - from;
      return found;
    },
  };
}
