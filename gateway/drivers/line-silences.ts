/**
 * What silent devices may cost those that answer on their line. Each silent one costs at most one time-out in its own back-off; where many
 * are silent (a cabinet without power behind a converter that serves in turn) these would come in a row, and the others miss their cycles.
 *
 * So silence is paid for: after a device that had not answered before was asked in vain, other such devices are held back for three times
 * as long as it took, and while the converter may still wait for it. With silent devices a line spends a quarter of its time at most, and
 * between two of them every device that answers has its turn.
 *
 * Held back is not given less: the first attempt at each device, and every fourth one, still has its whole time-out (line-probe.ts). That
 * its neighbours are silent tells nothing of how slow it is, and a slow device must not be taken for a dead one.
 */

/** For so many times what a silence took the line is left to those that answer. */
const shareOfOthers = 3;

/** When a device may be asked, of those that wait: the least goes first. */
export const turn = { now: 0, ifNobodyElse: 1, later: 2 } as const;
export type Turn = (typeof turn)[keyof typeof turn];

export type Silences = {
  /** The device answered its request. */
  readonly answered: (device: string) => void;
  /** It did not, or another told that it does not. @param tookMs for how long the line was its own */
  readonly silent: (device: string, tookMs: number) => void;
  /** @param busyUntilMs until when the other side may wait for a device that was given up */
  readonly turnOf: (device: string, nowMs: number, busyUntilMs: number) => Turn;
  /** Until when those that were silent are held back. */
  readonly heldUntilMs: (busyUntilMs: number) => number;
  /** Forgets all devices but these: one that answered and was taken off the line is nobody to be spared. */
  readonly keep: (devices: ReadonlySet<string>) => void;
};

export function createSilences(): Silences {
  /** Whether a device answered when it was asked last; absent where it never was. */
  const known = new Map<string, boolean>();
  let untilMs = Number.NEGATIVE_INFINITY;
  const hasLiving = () => known.values().some((answers) => answers);
  const heldUntilMs = (busyUntilMs: number) =>
    hasLiving() ? Math.max(untilMs, busyUntilMs) : Number.NEGATIVE_INFINITY;
  return {
    answered: (device) => void known.set(device, true),
    silent(device, tookMs) {
      // One that answered until now may have missed a single request: neither it nor others pay for that.
      if (known.get(device) !== true) untilMs = performance.now() + shareOfOthers * tookMs;
      known.set(device, false);
    },
    turnOf(device, nowMs, busyUntilMs) {
      const answers = known.get(device);
      if (answers === true || nowMs >= heldUntilMs(busyUntilMs)) return turn.now;
      // One that was never asked is most likely there.
      return answers === undefined ? turn.ifNobodyElse : turn.later;
    },
    heldUntilMs,
    keep(devices) {
      for (const device of known.keys()) if (!devices.has(device)) known.delete(device);
    },
  };
}
