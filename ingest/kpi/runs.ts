export type RunLimits = {
  /** Longest run, in steps. */
  most?: number;
  /** Most missing steps in a row that do not end a run: a query over some more is cheaper than two queries. */
  holes?: number;
};

/** Groups whole steps (minutes, hours: their starts) into runs [fromMs, toMs), each with the starts that were given. */
export function runsOf(
  starts: Iterable<number>,
  stepMs: number,
  { most = 1440, holes = 0 }: RunLimits = {},
): { fromMs: number; toMs: number; starts: number[] }[] {
  const runs: { fromMs: number; toMs: number; starts: number[] }[] = [];
  for (const start of [...new Set(starts)].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && start - last.toMs <= holes * stepMs && start - last.fromMs < most * stepMs) {
      last.toMs = start + stepMs;
      last.starts.push(start);
    } else runs.push({ fromMs: start, toMs: start + stepMs, starts: [start] });
  }
  return runs;
}

/**
 * Groups spans of time that are near each other: a question over all of them would read what lies between.
 * @param gapMs how long after what came before a span may begin to be in its group
 * @returns the groups, and the spans in each, in the order of their starts
 */
export function nearEachOther<S extends { readonly startMs: number; readonly endMs: number }>(
  spans: readonly S[],
  gapMs: (span: S) => number,
): S[][] {
  const groups: S[][] = [];
  let untilMs = Number.NEGATIVE_INFINITY;
  for (const span of [...spans].sort((a, b) => a.startMs - b.startMs)) {
    const last = groups.at(-1);
    if (last && span.startMs - untilMs <= gapMs(span)) last.push(span);
    else groups.push([span]);
    untilMs = Math.max(untilMs, span.endMs);
  }
  return groups;
}

/** The starts of the steps in [fromMs, toMs). */
export function* steps(fromMs: number, toMs: number, stepMs: number): Generator<number> {
  for (let at = fromMs; at < toMs; at += stepMs) yield at;
}

/** What of [fromMs, toMs) lies in each of some stretches of time, which are in order and do not overlap. */
export function cut<T extends { readonly fromMs: number; readonly toMs: number }>(
  stretches: readonly T[],
  fromMs: number,
  toMs: number,
): { of: T; fromMs: number; toMs: number }[] {
  return stretches.flatMap((of) => {
    const piece = { of, fromMs: Math.max(fromMs, of.fromMs), toMs: Math.min(toMs, of.toMs) };
    return piece.toMs > piece.fromMs ? [piece] : [];
  });
}
