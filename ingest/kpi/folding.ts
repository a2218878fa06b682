import type { ChangedMinute, Telemetry } from "@jilian/store/telemetry.ts";
import type { EngineParts } from "./engine.ts";
import type { Folding, LeafKeeper } from "./leaves.ts";
import { changeReader } from "./progress.ts";

export type FolderParts = Pick<EngineParts, "txPerTick" | "minutesPerTick"> & {
  telemetry: Pick<Telemetry, "changedMinutes">;
  keeper: Pick<LeafKeeper, "begin">;
  /** Rows of leaves, online time and states that are folded in one step, about: one more gap at most, of 31 days. */
  mostRows: () => number;
};

/** What a step has folded. */
export type Folded = {
  /** Starts of the minutes whose leaves may differ now, by factory. */
  readonly touched: ReadonlyMap<string, Set<number>>;
  /** What all the steps of these transactions have folded, and up to which it is; undefined while there is more of it. */
  readonly whole: { readonly changed: readonly ChangedMinute[]; readonly upToTx: number } | undefined;
};

/**
 * Reads what transactions changed and folds it in bounded steps. Readings of a transaction are of any time: one an hour makes sixty minutes of
 * leaves, one after weeks makes tens of thousands. So a step ends by what it has made, not by what it was made of, and a transaction may
 * take several; nothing vouches for it before the last.
 */
export function folder({ telemetry, keeper, txPerTick, minutesPerTick = 200_000, mostRows }: FolderParts) {
  const changesAfter = changeReader(telemetry, txPerTick, minutesPerTick);
  let underWay: { changed: readonly ChangedMinute[]; upToTx: number; folding: Folding } | undefined;

  return {
    /**
     * @param afterTx last transaction that is folded as a whole
     * @param learn called before transactions are begun: nothing is folded by what does not hold any more
     */
    step: async (afterTx: number, lastTx: number, nowMs: number, learn: () => Promise<void>): Promise<Folded> => {
      let work = underWay;
      // What fails is begun again: folding is repeatable.
      underWay = undefined;
      if (!work) {
        const { changed, upToTx } = await changesAfter(afterTx, lastTx);
        if (upToTx === afterTx) return { touched: new Map(), whole: { changed: [], upToTx } };
        await learn();
        work = { changed, upToTx, folding: keeper.begin(changed, upToTx) };
      }
      const { touched, isDone } = await work.folding(nowMs, mostRows());
      if (!isDone) underWay = work;
      return { touched, whole: isDone ? work : undefined };
    },
    /** True while some of what transactions changed is folded and some is not. */
    isUnderWay: (): boolean => underWay !== undefined,
    /** What is under way is begun again with the next step: it may be folded otherwise now. */
    again: (): void => {
      underWay = undefined;
    },
  };
}
