/** An answer does not come this long after its request any more, whatever lies between, ms. */
const forgottenMs = 60_000;

/**
 * Requests to one unit whose answers may still be on the way, by what the answer would look like. RTU has no transaction ids: an answer to
 * an earlier request passes for that to a later one of equal function and length.
 *
 * What ends the doubt is order: a unit, a converter and a box answer in the order in which they were asked. So once a request is answered
 * of which no earlier answer can look the same, no earlier answer comes any more.
 */
export type Unanswered = {
  readonly note: (code: number, bytes: number) => void;
  /** Whether an earlier answer may look like one of this function and length. */
  readonly has: (code: number, bytes: number) => boolean;
  /** Whether an earlier answer may be an exception of this function: those all look the same. */
  readonly hasCode: (code: number) => boolean;
  readonly clear: () => void;
};

export function createUnanswered(nowMs: () => number = () => performance.now()): Unanswered {
  const known = new Map<string, { code: number; untilMs: number }>();
  function forget(): void {
    for (const [key, { untilMs }] of known) if (untilMs <= nowMs()) known.delete(key);
  }
  return {
    note: (code, bytes) => void known.set(`${code}:${bytes}`, { code, untilMs: nowMs() + forgottenMs }),
    has: (code, bytes) => {
      forget();
      return known.has(`${code}:${bytes}`);
    },
    hasCode: (code) => {
      forget();
      return [...known.values()].some((one) => one.code === code);
    },
    clear: () => known.clear(),
  };
}
