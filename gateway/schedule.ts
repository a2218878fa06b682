import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "@jilian/domain/clock.ts";

/** When a device is polled and retried. Intervals are those of the clock that was passed; waits are in machine time. */

/** Waits for machine time; rejects with an AbortError when the signal aborts. Keeps no timer afterwards. */
export async function wait(waitMs: number, signal: AbortSignal): Promise<void> {
  await sleep(waitMs, undefined, { signal });
}

/** A device's place in its interval, from its id alone (FNV-1a): starts are spread, and the same on every start. */
export function phaseOf(id: string, intervalMs: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i += 1) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193) >>> 0;
  return hash % intervalMs;
}

/** Longest wait before the first poll: a device with an hourly interval is not looked at an hour after the start. */
const maxFirstWaitMs = 1000;

/** Machine time until the first poll. */
export function firstPollMs(clock: Clock, intervalMs: number, phaseMs: number): number {
  return Math.min(untilGrid(clock.now(), intervalMs, phaseMs) / clock.rate, (phaseMs / intervalMs) * maxFirstWaitMs);
}

/** Clock time until the next point of the grid `phase + n x interval`: above 0, at most one interval. */
function untilGrid(nowMs: number, intervalMs: number, phaseMs: number): number {
  const into = (((nowMs - phaseMs) % intervalMs) + intervalMs) % intervalMs;
  return intervalMs - into;
}

/**
 * The next poll after one that took `tookMs` of machine time: on the grid, never two for one point of it (timers fire early by a
 * fraction), never more than about an interval away. Reckoned from the length of the poll, not from an absolute plan, so that a clock
 * that is set back does not stop polling, and one that is set forward counts no skipped polls.
 * @returns the wait in machine time, and how many points of the grid the poll overran
 */
export function nextPoll(
  clock: Clock,
  intervalMs: number,
  phaseMs: number,
  tookMs: number,
): { waitMs: number; skipped: number } {
  const elapsedMs = tookMs * clock.rate;
  let untilMs = untilGrid(clock.now(), intervalMs, phaseMs);
  if (elapsedMs + untilMs < intervalMs / 2) untilMs += intervalMs;
  const skipped = Math.max(0, Math.round((elapsedMs + untilMs) / intervalMs) - 1);
  return { waitMs: untilMs / clock.rate, skipped };
}

/**
 * Wait before another connect, machine time: doubles from retryMinMs to retryMaxMs, of which half is chance, so that a hundred devices
 * behind one switch do not come back in step.
 * @param failures how many came before in a row
 */
export function backOffMs(failures: number, { retryMinMs, retryMaxMs }: { retryMinMs: number; retryMaxMs: number }) {
  const most = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(failures, 30));
  return most * (0.5 + Math.random() / 2);
}
