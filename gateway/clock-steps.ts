import type { Clock } from "@jilian/domain/clock.ts";

/** What a clock did since it was last looked at. */
export type ClockLook = {
  readonly nowMs: number;
  readonly lastMs: number;
  /** By how much it moved apart from the machine's timer, ms of the clock; what of that counts as a step is the caller's to say. */
  readonly driftMs: number;
  readonly machineMs: number;
};

/** Compares a clock with the machine's timer, from each look to the next. */
export function clockSteps(clock: Clock, machineMs: () => number): () => ClockLook {
  let last = { clockMs: clock.now(), machineMs: machineMs() };
  return () => {
    const now = { clockMs: clock.now(), machineMs: machineMs() };
    const driftMs = now.clockMs - last.clockMs - (now.machineMs - last.machineMs) * clock.rate;
    const lastMs = last.clockMs;
    last = now;
    return { nowMs: now.clockMs, lastMs, driftMs, machineMs: now.machineMs };
  };
}
