/** No probe is shorter, ms: a stall of this box or of a converter must not look like a device that is away. */
const leastProbeMs = 100;
/** A device that was away may answer so many times slower than it, or the others on its line, did before. */
const probeMargin = 3;
/** How much of what was slowest an answer in less time leaves: a single slow one is forgotten after some dozens. */
const decay = 0.95;

/** Of so many attempts at a device that stays silent one has the whole time-out: it may answer more slowly than it ever did. */
const attemptsPerWhole = 4;

/** Whether the next attempt is a probe. @param silentAttempts in a row at which the device was silent, of which the first had the whole time-out */
export function isProbe(silentAttempts: number): boolean {
  return silentAttempts % attemptsPerWhole !== 0;
}

/**
 * How long the devices of a line take to answer, and so for how long one that was silent is looked for. A device that is off then costs its
 * line three times what an answer takes there, and not its whole time-out, which is chosen for the worst answer of the slowest of them.
 */
export type AnswerTimes = {
  /** An answer came so long after its request was written. */
  readonly note: (device: string, tookMs: number) => void;
  /**
   * Measured by the device's own answers; where there was none, by the slowest device of the line; where nobody ever answered, by nothing.
   * @returns at most `timeoutMs`
   */
  readonly probeMs: (device: string, timeoutMs: number) => number;
  /** Forgets all devices but these: a slow one that was taken off the line is no measure for the others. */
  readonly keep: (devices: ReadonlySet<string>) => void;
};

export function createAnswerTimes(): AnswerTimes {
  const slowest = new Map<string, number>();
  return {
    keep(devices) {
      for (const device of slowest.keys()) if (!devices.has(device)) slowest.delete(device);
    },
    note: (device, tookMs) => void slowest.set(device, Math.max(tookMs, decay * (slowest.get(device) ?? 0))),
    probeMs(device, timeoutMs) {
      const knownMs = slowest.get(device) ?? (slowest.size > 0 ? Math.max(...slowest.values()) : undefined);
      return knownMs === undefined ? timeoutMs : Math.min(timeoutMs, Math.max(leastProbeMs, probeMargin * knownMs));
    },
  };
}
