/** Figures of machines by brute force, for the tests, as test-oracle.ts: minute by minute and reading by reading, from the definitions alone. */
import { type Amount, amountOf, decimal, type OracleFigure, type OracleSeries, ratio } from "./test-oracle.ts";

export type OracleMachine = {
  device: string;
  running?: string[];
  /** Of the start of a minute; absent: no calendar. */
  planned?: (minuteMs: number) => boolean;
  /** Millionths of a ms for one piece, by product. */
  rates?: Record<string, bigint>;
  output: boolean;
  /** Readings in millionths of a piece. */
  counters: { role: string; product: string; series: OracleSeries }[];
  states: OracleSeries[];
};

type Told = { amount: bigint; estimated: bigint; covered: number; partial: boolean };
type Term = Told | string;
type Span = { from: number; to: number; asOf: number };
const minute = 60_000;
const hour = 3_600_000;

const sumUp = (amounts: readonly Amount[]): Amount => ({
  amount: amounts.reduce((sum, a) => sum + a.amount, 0n),
  coveredMs: amounts.reduce((sum, a) => sum + a.coveredMs, 0),
  estimated: amounts.reduce((sum, a) => sum + a.estimated, 0n),
  resets: amounts.reduce((sum, a) => sum + a.resets, 0),
  samples: 0,
  told: amounts.some((a) => a.told),
});

/** What was worked out of a machine before: the same is asked at every level. */
const memory = new WeakMap<OracleMachine, Map<string, unknown>>();

function once<T>(machine: OracleMachine, key: string, make: () => T): T {
  const own = memory.get(machine) ?? new Map<string, unknown>();
  memory.set(machine, own);
  if (!own.has(key)) own.set(key, make());
  return own.get(key) as T;
}

/** What the readings of the state say of one minute, by all of them. */
function stateIn(machine: OracleMachine, at: number): { known: number; run: number } {
  return once(machine, `state ${at}`, () => findState(machine, at));
}

function findState(machine: OracleMachine, at: number): { known: number; run: number } {
  const found = { known: 0, run: 0 };
  const [series] = machine.states;
  const readings = [...(series?.readings ?? [])].sort((a, b) => a.atMs - b.atMs);
  for (const [i, reading] of readings.entries()) {
    const code = codeOf(reading);
    if (code === undefined) continue;
    const hold = reading.atMs + (series as OracleSeries).windowMs;
    const until = Math.min(readings[i + 1]?.atMs ?? Number.POSITIVE_INFINITY, hold, at + minute);
    const ms = Math.max(0, until - Math.max(reading.atMs, at));
    found.known += ms;
    if (machine.running?.includes(code)) found.run += ms;
  }
  return found;
}

/** Stretches of planned minutes that have ended, none over an hour's edge; of a machine that tells its state the observed ones. */
function stretchesOf(machine: OracleMachine, span: Span, all = false): [number, number][] {
  return once(machine, `stretches ${all} ${span.from} ${span.to} ${span.asOf}`, () =>
    findStretches(machine, span, all),
  );
}

function findStretches(machine: OracleMachine, { from, to, asOf }: Span, all: boolean): [number, number][] {
  const found: [number, number][] = [];
  const tells = machine.states.length > 0 && machine.running !== undefined;
  for (let at = from; at + minute <= Math.min(to, asOf); at += minute) {
    if (!machine.planned?.(at)) continue;
    if (!all && tells && stateIn(machine, at).known < 30_000) continue;
    const last = found.at(-1);
    if (last && last[1] === at && at % hour !== 0) last[1] = at + minute;
    else found.push([at, at + minute]);
  }
  return found;
}

const lengthOf = (stretches: [number, number][]) => stretches.reduce((ms, [a, b]) => ms + b - a, 0);

function counted(machine: OracleMachine, role: string, planned: boolean, span: Span): Term {
  const own = machine.counters.filter((c) => c.role === role);
  if (own.length === 0) return "no_register";
  if (planned && !machine.planned) return "no_calendar";
  const stretches: [number, number][] = planned ? stretchesOf(machine, span) : [[span.from, span.to]];
  const due = planned ? lengthOf(stretchesOf(machine, span, true)) : Math.min(span.to, span.asOf) - span.from;
  const each = own.map(({ series }) => sumUp(stretches.map(([a, b]) => amountOf(series, a, b))));
  if (!each.some((a) => a.told)) return "no_data";
  const { amount, estimated, resets } = sumUp(each);
  const covered = Math.floor(each.reduce((ms, a) => ms + Math.min(due, a.coveredMs), 0) / own.length);
  return { amount, estimated, covered, partial: resets > 0 };
}

function runTime(machine: OracleMachine, span: Span): Term {
  const all = counted(machine, "production.total", true, span);
  if (typeof all === "string") return all;
  let [amount, estimated] = [0n, 0n];
  for (const { role, product, series } of machine.counters) {
    if (role !== "production.total") continue;
    const own = sumUp(stretchesOf(machine, span).map(([a, b]) => amountOf(series, a, b)));
    if (!own.told) continue;
    const rate = machine.rates?.[product];
    if (rate === undefined) return "no_planned_rate";
    amount += rate * own.amount;
    estimated += rate * own.estimated;
  }
  return { ...all, amount, estimated };
}

function codeOf({ value, micro }: OracleSeries["readings"][number]): string | undefined {
  if (micro === null || value === null) return undefined;
  return typeof value === "boolean" ? String(Number(value)) : String(value);
}

function stateTime(machine: OracleMachine, of: "pbt" | "apt", span: Span): Term {
  if (machine.states.length === 0 || !machine.running) return "no_state";
  if (!machine.planned) return "no_calendar";
  const stretches = stretchesOf(machine, span);
  let [known, run] = [0, 0];
  for (const [a, b] of stretches)
    for (let at = a; at < b; at += minute) {
      known += stateIn(machine, at).known;
      run += stateIn(machine, at).run;
    }
  const observed = lengthOf(stretches);
  if (observed === 0) return "no_data";
  const amount = BigInt(of === "apt" ? run : observed);
  return { amount, estimated: 0n, covered: known, partial: false };
}

/** Six places, half up. */
function rounded(numerator: bigint, denominator: bigint, places = 6): string {
  const one = 10n ** BigInt(places);
  const digits = (2n * numerator * one + denominator) / (2n * denominator);
  return decimal(digits, places);
}

type Formula = { terms: string[]; planned: boolean; value: (sum: (term: string) => bigint) => string };

function over(numerator: bigint, denominator: bigint, otherwise: string): string {
  return denominator === 0n ? otherwise : rounded(numerator, denominator);
}

const counters = (a: string, b: string, planned = false): Formula => ({
  terms: [a, b],
  planned,
  value: (sum) => over(sum(a), sum(b), "no_production"),
});

const formulas: Record<string, Formula> = {
  "quality.fpy": counters("inspection.passed", "inspection.inspected"),
  "quality.ratio": counters("production.good", "production.total"),
  "quality.scrap_ratio": counters("production.scrap", "production.total"),
  "quality.rework_ratio": counters("production.rework", "production.total"),
  "oee.quality": counters("production.good", "production.total", true),
  "oee.availability": {
    terms: ["apt", "pbt"],
    planned: true,
    value: (sum) => over(sum("apt"), sum("pbt"), "not_planned"),
  },
  "oee.effectiveness": {
    terms: ["pri", "apt"],
    planned: true,
    value: (sum) => over(sum("pri"), sum("apt") * 10n ** 12n, "not_running"),
  },
  oee: {
    terms: ["apt", "pbt", "pri", "production.total", "production.good"],
    planned: true,
    value: (sum) => {
      const [apt, pbt, pri] = [sum("apt"), sum("pbt"), sum("pri")];
      const [pq, gq] = [sum("production.total"), sum("production.good")];
      if (apt === 0n) return "not_running";
      return over(apt * pri * gq, pbt * apt * 10n ** 12n * pq, "no_production");
    },
  },
};

function termOf(machine: OracleMachine, term: string, planned: boolean, span: Span): Term {
  if (term === "apt" || term === "pbt") return stateTime(machine, term, span);
  return term === "pri" ? runTime(machine, span) : counted(machine, term, planned, span);
}

/** The nearer to a value, the later. */
const order = [
  "no_meter",
  "no_output",
  "no_register",
  "no_state",
  "no_planned_rate",
  "no_calendar",
  "not_planned",
  "no_data",
];
const nearest = (reasons: string[]) => order.findLast((reason) => reasons.includes(reason));

const nothing = (reason: string, completeness: number | null): OracleFigure => ({
  value: null,
  reason,
  completeness,
  estimatedShare: null,
  lowerBound: false,
});

function figureOf({ terms, planned, value }: Formula, machines: OracleMachine[], span: Span): OracleFigure {
  const elapsed = Math.min(span.to, span.asOf) - span.from;
  if (machines.length > 0 && elapsed < (planned ? minute : 1)) return nothing("not_due", null);
  const whole: Told[][] = [];
  const [lacks, strangers]: [string[], string[]] = [[], []];
  let [due, covered] = [0, 0];
  for (const machine of machines) {
    const key = `${planned} ${span.from} ${span.to} ${span.asOf}`;
    const found = terms.map((term) => once(machine, `${term} ${key}`, () => termOf(machine, term, planned, span)));
    const own = planned && machine.planned ? lengthOf(stretchesOf(machine, span, true)) : elapsed;
    const missing = found.filter((term) => typeof term === "string");
    const lasting = missing.find((reason) => reason !== "no_data");
    const idle = lasting === undefined && own === 0;
    const expected = planned
      ? machine.running !== undefined || machine.rates !== undefined
      : !missing.some((reason) => reason === "no_register");
    if (idle) strangers.push("not_planned");
    else if (missing.length > 0) (expected ? lacks : strangers).push(lasting ?? "no_data");
    if (idle || (missing.length > 0 && !expected)) continue;
    due += own;
    if (missing.length > 0) continue;
    const given = found as Told[];
    whole.push(given);
    covered += Math.min(own, ...given.map((g) => g.covered));
  }
  const completeness = due > 0 ? ratio(BigInt(covered), BigInt(due)) : null;
  if (whole.length === 0) return nothing(nearest(lacks.length > 0 ? lacks : strangers) ?? "no_register", completeness);
  const sum = (i: number, of: "amount" | "estimated") =>
    whole.reduce((total, given) => total + (given[i] as Told)[of], 0n);
  const text = value((term) => sum(terms.indexOf(term), "amount"));
  if (!/^\d/.test(text)) return nothing(text, completeness);
  return {
    value: text,
    reason: null,
    completeness,
    estimatedShare: Math.max(...terms.map((_, i) => ratio(sum(i, "estimated"), sum(i, "amount")))),
    lowerBound: whole.some((given) => given.some((g) => g.partial)),
  };
}

export function ratioFigures(
  machines: OracleMachine[],
  from: number,
  to: number,
  asOf: number,
): [string, OracleFigure][] {
  return Object.entries(formulas).map(([id, formula]) => [id, figureOf(formula, machines, { from, to, asOf })]);
}

/** `told` holds what the registers that were ever read say of the period. */
type Place = { registers: number; told: Amount[]; machines: OracleMachine[] };

/** Energy per good piece over the places that have both. */
export function unitProduct(places: Place[], from: number, to: number, asOf: number): OracleFigure {
  const elapsed = Math.min(to, asOf) - from;
  const lacks: string[] = [];
  let [due, covered, kWh, pieces, kWhEstimated, piecesEstimated] = [0, 0, 0n, 0n, 0n, 0n];
  let [both, partial] = [0, false];
  const products = new Set<string>();
  for (const [n, place] of places.entries()) {
    const outputs = place.machines.filter((m) => m.output);
    if (place.registers === 0 && outputs.length === 0) {
      lacks.push("no_meter");
      continue;
    }
    due += elapsed;
    const meters = place.told.filter((a) => a.told);
    const good = outputs.map((m) => m.counters.filter((c) => c.role === "production.good"));
    const counts = good.flat().map(({ product, series }) => ({ product, ...amountOf(series, from, to) }));
    const told = counts.filter((a) => a.told);
    if (place.registers === 0) lacks.push("no_meter");
    else if (outputs.length === 0) lacks.push("no_output");
    else if (good.some((own) => own.length === 0)) lacks.push("no_register");
    else if (meters.length === 0 || told.length === 0) lacks.push("no_data");
    else {
      both += 1;
      const [energy, output] = [sumUp(meters), sumUp(told)];
      kWh += energy.amount;
      pieces += output.amount;
      kWhEstimated += energy.estimated;
      piecesEstimated += output.estimated;
      const average = (amounts: Amount[], n: number) =>
        Math.floor(amounts.reduce((ms, a) => ms + Math.min(a.coveredMs, elapsed), 0) / n);
      covered += Math.min(average(meters, place.registers), average(told, counts.length));
      partial ||= meters.length < place.registers || told.length < counts.length;
      partial ||= energy.resets > 0 || output.resets > 0;
      for (const { product, amount } of told) if (amount > 0n) products.add(product || `of place ${n}`);
    }
  }
  const completeness = due > 0 ? ratio(BigInt(covered), BigInt(due)) : null;
  if (both === 0) return nothing(nearest(lacks) ?? "no_meter", completeness);
  if (products.size > 1) return nothing("mixed_products", completeness);
  if (pieces === 0n) return nothing("no_production", completeness);
  return {
    // Millionths of a kWh x 1229 are 10^-10 kgce, millionths of a piece 10^-6.
    value: rounded(kWh * 1229n, pieces * 10_000n, 9),
    reason: null,
    completeness,
    estimatedShare: Math.max(ratio(kWhEstimated, kWh), ratio(piecesEstimated, pieces)),
    lowerBound: partial,
  };
}
