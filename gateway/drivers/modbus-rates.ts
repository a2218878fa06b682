import { type Groups, intervalOf } from "./rates.ts";

/** Which groups of a device are due. */
export type Rates = {
  /** The groups that a poll which begins now has to read. They are due again an interval later, or once they are asked for. @param nowMs of a clock that nobody sets, ms of the gateway's clock */
  readonly take: (nowMs: number) => ReadonlySet<string>;
  /** A group is due at the next poll that begins. @returns whether there is one of that name */
  readonly ask: (group: string) => boolean;
  /** All are due: the device may be another one. */
  readonly reset: () => void;
};

type Rated = { readonly pollIntervalMs: number; readonly groups?: Groups };

/** @param device times in the gateway's clock, as those that are passed; a group is due half a poll early, since polls never fall exactly on its interval */
export function createRates({ pollIntervalMs, groups = {} }: Rated): Rates {
  const takenMs = new Map<string, number>();

  function isDue(group: string, nowMs: number): boolean {
    const ownMs = intervalOf({ group }, { pollIntervalMs, groups });
    return nowMs - (takenMs.get(group) ?? Number.NEGATIVE_INFINITY) >= ownMs - pollIntervalMs / 2;
  }

  return {
    take: (nowMs) => {
      const due = Object.keys(groups).filter((group) => isDue(group, nowMs));
      for (const group of due) takenMs.set(group, nowMs);
      return new Set(due);
    },
    ask: (group) => {
      takenMs.delete(group);
      return Object.hasOwn(groups, group);
    },
    reset: () => takenMs.clear(),
  };
}
