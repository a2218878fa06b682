/** Failures by stable error code: as many as there are kinds, which a label of a metric may be. */
export type FailureKinds = Readonly<Record<string, number>>;

/** Codes are few and fixed; a library that made them up would otherwise make a series, and a line of memory, of each. */
const mostKinds = 32;
/** What counts those beyond. */
export const otherKinds = "OTHER";

/** The counts with one more of a code. Pure. @param code stable code of an error, as in the log */
export function withFailure(kinds: FailureKinds, code: string): FailureKinds {
  const isKnown = Object.hasOwn(kinds, code) || Object.keys(kinds).length < mostKinds;
  const kind = isKnown ? code : otherKinds;
  return { ...kinds, [kind]: (Object.hasOwn(kinds, kind) ? (kinds[kind] as number) : 0) + 1 };
}
