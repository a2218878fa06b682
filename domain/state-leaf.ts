import { minuteMs } from "./periods.ts";

/**
 * The leaf of a machine's state: what one minute of one `machine.state` series contributes. Leaves of neighbouring minutes add up, so an
 * hour is the sum of its minutes (CONTRACTS 4). A state holds until the next reading, at most the staleness window, then it is unknown;
 * a reading of bad quality ends it at once. Milliseconds of the states and of none add up to 60,000, always: the leaf of a minute is made
 * when the minute has ended, an open one has none.
 */
export type StateLeaf = {
  /** Whole milliseconds in each state, by the state's code as the PLC gives it ("1"); states that did not occur are absent. */
  readonly ms: Readonly<Record<string, number>>;
  /** Milliseconds in which no state is known: stale, bad, or before the first reading. */
  readonly unknownMs: number;
  /** Usable readings inside the period. */
  readonly samples: number;
};

/** What a machine's states add up to over the minutes in which they were observed. */
export type StateSum = {
  /** All of these minutes. */
  readonly observedMs: number;
  /** Of them, in a known state. */
  readonly knownMs: number;
  /** Of them, in a running one. */
  readonly runningMs: number;
  /** Of them, in one of set-up; 0 where the registry names none. */
  readonly setupMs: number;
};

export const noState: StateSum = { observedMs: 0, knownMs: 0, runningMs: 0, setupMs: 0 };

export function addStates(a: StateSum, b: StateSum): StateSum {
  return {
    observedMs: a.observedMs + b.observedMs,
    knownMs: a.knownMs + b.knownMs,
    runningMs: a.runningMs + b.runningMs,
    setupMs: a.setupMs + b.setupMs,
  };
}

/** A minute is observed when its state is known for at least this long. */
export const observedFromMs = minuteMs / 2;

/**
 * What one minute of a machine says. A machine whose state has several series, because its metric was renamed, speaks by the one that
 * knows most of the minute; of equals by the last given. @returns undefined when the minute was not observed
 */
export function stateOfMinute(
  leaves: readonly StateLeaf[],
  runningCodes: ReadonlySet<string>,
  setupCodes: ReadonlySet<string> = new Set(),
): StateSum | undefined {
  let best: StateSum | undefined;
  for (const { ms } of leaves) {
    let [knownMs, runningMs, setupMs] = [0, 0, 0];
    for (const [code, own] of Object.entries(ms)) {
      knownMs += own;
      if (runningCodes.has(code)) runningMs += own;
      else if (setupCodes.has(code)) setupMs += own;
    }
    if (knownMs >= Math.max(observedFromMs, best?.knownMs ?? 0))
      best = { observedMs: minuteMs, knownMs, runningMs, setupMs };
  }
  return best;
}
