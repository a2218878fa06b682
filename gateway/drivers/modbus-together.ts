/** So many polls in a row that end in a time-out amid requests which are on their way together are no accident. */
const fewPolls = 2;
/**
 * After so long several are tried again, machine time, and after each trial in vain twice as long, up to a day: packets are lost, too. A trial
 * was not in vain once it has gone well for as long as the next wait: such a server answers some of them, those whose packets come apart.
 */
const firstTrialMs = 600_000;
const longestTrialMs = 86_400_000;

/**
 * How many requests may be under way to a device. Some servers take one request out of what has come and look at the rest when more
 * comes: they are asked one at a time. On the wire a few lost packets look the same, so that this is not for ever; a trial that fails costs
 * a device that is such a server one poll.
 */
export type Together = {
  readonly most: () => number;
  /** Of several requests at once all were answered. */
  readonly answered: () => void;
  /** The first ones were, and others were not. @returns whether it is asked one at a time from now on */
  readonly halfAnswered: () => boolean;
};

export function createTogether(
  maxReadsInFlight: number,
  trialMs = firstTrialMs,
  nowMs = () => performance.now(),
): Together {
  let inVain = 0;
  let waitMs = trialMs;
  let againMs = Number.NEGATIVE_INFINITY;
  let wellSinceMs: number | undefined;
  return {
    most: () => (inVain < fewPolls || nowMs() >= againMs ? maxReadsInFlight : 1),
    answered() {
      inVain = 0;
      wellSinceMs ??= nowMs();
      if (nowMs() - wellSinceMs >= waitMs) waitMs = trialMs;
    },
    halfAnswered() {
      inVain += 1;
      if (inVain < fewPolls) return false;
      wellSinceMs = undefined;
      againMs = nowMs() + waitMs;
      waitMs = Math.min(2 * waitMs, longestTrialMs);
      return true;
    },
  };
}
