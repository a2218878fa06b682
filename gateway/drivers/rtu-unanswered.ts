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
  /**
   * Some answer has come, to a request of ours or to an unknown one of before. By order the unknown one is over then; but where it was that
   * one's, ours is still to come, and looks alike.
   * @param like what the answer looked like; absent where it does no harm that ours comes later
   */
  readonly answered: (like?: { readonly code: number; readonly bytes: number }) => void;
  readonly clear: () => void;
};

/** Past all time. */
const never = Number.NEGATIVE_INFINITY;

/** @param unknownUntilMs until when one answer to a request of an earlier process may come, of which nothing is known: machine time */
export function createUnanswered(nowMs: () => number = () => performance.now(), unknownUntilMs = never): Unanswered {
  const known = new Map<string, { code: number; untilMs: number }>();
  let unknownMs = Math.min(unknownUntilMs, forgottenMs);
  const isUnknown = () => nowMs() < unknownMs;
  const note = (code: number, bytes: number): void =>
    void known.set(`${code}:${bytes}`, { code, untilMs: nowMs() + forgottenMs });
  function forget(): void {
    for (const [key, { untilMs }] of known) if (untilMs <= nowMs()) known.delete(key);
  }
  return {
    note,
    has: (code, bytes) => {
      forget();
      return isUnknown() || known.has(`${code}:${bytes}`);
    },
    hasCode: (code) => {
      forget();
      return isUnknown() || [...known.values()].some((one) => one.code === code);
    },
    answered(like) {
      if (like !== undefined && isUnknown()) note(like.code, like.bytes);
      unknownMs = never;
    },
    clear() {
      known.clear();
      unknownMs = never;
    },
  };
}
