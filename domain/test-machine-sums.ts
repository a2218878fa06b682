/**
 * The sums of one machine in the plainest way, from all its minutes at once: what rollups (rollup.ts) have to come to, however they are
 * grouped and kept.
 */
import { type CounterLeaf, emptyLeaf, mergeLeaves } from "./leaf.ts";
import {
  addQuantities,
  type MachinePlan,
  type MachineSums,
  noQuantity,
  observe,
  plannedMinutes,
  plannedTimeMs,
  type Quantity,
  quantityOf,
} from "./machine-sums.ts";
import { hourMs, minuteMs } from "./periods.ts";
import type { Role } from "./roles.ts";
import type { StateLeaf } from "./state-leaf.ts";

/** A state leaf with the minute it belongs to. */
export type MinuteState = { readonly minuteMs: number; readonly leaf: StateLeaf };

/** A leaf with the minute it belongs to. */
export type MinuteLeaf = { readonly minuteMs: number; readonly leaf: CounterLeaf };

/** Merges leaves of one series, earliest first. A minute without a leaf breaks a gap's continuity and adds nothing. */
export function mergeMinutes(leaves: readonly MinuteLeaf[]): CounterLeaf {
  let merged: CounterLeaf | undefined;
  let nextMs = 0;
  for (const { minuteMs: at, leaf } of leaves) {
    if (merged && at !== nextMs) merged = mergeLeaves(merged, emptyLeaf);
    merged = merged ? mergeLeaves(merged, leaf) : leaf;
    nextMs = at + minuteMs;
  }
  return merged ?? emptyLeaf;
}

/**
 * What a counter says of the minutes that count. Each stretch of neighbouring ones is taken by itself, and ends with its hour at the
 * latest, so that a day is the sum of its hours: what interpolation over such an edge assigned is an estimate.
 * @param leaves of one series, earliest first
 */
export function quantityOfMinutes(leaves: readonly MinuteLeaf[], counts: (minuteMs: number) => boolean): Quantity {
  let sum = noQuantity;
  let stretch: CounterLeaf | undefined;
  let nextMs = 0;
  for (const { minuteMs: at, leaf } of leaves) {
    if (!counts(at)) continue;
    const goesOn = stretch !== undefined && at === nextMs && at % hourMs !== 0;
    if (stretch && !goesOn) sum = addQuantities(sum, quantityOf(stretch));
    stretch = stretch && goesOn ? mergeLeaves(stretch, leaf) : leaf;
    nextMs = at + minuteMs;
  }
  return stretch ? addQuantities(sum, quantityOf(stretch)) : sum;
}

/** A counter series of a machine with its leaves, by minute. */
export type CounterMinutes = {
  readonly role: Role;
  readonly product: string | undefined;
  readonly leaves: readonly MinuteLeaf[];
};

/** Sums up the minutes of one machine. Pure. @param states per state series its leaves, by minute */
export function sumMachine(
  plan: MachinePlan,
  counters: readonly CounterMinutes[],
  states: readonly (readonly MinuteState[])[],
  { startMs, endMs, asOfMs, lostMs = 0 }: { startMs: number; endMs: number; asOfMs: number; lostMs?: number },
): MachineSums {
  const leaves = Map.groupBy(states.flat(), (row) => row.minuteMs);
  const statesAt = (at: number) => (leaves.get(at) ?? []).map((row) => row.leaf);
  const planned = plannedMinutes(plan, startMs, endMs, asOfMs);
  const { minutes, state } = observe(plan, planned, states.length === 0 ? undefined : statesAt);
  return {
    plan,
    counters: counters.map(({ role, product, leaves: own }) => ({
      role,
      product,
      whole: quantityOf(mergeMinutes(own.filter((l) => l.minuteMs >= startMs && l.minuteMs < endMs))),
      planned: quantityOfMinutes(own, (at) => minutes.has(at)),
    })),
    state: states.length === 0 ? undefined : state,
    elapsedMs: Math.min(endMs, asOfMs) - startMs,
    plannedMs: plannedTimeMs(plan, startMs, endMs, asOfMs),
    lostMs,
  };
}
