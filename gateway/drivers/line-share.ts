import { JilianError } from "@jilian/domain/errors.ts";
import type { Exchange, Line } from "./line.ts";

/** One device's share in a line, from a connect to its first fault, and never after it. */
export type Share = {
  /**
   * @param told the line's error in the words of the protocol, and whatever is to be noted of it
   * @throws JilianError that `told` gave; after the first fault that one again
   */
  readonly exchange: (asked: Omit<Exchange, "signal">, told: (thrown: unknown) => unknown) => Promise<Buffer>;
  /** Ends it at once; an exchange under way fails with the error. */
  readonly fail: (error: JilianError) => void;
  /** Aborts once it has ended. */
  readonly signal: AbortSignal;
};

export function createShare(line: Pick<Line, "exchange">): Share {
  const ending = new AbortController();
  const { signal } = ending;
  let broken: JilianError | undefined;

  function fail(error: JilianError): void {
    broken ??= error;
    ending.abort();
  }

  return {
    async exchange(asked, told) {
      if (broken !== undefined) throw broken;
      try {
        return await line.exchange({ ...asked, signal });
      } catch (thrown) {
        const inWords = told(thrown);
        const error = broken ?? inWords;
        if (error instanceof JilianError) fail(error);
        throw error;
      }
    },
    fail,
    signal,
  };
}
