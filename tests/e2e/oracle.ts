/**
 * The other side of the path test: what the figures must be, worked out from what the simulators served, with code of its own. It shares
 * nothing with the product but the rule in words: a counter's increase in a period is the difference of its register at the edges, the
 * register interpolated linearly between its neighbouring readings and rounded down at the sixth decimal place.
 */

/** Decimal places of the integers in here. */
const places = 6;

export type Served = { timeMs: number; raw: bigint };
export type Stored = { atMs: number; value: string };
export type Scale = { numerator: number; denominator: number };

/** A raw register in its engineering unit, as an integer at six places; every scale of the demonstration is exact there. */
export function engineering(raw: bigint, { numerator, denominator }: Scale): bigint {
  const product = raw * BigInt(numerator) * 10n ** BigInt(places);
  if (product % BigInt(denominator) !== 0n)
    throw new Error(`${raw} x ${numerator}/${denominator} is not exact at ${places} places`);
  return product / BigInt(denominator);
}

/** An integer at a number of places as the interface writes it. */
export function written(units: bigint, at = places): string {
  const sign = units < 0n ? "-" : "";
  const digits = String(units < 0n ? -units : units).padStart(at + 1, "0");
  const fraction = digits.slice(-at).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -at)}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Electricity as standard coal: 0.1229 kgce/kWh (GB/T 2589-2020, equivalent value), as the interface writes it. */
export function writtenCoal(units: bigint): string {
  return written(units * 1229n, places + 4);
}

export type Reading = { atMs: number; units: bigint; servedMs: number; raw: bigint };

export type Matching = {
  /** Every stored reading with the answer of the plant that it came from. */
  readings: Reading[];
  /** Stored readings that no answer explains: invented, altered or stored twice. */
  unexplained: Stored[];
  /** Answers that were neither stored nor equal to what was reported before. */
  missing: Served[];
};

/**
 * Pairs what is stored with what was served, one to one and in order: a reading belongs to the last answer before it.
 * @param slackMs how much later than the answer the gateway may have stamped it
 * @param stepMs how far two processes' readings of one clock may lie apart
 */
export function match(
  served: readonly Served[],
  stored: readonly Stored[],
  scale: Scale,
  slackMs: number,
  stepMs: number,
): Matching {
  const readings: Reading[] = [];
  const unexplained: Stored[] = [];
  const missing: Served[] = [];
  let next = 0;
  let reported: bigint | undefined;
  const pass = (to: number) => {
    for (; next < to; next += 1) {
      const answer = served[next] as Served;
      if (answer.raw !== reported) missing.push(answer);
    }
  };
  for (const sample of stored) {
    const fits = (answer: Served | undefined) =>
      answer !== undefined &&
      sample.atMs - answer.timeMs <= slackMs &&
      written(engineering(answer.raw, scale)) === sample.value;
    let own = next;
    while (own < served.length && (served[own] as Served).timeMs <= sample.atMs + stepMs) own += 1;
    own -= 1;
    // The clocks agree to `stepMs`: an answer this close to the reading may already be the next poll's, which after a stall comes at once.
    const isClose = own > next && (served[own] as Served).timeMs > sample.atMs - stepMs;
    if (isClose && (!fits(served[own]) || fits(served[own - 1]))) own -= 1;
    const answer = served[own];
    if (own < next || !answer || !fits(answer)) {
      unexplained.push(sample);
      continue;
    }
    pass(own);
    next = own + 1;
    reported = answer.raw;
    readings.push({
      atMs: sample.atMs,
      units: engineering(answer.raw, scale),
      servedMs: answer.timeMs,
      raw: answer.raw,
    });
  }
  pass(served.length);
  return { readings, unexplained, missing };
}

/** Unrolls a counter: its readings as a total that never falls. */
export function totals(readings: readonly Reading[], modulus: bigint | undefined): { atMs: number; total: bigint }[] {
  let turns = 0n;
  let before: bigint | undefined;
  return readings.map(({ atMs, units }) => {
    if (before !== undefined && units < before) {
      if (modulus === undefined) throw new Error(`a counter without modulus fell from ${before} to ${units}`);
      turns += 1n;
    }
    before = units;
    return { atMs, total: units + turns * (modulus ?? 0n) };
  });
}

/**
 * The increases of consecutive periods; `edges` are their borders. Time before the first and after the last reading counts nothing; a
 * period that no part of lies between two readings has no figure: null.
 */
export function increases(
  line: readonly { atMs: number; total: bigint }[],
  edges: readonly number[],
): (bigint | null)[] {
  const first = line[0];
  const last = line.at(-1);
  if (!first || !last) return edges.slice(1).map(() => null);
  let i = 0;
  const at = edges.map((edge) => {
    if (edge <= first.atMs) return first.total;
    if (edge >= last.atMs) return last.total;
    while ((line[i + 1] as { atMs: number }).atMs <= edge) i += 1;
    const a = line[i] as { atMs: number; total: bigint };
    const b = line[i + 1] as { atMs: number; total: bigint };
    return a.total + ((b.total - a.total) * BigInt(edge - a.atMs)) / BigInt(b.atMs - a.atMs);
  });
  return edges.slice(1).map((edge, n) => {
    const known = edge > first.atMs && (edges[n] as number) < last.atMs;
    return known ? (at[n + 1] as bigint) - (at[n] as bigint) : null;
  });
}

/** The sum of several lines, period by period; null where none has a figure. */
export function sums(lines: readonly (readonly (bigint | null)[])[]): (bigint | null)[] {
  return (lines[0] ?? []).map((_, n) => {
    const known = lines.map((line) => line[n] ?? null).filter((units) => units !== null);
    return known.length === 0 ? null : known.reduce((sum, units) => sum + units, 0n);
  });
}
