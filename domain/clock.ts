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

/** A file that a clock is read from is looked at again this often, on the machine's timers. */
const lookAgainMs = 20;

/**
 * A clock that runs `rate` times as fast, for simulated plants only: at machine time `startedMs` it reads `originMs`.
 * Every process of a simulated cluster gets the same three numbers and so agrees on the time.
 */
export function scaledClock(setting: { rate: number; originMs: number; startedMs: number }): Clock {
  const { rate, originMs, startedMs } = setting;
  return { now: () => Math.floor(originMs + (Date.now() - startedMs) * rate), rate };
}

/**
 * A clock that follows a text which changes: for tests of clocks that are set forward and back while a program runs. The rate is that of
 * the first text. A text that cannot be read or is no setting leaves the clock as it was.
 * @param read gives the setting as it is now
 * @throws RangeError when the first text is no setting; what `read` throws the first time
 */
function followedClock(read: () => string): Clock {
  let text = read().trim();
  let clock = clockFromSetting(text);
  let lookedMs = performance.now();
  const { rate } = clock;
  const look = (): void => {
    if (performance.now() - lookedMs < lookAgainMs) return;
    lookedMs = performance.now();
    try {
      const found = read().trim();
      if (found === text) return;
      clock = clockFromSetting(found);
      text = found;
    } catch {
      // It is being written, or gone: what it said last still holds.
    }
  };
  return {
    now: () => {
      look();
      return clock.now();
    },
    rate,
  };
}

/**
 * Reads the clock setting `rate,originMs,startedMs`, or `@FILE` whose content is one and may change while the program runs
 * (environment variable JILIAN_CLOCK). Empty or absent gives the system clock.
 * @param readFile gives a file's text; without it `@FILE` is refused
 * @throws RangeError when the text is neither, or not three finite numbers with a rate above 0; what `readFile` throws
 */
export function clockFromSetting(text: string | undefined, readFile?: (path: string) => string): Clock {
  if (text === undefined || text === "") return systemClock;
  if (text.startsWith("@") && readFile) return followedClock(() => readFile(text.slice(1)));
  const parts = text.split(",").map(Number);
  const [rate, originMs, startedMs] = parts;
  if (parts.length !== 3 || parts.some((n) => !Number.isFinite(n)) || !rate || rate <= 0) {
    throw new RangeError(
      `JILIAN_CLOCK is "${text}"; expected "rate,originMs,startedMs", e.g. "60,1750000000000,1750000000000"`,
    );
  }
  return scaledClock({ rate, originMs: originMs ?? 0, startedMs: startedMs ?? 0 });
}
