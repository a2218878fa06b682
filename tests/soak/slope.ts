/** Whether a quantity of a process that was looked at again and again stays where it is. Pure. */

export type Point = { readonly atMs: number; readonly value: number };

export type Bound = {
  readonly name: string;
  readonly unit: string;
  /** What it may rise over the judged part, by its slope there: less than this is what faults that come and go do. */
  readonly rise: number;
  /** How often it must have been looked at in the judged part. */
  readonly leastPoints: number;
};

export type Verdict = {
  readonly bound: Bound;
  readonly points: number;
  /** Medians of the first and the last fifth of the judged part; NaN where nothing was seen. */
  readonly first: number;
  readonly last: number;
  readonly most: number;
  /** Slope of the judged part, and what it makes over all of it. */
  readonly perMinute: number;
  readonly rise: number;
  readonly says: "flat" | "RISES" | "TOO FEW SAMPLES" | "not judged: too short";
};

const minuteMs = 60_000;
/** So long code is compiled and pools fill: a judged part that begins sooner says nothing of a slope. */
const warmUpMs = 5 * minuteMs;

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] as number;
  return sorted.length === 0 ? Number.NaN : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/**
 * The slope of points, per minute, by Theil and Sen: the median of the slopes between any two. A quarter of the points may be as far out as
 * they like (Sen, Journal of the American Statistical Association 63, 1968). NaN below two points of different times.
 */
export function slopePerMinute(points: readonly Point[]): number {
  const slopes = points.flatMap((a, i) =>
    points
      .slice(i + 1)
      .flatMap((b) => (b.atMs === a.atMs ? [] : [((b.value - a.value) / (b.atMs - a.atMs)) * minuteMs])),
  );
  return median(slopes);
}

/**
 * Judges the second half of a run.
 * @param points of the whole run, times since its start
 */
export function verdictOf(points: readonly Point[], bound: Bound, runMs: number): Verdict {
  const fromMs = runMs / 2;
  const judged = points.filter(({ atMs }) => atMs >= fromMs);
  const fifth = Math.ceil(judged.length / 5);
  const mid = (of: readonly Point[]) => median(of.map(({ value }) => value));
  const perMinute = slopePerMinute(judged);
  const rise = (perMinute * (runMs - fromMs)) / minuteMs;
  const judgedAs = fromMs < warmUpMs ? "not judged: too short" : rise > bound.rise ? "RISES" : "flat";
  const tooFew = judged.length < bound.leastPoints || Number.isNaN(rise);
  return {
    ...{ bound, points: judged.length, first: mid(judged.slice(0, fifth)), last: mid(judged.slice(-fifth)) },
    most: judged.reduce((most, { value }) => Math.max(most, value), Number.NEGATIVE_INFINITY),
    ...{ perMinute, rise, says: tooFew ? "TOO FEW SAMPLES" : judgedAs },
  };
}

export function isGood({ says }: Verdict): boolean {
  return says === "flat" || says === "not judged: too short";
}

const shown = (value: number) => (Number.isFinite(value) ? String(Number(value.toPrecision(4))) : "-");
const named = ({ name, unit }: Pick<Bound, "name" | "unit">) => `${name}${unit === "" ? "" : `, ${unit}`}`;

export function tableOf(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ bound, points, first, last, most, perMinute, rise, says }) => {
    const numbers = [first, last, most, perMinute, rise, bound.rise].map(shown);
    return `| ${named(bound)} | ${points} | ${numbers.join(" | ")} | ${says} |`;
  });
  const head =
    "| second half of the run | samples | first fifth | last fifth | most | slope a minute | rise by it | bound | verdict |";
  return [head, "|---|---:|---:|---:|---:|---:|---:|---:|---|", ...rows].join("\n");
}
