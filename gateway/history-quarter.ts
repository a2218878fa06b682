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
    quarter,
    goodMs: 0,
    count: 0,
    sum: 0,
    integral: 0,
    low: undefined,
    high: undefined,
    register: undefined,
    registerMs: 0,
    wraps: 0,
    resets: 0,
    codes: undefined,
    untilMs: quarter * quarterMs,
  };
}

/** Where the quarter hours of many metrics come from and go to. `Key`: what stands for a metric there. */
export type SeriesFile<Key> = {
  /** What was written of a quarter hour earlier, before a restart or by a clock that has run back since. */
  readonly written: (key: Key, quarter: number) => Quarter | undefined;
  /** The last quarter hour before one that was written of this metric: what its register went on from. */
  readonly before: (key: Key, quarter: number) => Quarter | undefined;
  /** Takes a quarter hour that is over. */
  readonly onEnded: (key: Key, ended: Quarter) => void;
};

export type SeriesOptions<Key> = {
  readonly key: Key;
  readonly file: SeriesFile<Key>;
  readonly kind: HistoryKind;
  /** A value counts as holding for so long after its reading, ms: beyond it nobody can tell. */
  readonly holdMs: number;
  /** Count after which a register begins again at 0, in its unit; undefined where it has none. */
  readonly modulus: number | undefined;
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
 * What is known of one metric. Data with functions beside it, since a gateway has thousands: as closures of its own the functions took most
 * of the memory that a tag takes.
 */
export type Series<Key = unknown> = {
  readonly key: Key;
  readonly file: SeriesFile<Key>;
  readonly kind: HistoryKind;
  readonly modulus: number | undefined;
  /** From the next reading on a value holds for so long, ms. */
  holdMs: number;
  open: Quarter | undefined;
  held: Held | undefined;
  holdEndMs: number;
  /** Time is accounted for up to here. */
  doneMs: number;
  sampleMs: number;
  register: number | bigint | undefined;
  registerMs: number;
  /** The quarter hour in which the register began to read 0 after a higher value, while it has read nothing else since. */
  zeroQuarter: number | undefined;
};

/**
 * Begins to fold the samples of one metric into quarter hours. Pure but for its state, and bounded: one quarter hour is open at a time, since
 * the source times of a metric rise (CONTRACTS 3). A span is never negative: time is accounted for once, from the last sample on.
 *
 * A value holds from its reading to the next one of any quality, no longer than `holdMs`; only values of good quality are taken, and one
 * of another quality ends the hold. A reading at the very boundary belongs to the quarter hour that begins.
 */
export function createSeries<Key>({ key, file, kind, holdMs, modulus }: SeriesOptions<Key>): Series<Key> {
  return {
    key,
    file,
    kind,
    modulus,
    holdMs,
    open: undefined,
    held: undefined,
    holdEndMs: 0,
    doneMs: Number.NEGATIVE_INFINITY,
    sampleMs: Number.NEGATIVE_INFINITY,
    register: undefined,
    registerMs: 0,
    zeroQuarter: undefined,
  };
}

function end<Key>(series: Series<Key>): void {
  const { open } = series;
  if (!open) return;
  series.open = undefined;
  series.file.onEnded(series.key, open);
}

/** From what was written of a register. */
function goOn<Key>(series: Series<Key>, { quarter, register, registerMs, low }: Quarter): void {
  if (register === undefined) return;
  series.register = register;
  series.registerMs = registerMs;
  if (series.kind === "counter" && low === 0) series.zeroQuarter ??= quarter;
}

/** The open quarter hour; begun where it is another one, or gone on with where a part of it was written. */
function quarterAt<Key>(series: Series<Key>, quarter: number): Quarter {
  if (series.open?.quarter === quarter) return series.open;
  end(series);
  const open = series.file.written(series.key, quarter) ?? emptyQuarter(quarter);
  series.open = open;
  if (open.register !== undefined) goOn(series, open);
  else if (series.held !== undefined && series.kind === "counter") {
    open.register = series.register;
    open.registerMs = series.registerMs;
  }
  return open;
}

/** Accounts for the time up to a moment, quarter hour by quarter hour. */
function account<Key>(series: Series<Key>, toMs: number): void {
  const endMs = series.holdEndMs < toMs ? series.holdEndMs : toMs;
  while (series.held !== undefined && series.doneMs < endMs) {
    const quarter = quarterOf(series.doneMs);
    const to = quarterAt(series, quarter);
    const nextMs = (quarter + 1) * quarterMs;
    const untilMs = nextMs < endMs ? nextMs : endMs;
    addSpan(to, series.held, series.kind, untilMs - series.doneMs);
    series.doneMs = untilMs;
    to.untilMs = untilMs;
  }
  if (series.held !== undefined && series.holdEndMs <= toMs) series.held = undefined;
  if (toMs > series.doneMs) series.doneMs = toMs;
}

/** As the platform judges a fall where it knows no greatest power: a rollover when it is less than half the modulus. */
function noteFall(to: Quarter, modulus: number | undefined, from: Held, found: Held): void {
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
function noteRegister<Key>(series: Series<Key>, to: Quarter, found: Held, timeMs: number): void {
  const { register } = series;
  if (register !== undefined && Number(found) === 0 && Number(register) > 0) {
    if (series.zeroQuarter === undefined) to.resets += 1;
    series.zeroQuarter ??= to.quarter;
    to.low = 0;
    to.register = register;
    to.registerMs = series.registerMs;
    return;
  }
  let from = register;
  if (from !== undefined && series.zeroQuarter !== undefined) from = noteBack(series, to, from, found);
  series.zeroQuarter = undefined;
  to.low = undefined;
  if (from !== undefined && found < from) noteFall(to, series.modulus, from, found);
  series.register = found;
  series.registerMs = timeMs;
  to.register = found;
  to.registerMs = timeMs;
}

/** The register reads something again after a 0, before which it was `from`. @returns what it counts on from */
function noteBack<Key>({ zeroQuarter, modulus }: Series<Key>, to: Quarter, from: Held, found: Held): Held {
  const isSame = zeroQuarter === to.quarter;
  if (found >= from) {
    if (!isSame) to.resets += 1;
    return from;
  }
  const { resets } = to;
  noteFall(to, modulus, from, 0);
  if (!isSame) to.resets = resets + 1;
  // The mark of the fall: taken back from a rollover, and set once for a reset.
  else to.resets -= 1;
  return 0;
}

function take<Key>(series: Series<Key>, found: Held, timeMs: number, atMs: number): void {
  const to = quarterAt(series, quarterOf(atMs));
  if (series.kind === "counter") noteRegister(series, to, found, timeMs);
  // A late reading was none of this quarter hour; its value holds in it.
  if (timeMs < atMs) return;
  to.count += 1;
  if (series.kind !== "gauge") return;
  to.sum += Number(found);
  addExtremes(to, Number(found));
}

/** What an earlier run of the program has written of this moment's quarter hour and before it. */
function begin<Key>(series: Series<Key>, timeMs: number): void {
  const { key, file } = series;
  const quarter = quarterOf(timeMs);
  const earlier = file.before(key, quarter);
  if (earlier) goOn(series, earlier);
  const same = file.written(key, quarter);
  if (same) series.doneMs = same.untilMs;
  else if (earlier) series.doneMs = earlier.untilMs;
  series.sampleMs = series.doneMs;
}

export function addSample<Key>(
  series: Series<Key>,
  { value, status, sourceTimeMs }: Pick<Sample, "value" | "status" | "sourceTimeMs">,
): Taken {
  if (series.sampleMs === Number.NEGATIVE_INFINITY) begin(series, sourceTimeMs);
  if (sourceTimeMs <= series.sampleMs) return "older";
  series.sampleMs = sourceTimeMs;
  const isLate = sourceTimeMs < series.doneMs;
  // What holds from a closed quarter hour on holds in the one that is open.
  const fromMs = isLate ? series.doneMs : sourceTimeMs;
  account(series, fromMs);
  const found = qualityOf(status) === "good" ? heldOf(value) : undefined;
  if (found !== undefined) take(series, found, sourceTimeMs, fromMs);
  series.held = found;
  series.holdEndMs = sourceTimeMs + series.holdMs;
  const { open } = series;
  if (open && fromMs > open.untilMs) {
    open.untilMs = Math.max(open.untilMs, Math.min(fromMs, (open.quarter + 1) * quarterMs - 1));
  }
  return isLate ? "late" : "taken";
}

/** Ends every quarter hour before this one. */
export function closeBefore<Key>(series: Series<Key>, quarter: number): void {
  if (series.open === undefined && series.held === undefined) return;
  if (series.doneMs < quarter * quarterMs) account(series, quarter * quarterMs);
  if (series.open && series.open.quarter < quarter) end(series);
}

/** Accounts for the time up to a moment for good: nothing that is read before it comes any more. */
export function settle<Key>(series: Series<Key>, toMs: number): void {
  account(series, toMs);
}

/** A copy of the quarter hour that runs, with what holds up to a moment: what of it can be written already. */
export function runningOf<Key>(
  { open, held, holdEndMs, doneMs, kind }: Series<Key>,
  nowMs: number,
): Quarter | undefined {
  if (!open) return undefined;
  const copy = { ...open, codes: open.codes && new Map(open.codes) };
  const untilMs = Math.min(nowMs, holdEndMs, (open.quarter + 1) * quarterMs);
  if (held === undefined || quarterOf(doneMs) !== open.quarter || untilMs <= doneMs) return copy;
  addSpan(copy, held, kind, untilMs - doneMs);
  copy.untilMs = untilMs;
  return copy;
}
