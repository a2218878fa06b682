import type { CommitNotice } from "@jilian/domain/commit.ts";

/** By how much a clock is before the platform's (behind where negative), and how far from that it may be at most, ms. */
export type ClockOffset = { readonly offsetMs: number; readonly uncertaintyMs: number };

export type OffsetMeter = {
  /** A notice for records that this process has sent. @param epoch the epoch in use @param receivedMs when it came, gateway time, UTC ms */
  readonly note: (notice: CommitNotice, epoch: string, receivedMs: number) => void;
  /**
   * What is told: another value only when the one before cannot be true any more, or is twice as sure, so that it is no change with every
   * notice. Undefined until there is a notice.
   */
  readonly told: () => ClockOffset | undefined;
};

/** Clocks drift by less than 100 ppm: within this time by less than the way of a notice takes. */
const windowMs = 600_000;
const maxBounds = 64;
/** No tighter: millisecond stamps, and what a drift does to bounds of a window. */
const leastMs = 50;

type Bounds = { readonly atMs: number; readonly low: number; readonly high: number };

/** The bounds that all agree on, the newest first: where an older one contradicts them, a clock was set in between. */
function agreed(bounds: readonly Bounds[]): { low: number; high: number; used: number } | undefined {
  let found: { low: number; high: number; used: number } | undefined;
  for (const { low, high } of bounds.toReversed()) {
    const next = { low: Math.max(low, found?.low ?? low), high: Math.min(high, found?.high ?? high) };
    if (next.low > next.high) break;
    found = { ...next, used: (found?.used ?? 0) + 1 };
  }
  return found;
}

/**
 * Measures the gateway's clock against the platform's by commit notices (F. Cristian, Probabilistic clock synchronization, 1989, without a
 * question of its own): the platform made the notice after the newest of its records was written here, and before it came here. A backlog
 * or a slow store makes the bounds wider, never wrong. No clock is set by it.
 * @param machineMs a monotonic clock
 */
export function offsetMeter(machineMs: () => number = () => performance.now()): OffsetMeter {
  let bounds: Bounds[] = [];
  let told: ClockOffset | undefined;

  function note({ epoch: own, writtenAtMs = [], atMs }: CommitNotice, epoch: string, receivedMs: number): void {
    // Times of writing never fall within an epoch; those of one before may be of a clock that was set since.
    const newestMs = own === epoch ? writtenAtMs.reduce((high, ms) => Math.max(high, ms), -Infinity) : -Infinity;
    if (newestMs > receivedMs || newestMs === -Infinity) return;
    const now = machineMs();
    bounds.push({ atMs: now, low: newestMs - atMs, high: receivedMs - atMs });
    bounds = bounds.filter(({ atMs: at }) => now - at <= windowMs).slice(-maxBounds);
    const found = agreed(bounds);
    if (!found) return;
    bounds = bounds.slice(-found.used);
    const offsetMs = Math.round((found.low + found.high) / 2);
    const halfMs = Math.ceil((found.high - found.low) / 2);
    const uncertaintyMs = Math.max(leastMs, halfMs);
    const isFalse = told === undefined || Math.abs(told.offsetMs - offsetMs) > told.uncertaintyMs + halfMs;
    if (isFalse || 2 * uncertaintyMs <= (told?.uncertaintyMs ?? 0)) told = { offsetMs, uncertaintyMs };
  }

  return { note, told: () => told };
}
