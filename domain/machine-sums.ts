import { type Calendar, type Interval, lengthOf, plannedIntervals } from "./calendar.ts";
import { type CounterLeaf, estimatedOf, tellsIncrease } from "./leaf.ts";
import { minuteMs, periodStart } from "./periods.ts";
import type { Role } from "./roles.ts";
import { addStates, noState, type StateLeaf, type StateSum, stateOfMinute } from "./state-leaf.ts";

/** Places of a planned run time per item: ms at 6 places, so that it multiplies with quantities exactly. */
export const runTimeScale = 6;

/** What the registry says of a machine and its ratio figures need. What is undefined is not known, and no default stands for it. */
export type MachinePlan = {
  /** Planned busy time (ISO 22400-2 PBT). */
  readonly calendar: Calendar | undefined;
  /** Codes of `machine.state` in which the machine produces: they make the actual production time (ISO 22400-2 APT). */
  readonly runningCodes: ReadonlySet<string> | undefined;
  /** Codes of set-up (ISO 22400-2: with APT they make the actual unit processing time AUPT); undefined where the registry names none. */
  readonly setupCodes?: ReadonlySet<string> | undefined;
  /** Planned run time per item (ISO 22400-2 PRI) of a product, ms as an integer at `runTimeScale`; undefined when there is none of any. */
  readonly plannedRunTime: ((product: string | undefined) => bigint | undefined) | undefined;
};

/** What a counter says of a set of minutes. Sums of disjoint sets add up. */
export type Quantity = {
  /** Increase, integer at the scale of the role's unit. */
  readonly amount: bigint;
  /** The part of it that interpolation across a gap over an edge of these minutes assigned to them. */
  readonly estimated: bigint;
  readonly coveredMs: number;
  /** True when an increase is told, even one of 0. */
  readonly told: boolean;
  /** True when some increase could not be told: `amount` is a lower bound. */
  readonly partial: boolean;
};

export const noQuantity: Quantity = { amount: 0n, estimated: 0n, coveredMs: 0, told: false, partial: false };

export function quantityOf(leaf: CounterLeaf): Quantity {
  const { amount, coveredMs, resets } = leaf;
  return { amount, estimated: estimatedOf(leaf), coveredMs, told: tellsIncrease(leaf), partial: resets > 0 };
}

export function addQuantities(a: Quantity, b: Quantity): Quantity {
  return {
    amount: a.amount + b.amount,
    estimated: a.estimated + b.estimated,
    coveredMs: a.coveredMs + b.coveredMs,
    told: a.told || b.told,
    partial: a.partial || b.partial,
  };
}

/** A counter of a machine over a period: all of it, and what falls into observed planned minutes (`observe`). */
export type CounterSum = {
  readonly role: Role;
  readonly product: string | undefined;
  readonly whole: Quantity;
  readonly planned: Quantity;
};

/** What a machine says of a period: everything that its ratio figures are made of. */
export type MachineSums = {
  readonly plan: MachinePlan;
  readonly counters: readonly CounterSum[];
  /** In observed planned minutes; undefined when the machine gives no state. */
  readonly state: StateSum | undefined;
  /** What has passed of the period. */
  readonly elapsedMs: number;
  /** Planned time in what has passed of it, in whole minutes. */
  readonly plannedMs: number;
  /** Of what has passed of it, the time that samples which are not stored stand for (lost-time.ts). */
  readonly lostMs: number;
};

/**
 * Where the terms of ratios that speak of planned time end: with the last whole minute. Production, state and plan of the same minutes
 * are compared, and the state of a minute is known when it has ended.
 */
export function plannedEndMs(endMs: number, asOfMs: number): number {
  return Math.min(endMs, periodStart("minute", asOfMs));
}

/** Of each calendar the last answer: the machines of a factory ask for the same. */
const lastPlanned = new WeakMap<Calendar, Interval & { readonly ms: number }>();

/** Planned time of a machine in what has passed of a period; 0 without a calendar. */
export function plannedTimeMs({ calendar }: MachinePlan, startMs: number, endMs: number, asOfMs: number): number {
  const toMs = plannedEndMs(endMs, asOfMs);
  if (!calendar || toMs <= startMs) return 0;
  const last = lastPlanned.get(calendar);
  if (last?.fromMs === startMs && last.toMs === toMs) return last.ms;
  const ms = lengthOf(plannedIntervals(calendar, startMs, toMs));
  lastPlanned.set(calendar, { fromMs: startMs, toMs, ms });
  return ms;
}

/** The minutes of [startMs, endMs) that are planned and have ended, in order. */
export function plannedMinutes({ calendar }: MachinePlan, startMs: number, endMs: number, asOfMs: number): number[] {
  const toMs = plannedEndMs(endMs, asOfMs);
  const planned = calendar && toMs > startMs ? plannedIntervals(calendar, startMs, toMs) : [];
  return planned.flatMap((interval) => {
    const count = Math.floor((interval.toMs - interval.fromMs) / minuteMs);
    return Array.from({ length: count }, (_, m) => interval.fromMs + m * minuteMs);
  });
}

/**
 * Which planned minutes count, and what the states say in them. All terms of an equipment figure speak of the same minutes: those in which
 * the state was observed. What nobody saw is neither running nor standing still, and completeness tells how much that is. A machine that
 * gives no state, or whose states have no meaning, counts with every planned minute.
 * @param planned starts of the planned minutes
 * @param statesAt the state leaves of a minute; undefined when the machine gives no state
 */
export function observe(
  { runningCodes, setupCodes }: MachinePlan,
  planned: readonly number[],
  statesAt: ((minuteMs: number) => readonly StateLeaf[]) | undefined,
): { minutes: ReadonlySet<number>; state: StateSum } {
  if (!runningCodes || !statesAt) return { minutes: new Set(planned), state: noState };
  const minutes = new Set<number>();
  let state = noState;
  for (const at of planned) {
    const own = stateOfMinute(statesAt(at), runningCodes, setupCodes);
    if (!own) continue;
    minutes.add(at);
    state = addStates(state, own);
  }
  return { minutes, state };
}
