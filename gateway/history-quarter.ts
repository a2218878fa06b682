import type { Value } from "@jilian/domain/datatypes.ts";
import { qualityOf } from "@jilian/domain/quality.ts";
import type { Sample } from "@jilian/domain/sample.ts";

/** A quarter hour of UTC; quarter hours are numbered from 1970. */
export const quarterMs = 900_000;
/** Codes of a state that are told apart in one quarter hour; the time of further ones is kept under {@link otherCode}. */
export const maxCodes = 32;
export const otherCode = "other";

export const quarterOf = (timeMs: number): number => Math.floor(timeMs / quarterMs);

/** What a metric is to the history: a register that counts up, a quantity, or a code. */
export type HistoryKind = "counter" | "gauge" | "state";

/**
 * What is kept of one metric and one quarter hour [start, start + 15 min). All of it merges with what comes later in the same quarter
 * hour, so that a row that was written before its end is gone on with after a restart.
 */
export type Quarter = {
  quarter: number;
  /** How long a good value held in it, ms. */
  goodMs: number;
  /** Good readings that are worth a sample (shape.ts), and their sum. */
  count: number;
  sum: number;
  /** Sum of value x ms over `goodMs`: by it the time-weighted mean. */
  integral: number;
  /** Over the readings and over the value that held at the beginning. Of a counter 0 while it reads 0 after a higher value, else absent. */
  low: number | undefined;
  high: number | undefined;
  /**
   * The last good value up to its end, and when it was read, UTC ms: earlier than the quarter hour where it held unchanged. A 0 after a
   * higher value is none until the register has counted on from there.
   */
  register: number | bigint | undefined;
  registerMs: number;
  /** How often the register began again at 0 by its own width, and how often it fell otherwise or was back from a 0. */
  wraps: number;
  resets: number;
  /** How long each code held, ms. */
  codes: Map<string, number> | undefined;
  /** Accounted for up to here, UTC ms: no reading before that is taken any more. */
  untilMs: number;
};

export function emptyQuarter(quarter: number): Quarter {
  return {
    ...{ quarter, goodMs: 0, count: 0, sum: 0, integral: 0, low: undefined, high: undefined },
    ...{ register: undefined, registerMs: 0, wraps: 0, resets: 0, codes: undefined, untilMs: quarter * quarterMs },
  };
}

export type SeriesOptions = {
  readonly kind: HistoryKind;
  /** A value counts as holding for so long after its reading, ms: beyond it nobody can tell. */
  readonly holdMs: number;
  /** Count after which a register begins again at 0, in its unit; undefined where it has none. */
  readonly modulus: number | undefined;
  /** What was written of a quarter hour earlier, before a restart or by a clock that has run back since. */
  readonly written: (quarter: number) => Quarter | undefined;
  /** The last quarter hour before one that was written of this metric: what its register went on from. */
  readonly before: (quarter: number) => Quarter | undefined;
  /** Takes a quarter hour that is over. */
  readonly onEnded: (ended: Quarter) => void;
};

/** What became of a sample: taken; of a quarter hour that was closed already; not later than what is known. */
export type Taken = "taken" | "late" | "older";

type Held = number | bigint;

function addSpan(to: Quarter, held: Held, kind: HistoryKind, spanMs: number): void {
  to.goodMs += spanMs;
  if (kind === "counter") return;
  if (kind === "state") {
    to.codes ??= new Map();
    const own = String(held);
    const code = to.codes.has(own) || to.codes.size < maxCodes ? own : otherCode;
    to.codes.set(code, (to.codes.get(code) ?? 0) + spanMs);
    return;
  }
  const value = Number(held);
  to.integral += value * spanMs;
  addExtremes(to, value);
}

function addExtremes(to: Quarter, value: number): void {
  if (to.low === undefined || value < to.low) to.low = value;
  if (to.high === undefined || value > to.high) to.high = value;
}

function heldOf(value: Value): Held | undefined {
  if (typeof value === "boolean") return Number(value);
  return typeof value === "number" || typeof value === "bigint" ? value : undefined;
}

/**
 * Folds the samples of one metric into quarter hours. Pure but for its state, and bounded: one quarter hour is open at a time, since the
 * source times of a metric rise (CONTRACTS 3). A span is never negative: time is accounted for once, from the last sample on.
 *
 * A value holds from its reading to the next one of any quality, no longer than `holdMs`; only values of good quality are taken, and one
 * of another quality ends the hold. A reading at the very boundary belongs to the quarter hour that begins.
 */
export function createSeries({ kind, holdMs, modulus, written, before, onEnded }: SeriesOptions) {
  let open: Quarter | undefined;
  let held: Held | undefined;
  let holdEndMs = 0;
  /** Time is accounted for up to here. */
  let doneMs = Number.NEGATIVE_INFINITY;
  let sampleMs = Number.NEGATIVE_INFINITY;
  let register: number | bigint | undefined;
  let registerMs = 0;
  /** The quarter hour in which the register began to read 0 after a higher value, while it has read nothing else since. */
  let zeroQuarter: number | undefined;
  let heldForMs = holdMs;

  function end(): void {
    if (!open) return;
    const ended = open;
    open = undefined;
    onEnded(ended);
  }

  /** From what was written of a register. */
  function goOn(from: Quarter): void {
    if (from.register === undefined) return;
    ({ register, registerMs } = from);
    if (kind === "counter" && from.low === 0) zeroQuarter ??= from.quarter;
  }

  /** The open quarter hour; begun where it is another one, or gone on with where a part of it was written. */
  function quarterAt(quarter: number): Quarter {
    if (open?.quarter === quarter) return open;
    end();
    open = written(quarter) ?? emptyQuarter(quarter);
    if (open.register !== undefined) goOn(open);
    else if (held !== undefined && kind === "counter") {
      open.register = register;
      open.registerMs = registerMs;
    }
    return open;
  }

  /** Accounts for the time up to a moment, quarter hour by quarter hour. */
  function account(toMs: number): void {
    while (held !== undefined && doneMs < Math.min(toMs, holdEndMs)) {
      const quarter = quarterOf(doneMs);
      const to = quarterAt(quarter);
      const untilMs = Math.min(toMs, holdEndMs, (quarter + 1) * quarterMs);
      addSpan(to, held, kind, untilMs - doneMs);
      doneMs = untilMs;
      to.untilMs = untilMs;
    }
    if (held !== undefined && holdEndMs <= toMs) held = undefined;
    doneMs = Math.max(doneMs, toMs);
  }

  /** As the platform judges a fall where it knows no greatest power: a rollover when it is less than half the modulus. */
  function noteFall(to: Quarter, from: Held, found: Held): void {
    const rise = modulus === undefined ? Number.NaN : Number(found) + modulus - Number(from);
    if (modulus !== undefined && rise >= 0 && rise <= modulus / 2) to.wraps += 1;
    else to.resets += 1;
  }

  /**
   * A meter that restarts, and a concentrator that has lost its meter, read 0 for a while and then what they read before; an exchanged
   * meter counts on from 0. What a fall to 0 was is told by what comes after it, and mostly not even then: to the platform neither the way
   * down nor the way up is an increase that can be told (docs/contracts.md, leaves). So the quarter hours of both are marked as of a
   * register that fell, and have no amount. One that counts on from 0 within the quarter hour, less than half its width beyond where it
   * was, has rolled over. While it reads 0 the register stays what it was.
   */
  function noteRegister(to: Quarter, found: Held, timeMs: number): void {
    if (register !== undefined && Number(found) === 0 && Number(register) > 0) {
      if (zeroQuarter === undefined) to.resets += 1;
      zeroQuarter ??= to.quarter;
      to.low = 0;
      to.register = register;
      to.registerMs = registerMs;
      return;
    }
    if (register !== undefined && zeroQuarter !== undefined) noteBack(to, register, found);
    zeroQuarter = undefined;
    to.low = undefined;
    if (register !== undefined && found < register) noteFall(to, register, found);
    register = found;
    registerMs = timeMs;
    to.register = register;
    to.registerMs = registerMs;
  }

  /** The register reads something again after a 0, before which it was `from`. */
  function noteBack(to: Quarter, from: Held, found: Held): void {
    const isSame = zeroQuarter === to.quarter;
    if (found >= from) {
      if (!isSame) to.resets += 1;
      return;
    }
    const { resets } = to;
    noteFall(to, from, 0);
    register = 0;
    if (!isSame) to.resets = resets + 1;
    // The mark of the fall: taken back from a rollover, and set once for a reset.
    else to.resets -= 1;
  }

  function take(found: Held, timeMs: number, atMs: number): void {
    const to = quarterAt(quarterOf(atMs));
    if (kind === "counter") noteRegister(to, found, timeMs);
    // A late reading was none of this quarter hour; its value holds in it.
    if (timeMs < atMs) return;
    to.count += 1;
    if (kind !== "gauge") return;
    to.sum += Number(found);
    addExtremes(to, Number(found));
  }

  /** What an earlier run of the program has written of this moment's quarter hour and before it. */
  function begin(timeMs: number): void {
    const quarter = quarterOf(timeMs);
    const earlier = before(quarter);
    if (earlier) goOn(earlier);
    const same = written(quarter);
    if (same) doneMs = same.untilMs;
    else if (earlier) doneMs = earlier.untilMs;
    sampleMs = doneMs;
  }

  return {
    /** From the next reading on a value holds for so long, ms: its heartbeat is another one now. */
    holds(ms: number): void {
      heldForMs = ms;
    },
    add({ value, status, sourceTimeMs }: Pick<Sample, "value" | "status" | "sourceTimeMs">): Taken {
      if (sampleMs === Number.NEGATIVE_INFINITY) begin(sourceTimeMs);
      if (sourceTimeMs <= sampleMs) return "older";
      sampleMs = sourceTimeMs;
      const isLate = sourceTimeMs < doneMs;
      // What holds from a closed quarter hour on holds in the one that is open.
      const fromMs = Math.max(sourceTimeMs, doneMs);
      account(fromMs);
      const found = qualityOf(status) === "good" ? heldOf(value) : undefined;
      if (found !== undefined) take(found, sourceTimeMs, fromMs);
      held = found;
      holdEndMs = sourceTimeMs + heldForMs;
      if (open) open.untilMs = Math.max(open.untilMs, Math.min(fromMs, (open.quarter + 1) * quarterMs - 1));
      return isLate ? "late" : "taken";
    },
    /** Ends every quarter hour before this one. */
    closeBefore(quarter: number): void {
      if (open === undefined && held === undefined) return;
      if (doneMs < quarter * quarterMs) account(quarter * quarterMs);
      if (open && open.quarter < quarter) end();
    },
    /** Accounts for the time up to a moment for good: nothing that is read before it comes any more. */
    settle: account,
    /** A copy of the quarter hour that runs, with what holds up to a moment: what of it can be written already. */
    running(nowMs: number): Quarter | undefined {
      if (!open) return undefined;
      const copy = { ...open, codes: open.codes && new Map(open.codes) };
      const untilMs = Math.min(nowMs, holdEndMs, (open.quarter + 1) * quarterMs);
      if (held === undefined || quarterOf(doneMs) !== open.quarter || untilMs <= doneMs) return copy;
      addSpan(copy, held, kind, untilMs - doneMs);
      copy.untilMs = untilMs;
      return copy;
    },
  };
}

export type Series = ReturnType<typeof createSeries>;
