/** Groups whole steps (minutes, hours: their starts) into runs without holes, at most `most` steps long each. */
export function runsOf(starts: Iterable<number>, stepMs: number, most = 1440): { fromMs: number; toMs: number }[] {
  const runs: { fromMs: number; toMs: number }[] = [];
  for (const start of [...new Set(starts)].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && start === last.toMs && start - last.fromMs < most * stepMs) last.toMs = start + stepMs;
    else runs.push({ fromMs: start, toMs: start + stepMs });
  }
  return runs;
}

/** The starts of the steps in [fromMs, toMs). */
export function* steps(fromMs: number, toMs: number, stepMs: number): Generator<number> {
  for (let at = fromMs; at < toMs; at += stepMs) yield at;
}
