/**
 * The comparison: what left the plant and was answered, with what is stored. A register that rises between any two polls makes each
 * answer known by its value alone, so that pairing needs no times: the gateway's clock may jump as it likes.
 */

/** One answer of the plant, as one metric shows it. */
export type Answer = {
  /** As the interface writes it. */
  readonly value: string;
  /** Machine time at which the answer was handed to the socket, UTC ms. */
  readonly servedMs: number;
  /** The gateway's connection: a poll follows the one before, so only the last answer of a connection can have been left unread. */
  readonly client: string;
};

/** A stored reading; the order of those of a series is that of their source times. */
export type Stored = { readonly atMs: number; readonly value: string };

export type Pairing = {
  /** Answers that are not stored, but for those that only repeat the value before, which are no readings. */
  readonly lost: Answer[];
  /** Stored readings beyond the answers of their value. */
  readonly twice: Stored[];
  /** Stored readings that no answer explains. */
  readonly altered: Stored[];
  /** Stored readings whose source times are not in the order of the answers. */
  readonly disordered: Stored[];
};

/** Pairs the answers of one metric, in order, with its stored readings by source time. */
export function pair(answers: readonly Answer[], stored: readonly Stored[]): Pairing {
  const byValue = Map.groupBy(answers, ({ value }) => value);
  const rank = new Map([...byValue.keys()].map((value, i) => [value, i]));
  const found = Map.groupBy(stored, ({ value }) => value);
  const altered = stored.filter(({ value }) => !byValue.has(value));
  const twice = [...found].flatMap(([value, rows]) => rows.slice(byValue.get(value)?.length ?? rows.length));
  const disordered: Stored[] = [];
  let greatest = -1;
  for (const sample of stored) {
    const own = rank.get(sample.value) ?? greatest;
    if (own < greatest) disordered.push(sample);
    greatest = Math.max(greatest, own);
  }
  const lost = [...byValue].flatMap(([value, all]) => (found.has(value) ? [] : all));
  return { lost, twice, altered, disordered };
}

/** A time in which answers may be missing, and why; machine time, UTC ms, both ends included. */
export type Allowance = { readonly fromMs: number; readonly toMs: number };

/** The last answer of every connection that ended by a kill: it may still have been in the socket. */
export function unread(answers: readonly Answer[], killsMs: readonly number[]): Set<Answer> {
  const last = new Map<string, Answer>();
  for (const answer of answers) last.set(answer.client, answer);
  const found = new Set<Answer>();
  const ends = [...last.values()];
  for (const killMs of killsMs) {
    // Handed to the socket before the kill, or in the instant in which the kernel had not yet closed it.
    const before = ends.filter(({ servedMs }) => servedMs <= killMs + killSlackMs).at(-1);
    if (before) found.add(before);
  }
  return found;
}

/** All that was told within a time before the end of a kill: what is collected first, or waits in a socket, is not read yet. */
export function toldShortlyBefore(
  answers: readonly Answer[],
  killsMs: readonly number[],
  withinMs: number,
): Set<Answer> {
  const isShortlyBefore = (servedMs: number, killMs: number) =>
    servedMs >= killMs - withinMs && servedMs <= killMs + withinMs;
  return new Set(answers.filter(({ servedMs }) => killsMs.some((killMs) => isShortlyBefore(servedMs, killMs))));
}

/** Between the signal and the moment at which the simulator sees the connection end. */
const killSlackMs = 50;

export function isAllowed({ servedMs }: Answer, allowances: readonly Allowance[]): boolean {
  return allowances.some(({ fromMs, toMs }) => servedMs >= fromMs && servedMs <= toMs);
}
