/**
 * Where the product takes its time from. Everything that stamps a sample or bounds a period asks a clock that was passed in; time-outs of
 * sockets and back-off stay on the machine's own timers, because a network does not run faster when a plant is simulated faster.
 */
export type Clock = {
  /** UTC milliseconds since 1970, whole. */
  readonly now: () => number;
  /** How many milliseconds of this clock pass in one millisecond of the machine's timers; 1 for the system clock. */
  readonly rate: number;
};

export const systemClock: Clock = { now: () => Date.now(), rate: 1 };

/**
 * A clock that runs `rate` times as fast, for simulated plants only: at machine time `startedMs` it reads `originMs`.
 * Every process of a simulated cluster gets the same three numbers and so agrees on the time.
 */
export function scaledClock(setting: { rate: number; originMs: number; startedMs: number }): Clock {
  const { rate, originMs, startedMs } = setting;
  return { now: () => Math.floor(originMs + (Date.now() - startedMs) * rate), rate };
}

/**
 * Reads the clock setting `rate,originMs,startedMs` (environment variable JILIAN_CLOCK). Empty or absent gives the system clock.
 * @throws RangeError when the text is not three finite numbers with a rate above 0
 */
export function clockFromSetting(text: string | undefined): Clock {
  if (text === undefined || text === "") return systemClock;
  const parts = text.split(",").map(Number);
  const [rate, originMs, startedMs] = parts;
  if (parts.length !== 3 || parts.some((n) => !Number.isFinite(n)) || !rate || rate <= 0) {
    throw new RangeError(
      `JILIAN_CLOCK is "${text}"; expected "rate,originMs,startedMs", e.g. "60,1750000000000,1750000000000"`,
    );
  }
  return scaledClock({ rate, originMs: originMs ?? 0, startedMs: startedMs ?? 0 });
}
