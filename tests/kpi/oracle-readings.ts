/**
 * The oracle, first part: what the readings of one metric say of a stretch of time, by going through all of them. Written from the
 * definitions (facts, KPI definitions; docs/contracts.md, Leaves); it shares no code with the engine, has no leaves and merges nothing.
 */
import type { Column } from "./book.ts";

export const minute = 60_000;
export const hour = 3_600_000;
const day = 86_400_000;
const longestGap = 31 * day;

/** What a counter says of [from, to). Amounts in millionths of its unit. */
export type Amount = {
  amount: bigint;
  /** Of it, what interpolation of a gap over an edge assigned. */
  estimated: bigint;
  covered: number;
  /** True when some part of the time lies between two readings of which the increase is known. */
  told: boolean;
  /** Increases that cannot be told and touch the time. */
  untold: number;
};

export const noAmount: Amount = { amount: 0n, estimated: 0n, covered: 0, told: false, untold: 0 };

export function sumOf(amounts: readonly Amount[]): Amount {
  return amounts.reduce(
    (sum, a) => ({
      amount: sum.amount + a.amount,
      estimated: sum.estimated + a.estimated,
      covered: sum.covered + a.covered,
      told: sum.told || a.told,
      untold: sum.untold + a.untold,
    }),
    noAmount,
  );
}

/** Millionths that a decimal text stands for; undefined when it is none above 0. */
function microOf(text: string | undefined): bigint | undefined {
  const match = /^(\d+)(?:\.(\d{1,6}))?$/.exec(text ?? "");
  if (!match) return undefined;
  const micro = BigInt(`${match[1]}${(match[2] ?? "").padEnd(6, "0")}`);
  return micro > 0n ? micro : undefined;
}

export function windowOf({ metric }: Column): number {
  return 3 * (metric.definition.heartbeatMs ?? 10_000);
}

/** A meter exchange: what the old register said last and the new one first, in millionths of the register. */
export type Exchange = { at: number; oldFinal: bigint; newInitial: bigint };

/** What the registry says of a meter, where it says something. */
export type Register = {
  ratedKW: number | undefined;
  /** What one of the register is in truth: ratio of its transformers. */
  factor: bigint;
  exchanges: readonly Exchange[];
};

export const plainRegister: Register = { ratedKW: undefined, factor: 1n, exchanges: [] };

/** From one usable reading, or end of a register, to the next. `rise` is null where it cannot be told. */
type Step = { a: number; b: number; rise: bigint | null };

/** The rise between two readings of one register, or null. */
function riseOf(
  before: bigint,
  after: bigint,
  ms: number,
  register: { modulus: bigint | undefined; resolution: bigint; ratedKW: number | undefined; factor: bigint },
): bigint | null {
  if (ms > longestGap) return null;
  const { modulus, resolution, ratedKW, factor } = register;
  // 1.2 x kW x (time + 5 s), in millionths of a kWh, and one count.
  const most =
    ratedKW === undefined ? undefined : (BigInt(ratedKW) * 12n * BigInt(ms + 5000)) / 36n + resolution * factor;
  if (after >= before) {
    const rise = (after - before) * factor;
    return most === undefined || rise <= most ? rise : null;
  }
  if (modulus === undefined || modulus - before + after < 0n) return null;
  const rolled = (modulus - before + after) * factor;
  return rolled <= (most ?? (modulus * factor) / 2n) ? rolled : null;
}

function findSteps(column: Column, { ratedKW, factor, exchanges }: Register): Step[] {
  const { definition } = column.metric;
  const modulus = microOf(definition.modulus);
  const resolution = microOf(definition.resolution) ?? 1n;
  const bounds = { modulus, resolution, factor, ratedKW: definition.unit === "kWh" ? ratedKW : undefined };
  const steps: Step[] = [];
  let before: { at: number; micro: bigint } | undefined;
  const stepTo = (at: number, micro: bigint) => {
    if (before) steps.push({ a: before.at, b: at, rise: riseOf(before.micro, micro, at - before.at, bounds) });
    before = { at, micro };
  };
  for (let i = 0; i < column.length; i += 1) {
    if (((column.flags[i] as number) & 1) === 0) continue;
    const at = column.times[i] as number;
    const since = before?.at ?? at;
    // A reading at the moment of an exchange is the new register's.
    for (const exchange of exchanges.filter((e) => e.at > since && e.at <= at && at - since <= longestGap)) {
      stepTo(exchange.at, exchange.oldFinal);
      before = { at: exchange.at, micro: exchange.newInitial };
    }
    stepTo(at, column.micro[i] as bigint);
  }
  return steps;
}

const known = new WeakMap<Column, { length: number; steps: Step[] }>();

/** The steps of a column, found once for as many readings as it has. */
function stepsOf(column: Column, register: Register): Step[] {
  const found = known.get(column);
  if (found?.length === column.length) return found.steps;
  const steps = findSteps(column, register);
  known.set(column, { length: column.length, steps });
  return steps;
}

/** Number of the first item whose key is above a value, of items in the order of their keys. */
function firstAbove(count: number, keyOf: (i: number) => number, value: number): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keyOf(middle) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** What one register says of [from, to), whole minutes. */
export function amountOf(column: Column, from: number, to: number, register: Register = plainRegister): Amount {
  const steps = stepsOf(column, register);
  const found = { ...noAmount };
  for (let i = firstAbove(steps.length, (n) => (steps[n] as Step).b, from); i < steps.length; i += 1) {
    const { a, b, rise } = steps[i] as Step;
    if (a >= to) break;
    if (rise === null) {
      // Readings too far apart are no neighbours: only where the later one lies something is missing.
      if (b - a <= longestGap || b - 1 < to) found.untold += 1;
      continue;
    }
    if (b === a) {
      // Read at the very moment of an exchange.
      found.amount += rise;
      continue;
    }
    const until = (at: number) => (rise * BigInt(at - a)) / BigInt(b - a);
    const [first, last] = [Math.max(a, from), Math.min(b, to)];
    const part = until(last) - until(first);
    found.amount += part;
    found.told = true;
    if (b - a <= windowOf(column)) found.covered += last - first;
    else if (a < from || b > to) found.estimated += part;
  }
  return found;
}

/** Milliseconds of [from, to) in which some good reading of a device was younger than the window of its metric. */
export function onlineIn(columns: readonly Column[], from: number, to: number): number {
  const held: { at: number; end: number }[] = [];
  for (const column of columns) {
    const window = windowOf(column);
    for (
      let i = firstAbove(column.length, (n) => column.times[n] as number, from - window);
      i < column.length;
      i += 1
    ) {
      const at = column.times[i] as number;
      if (at >= to) break;
      if (((column.flags[i] as number) & 2) !== 0) held.push({ at, end: Math.min(at + window, to) });
    }
  }
  let [sum, until] = [0, from];
  for (const { at, end } of held.sort((a, b) => a.at - b.at)) {
    sum += Math.max(0, end - Math.max(at, until));
    until = Math.max(until, end);
  }
  return sum;
}

/** What the readings of a gauge say of [from, to). Sums in millionths, squares in millionths of millionths. */
export type Gauged = { count: number; sum: bigint; squares: bigint; covered: number };

export function gaugedIn(column: Column, from: number, to: number): Gauged {
  const found: Gauged = { count: 0, sum: 0n, squares: 0n, covered: 0 };
  let held: number | undefined;
  for (let i = 0; i < column.length; i += 1) {
    if (((column.flags[i] as number) & 1) === 0) continue;
    const at = column.times[i] as number;
    // A value holds until the next reading, but not for ever.
    if (held !== undefined && at - held <= longestGap)
      found.covered += Math.max(0, Math.min(at, held + windowOf(column), to) - Math.max(held, from));
    held = at;
    if (at < from || at >= to) continue;
    const value = column.micro[i] as bigint;
    found.count += 1;
    found.sum += value;
    found.squares += value * value;
  }
  return found;
}

/** Milliseconds of a minute in which the state is known, and in which it is a running one or one of set-up. */
export function stateIn(
  column: Column,
  at: number,
  running: readonly string[],
  setup: readonly string[],
): { known: number; run: number; setup: number } {
  const hold = Math.min(windowOf(column), hour);
  const found = { known: 0, run: 0, setup: 0 };
  for (let i = firstAbove(column.length, (n) => column.times[n] as number, at - hold); i < column.length; i += 1) {
    const time = column.times[i] as number;
    if (time >= at + minute) break;
    if (((column.flags[i] as number) & 1) === 0) continue;
    const next = i + 1 < column.length ? (column.times[i + 1] as number) : Number.POSITIVE_INFINITY;
    const ms = Math.min(next, time + hold, at + minute) - Math.max(time, at);
    if (ms <= 0) continue;
    found.known += ms;
    const code = column.codes[column.states[i] as number] as string;
    if (running.includes(code)) found.run += ms;
    if (setup.includes(code)) found.setup += ms;
  }
  return found;
}

/** A part of a whole, four places, half up. */
export function ratio(part: bigint, whole: bigint): number {
  return whole === 0n ? 0 : Number((part * 20_000n + whole) / (whole * 2n)) / 10_000;
}

/** A decimal without trailing zeros. */
export function decimal(digits: bigint, places: number): string {
  const text = digits.toString().padStart(places + 1, "0");
  return `${text.slice(0, -places)}.${text.slice(-places)}`.replace(/\.?0+$/, "");
}

/** A fraction as a decimal, half away from 0. */
export function rounded(numerator: bigint, denominator: bigint, places: number): string {
  if (numerator < 0n) {
    const text = rounded(-numerator, denominator, places);
    return text === "0" ? text : `-${text}`;
  }
  return decimal((numerator * 10n ** BigInt(places) * 2n + denominator) / (denominator * 2n), places);
}
