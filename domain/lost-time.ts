import { hourMs } from "./periods.ts";

/** An hour of a device of which less is stored than was queued (store/completeness.ts). */
export type Loss = {
  readonly device: string;
  readonly hourMs: number;
  readonly queued: number;
  readonly stored: number;
};

/**
 * The time that samples which are not stored stand for, by device: of each hour the share of what was queued, rounded up to a millisecond.
 * It bounds the completeness of a figure from above: readings cover at most the rest. It is never added to the time that a gap leaves
 * uncovered, because the same lost samples make both.
 * @param untilMs end of what has passed of the period that begins at `startMs`
 * @returns ms above 0, devices that lack nothing are absent
 */
export function lostTimes(losses: readonly Loss[], startMs: number, untilMs: number): Map<string, number> {
  const lost = new Map<string, number>();
  for (const { device, hourMs: at, queued, stored } of losses) {
    const passedMs = Math.min(at + hourMs, untilMs) - Math.max(at, startMs);
    if (passedMs <= 0 || queued <= stored) continue;
    // Whole numbers of any size, so that the same counts give the same digits.
    const ms = (BigInt(passedMs) * BigInt(queued - stored) + BigInt(queued) - 1n) / BigInt(queued);
    lost.set(device, (lost.get(device) ?? 0) + Number(ms));
  }
  return lost;
}
