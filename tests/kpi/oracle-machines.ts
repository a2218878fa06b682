/** The oracle, second part: ratios of machines, minute by minute, from ISO 22400-2 and docs/indicators.md alone. */
import type { RegistryDevice } from "@jilian/store/registry-schema.ts";
import type { Column } from "./book.ts";
import { type Amount, amountOf, hour, minute, ratio, rounded, stateIn, sumOf } from "./oracle-readings.ts";

export type OracleMachine = {
  key: string;
  registered: RegistryDevice;
  /** Whether a minute is planned, by its start; absent: no calendar. */
  planned: ((atMs: number) => boolean) | undefined;
  columns: readonly Column[];
};

/** `lost`: of what has passed, the time that missing samples of a device stand for. */
export type Span = { from: number; to: number; asOf: number; lost: (device: string) => number };

export type OracleFigure = {
  value: string | null;
  reason: string | null;
  completeness: number | null;
  estimatedShare: number | null;
  lowerBound: boolean;
  /** What it was made of, for people. */
  terms: Record<string, unknown>;
};

/** What a machine gives for a term, or why it gives none. */
type Told = { amount: bigint; estimated: bigint; covered: number; partial: boolean };
type Term = Told | string;

export function nothing(reason: string, completeness: number | null, terms = {}): OracleFigure {
  return { value: null, reason, completeness, estimatedShare: null, lowerBound: false, terms };
}

/** What of a period can be told: until the end of the minute of now. A source whose clock is fast may say more. */
export function seenUntil({ to, asOf }: Span): number {
  return Math.min(to, Math.floor(asOf / minute) * minute + minute);
}

export function passedOf({ from, to, asOf }: Span): number {
  return Math.min(to, asOf) - from;
}

/** The nearer to a value, the later (docs/indicators.md, Why a figure is null). */
const reasons =
  "not_due no_meter no_feeder no_factor no_tariff no_devices no_limits no_account no_output no_register no_state no_setup_state no_planned_rate no_calendar not_planned no_data not_running no_production no_energy too_few no_spread mixed_products".split(
    " ",
  );
export const nearest = (given: readonly string[]) => reasons.findLast((reason) => given.includes(reason));

const roleOf = (column: Column) => column.metric.definition.role;
const hasReadings = (column: Column) => column.length > 0;
const runningOf = ({ registered }: OracleMachine) => registered.states?.running.map(String);
const setupOf = ({ registered }: OracleMachine) => registered.states?.setup?.map(String);
const stateOf = ({ columns }: OracleMachine) => columns.find((c) => roleOf(c) === "machine.state" && hasReadings(c));

type Minutes = { all: number[]; observed: number[]; known: number; run: number; setup: number };

/** The planned minutes that have ended, and those of them in which the state was seen for half a minute at least. */
function findMinutes(machine: OracleMachine, { from, to, asOf }: Span): Minutes {
  const found: Minutes = { all: [], observed: [], known: 0, run: 0, setup: 0 };
  const running = runningOf(machine);
  const state = stateOf(machine);
  const setups = setupOf(machine) ?? [];
  for (let at = from; at + minute <= Math.min(to, asOf); at += minute) {
    if (!machine.planned?.(at)) continue;
    found.all.push(at);
    if (!running || !state) {
      found.observed.push(at);
      continue;
    }
    const { known, run, setup } = stateIn(state, at, running, setups);
    if (known < minute / 2) continue;
    found.observed.push(at);
    found.known += known;
    found.run += run;
    found.setup += setup;
  }
  return found;
}

/** Neighbouring minutes as stretches, none over the edge of an hour. */
function stretches(minutes: readonly number[]): [number, number][] {
  const found: [number, number][] = [];
  for (const at of minutes) {
    const last = found.at(-1);
    if (last && last[1] === at && at % hour !== 0) last[1] = at + minute;
    else found.push([at, at + minute]);
  }
  return found;
}

/** One machine in one span: everything that is asked of it more than once. */
type Asked = {
  machine: OracleMachine;
  span: Span;
  minutes: Minutes;
  inside: [number, number][];
  parts: Map<Formula, Part>;
};

function amountIn({ span, inside }: Asked, column: Column, planned: boolean): Amount {
  if (!planned) return amountOf(column, span.from, seenUntil(span));
  return sumOf(inside.map(([from, to]) => amountOf(column, from, to)));
}

/** What of the machine's time its terms ought to cover. */
function dueOf({ machine, span, minutes }: Asked, planned: boolean): number {
  return planned && machine.planned ? minutes.all.length * minute : passedOf(span);
}

function counted(asked: Asked, role: string, planned: boolean): Term {
  const own = asked.machine.columns.filter((c) => roleOf(c) === role && hasReadings(c));
  if (own.length === 0) return "no_register";
  if (planned && !asked.machine.planned) return "no_calendar";
  const each = own.map((column) => amountIn(asked, column, planned));
  if (!each.some((a) => a.told)) return "no_data";
  const due = dueOf(asked, planned);
  const covered = Math.floor(each.reduce((ms, a) => ms + Math.min(due, a.covered), 0) / own.length);
  const { amount, estimated, untold } = sumOf(each);
  return { amount, estimated, covered, partial: untold > 0 };
}

/** Planned run time of what was produced, ms at 12 places: 6 of the time of an item, 6 of the pieces. */
function runTime(asked: Asked): Term {
  const all = counted(asked, "production.total", true);
  if (typeof all === "string") return all;
  const rates = asked.machine.registered.plannedRunTimePerItemMs;
  let [amount, estimated] = [0n, 0n];
  for (const column of asked.machine.columns) {
    if (roleOf(column) !== "production.total" || !hasReadings(column)) continue;
    const own = amountIn(asked, column, true);
    if (!own.told) continue;
    const rate = typeof rates === "object" ? rates[column.metric.definition.product ?? ""] : rates;
    if (rate === undefined) return "no_planned_rate";
    const micro = BigInt(Math.round(rate * 1e6));
    amount += micro * own.amount;
    estimated += micro * own.estimated;
  }
  return { ...all, amount, estimated };
}

function stateTime({ machine, minutes }: Asked, of: "pbt" | "apt" | "aupt"): Term {
  if (!stateOf(machine) || !runningOf(machine)) return "no_state";
  if (of === "aupt" && !setupOf(machine)) return "no_setup_state";
  if (!machine.planned) return "no_calendar";
  if (minutes.observed.length === 0) return "no_data";
  const ms = { pbt: minutes.observed.length * minute, apt: minutes.run, aupt: minutes.run + minutes.setup }[of];
  return { amount: BigInt(ms), estimated: 0n, covered: minutes.known, partial: false };
}

function termOf(asked: Asked, term: string, planned: boolean): Term {
  if (term === "apt" || term === "pbt" || term === "aupt") return stateTime(asked, term);
  return term === "pri" ? runTime(asked) : counted(asked, term, planned);
}

type Formula = { terms: string[]; planned: boolean; value: (sum: (term: string) => bigint) => string };

/** A quotient, or why there is none. */
const over = (numerator: bigint, denominator: bigint, otherwise: string) =>
  denominator === 0n ? otherwise : rounded(numerator, denominator, 6);

const share = (a: string, b: string, planned = false): Formula => ({
  terms: [a, b],
  planned,
  value: (sum) => over(sum(a), sum(b), "no_production"),
});

export const formulas: Record<string, Formula> = {
  "quality.fpy": share("inspection.passed", "inspection.inspected"),
  "quality.ratio": share("production.good", "production.total"),
  "quality.scrap_ratio": share("production.scrap", "production.total"),
  "quality.rework_ratio": share("production.rework", "production.total"),
  "oee.quality": share("production.good", "production.total", true),
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
      if (sum("apt") === 0n) return "not_running";
      const [pq, gq] = [sum("production.total"), sum("production.good")];
      return over(sum("pri") * gq, sum("pbt") * pq * 10n ** 12n, "no_production");
    },
  },
  "oee.nee": {
    terms: ["aupt", "apt", "pbt", "pri", "production.total", "production.good"],
    planned: true,
    value: (sum) => {
      if (sum("apt") === 0n) return "not_running";
      const [pq, gq] = [sum("production.total"), sum("production.good")];
      return over(sum("aupt") * sum("pri") * gq, sum("pbt") * sum("apt") * pq * 10n ** 12n, "no_production");
    },
  },
};

/** What one machine adds to a ratio. */
type Part =
  | { due: number; most: number; given: Told[]; reason?: undefined }
  | { due: number; reason: string; missed: boolean };

function partOf(formula: Formula, asked: Asked): Part {
  const part = asked.parts.get(formula) ?? findPart(formula, asked);
  asked.parts.set(formula, part);
  return part;
}

function findPart({ terms, planned }: Formula, asked: Asked): Part {
  const { machine, span } = asked;
  const found = terms.map((term) => termOf(asked, term, planned));
  const due = dueOf(asked, planned);
  const lacks = found.filter((term) => typeof term === "string");
  const lasting = lacks.find((reason) => reason !== "no_data");
  if (lasting === undefined && due === 0) return { due, reason: "not_planned", missed: false };
  const passed = passedOf(span);
  const kept = Math.max(0, passed - span.lost(machine.key));
  const most = kept === passed ? due : Number((BigInt(due) * BigInt(kept)) / BigInt(passed));
  if (lacks.length === 0) return { due, most, given: found as Told[] };
  const { states, plannedRunTimePerItemMs } = machine.registered;
  const expected = states !== undefined || plannedRunTimePerItemMs !== undefined;
  return { due, reason: lasting ?? "no_data", missed: planned ? expected : lasting === undefined };
}

function figureOf(formula: Formula, machines: readonly Asked[], span: Span): OracleFigure {
  const passed = passedOf(span);
  if (machines.length > 0 && passed < (formula.planned ? minute : 1)) return nothing("not_due", null);
  const parts = machines.map((asked) => ({ key: asked.machine.key, ...partOf(formula, asked) }));
  const whole = parts.filter((part) => part.reason === undefined);
  const lacking = parts.filter((part) => part.reason !== undefined);
  const missed = lacking.filter((part) => part.missed);
  const due = [...whole, ...missed].reduce((ms, part) => ms + part.due, 0);
  const covered = whole.reduce((ms, { most, given }) => ms + Math.min(most, ...given.map((g) => g.covered)), 0);
  const completeness = due > 0 ? ratio(BigInt(covered), BigInt(due)) : null;
  const terms = { covered, due, parts };
  if (whole.length === 0) {
    const told = (missed.length > 0 ? missed : lacking).map((part) => part.reason);
    return nothing(nearest(told) ?? "no_register", completeness, terms);
  }
  const sum = (i: number, of: "amount" | "estimated") =>
    whole.reduce((all, { given }) => all + (given[i] as Told)[of], 0n);
  const text = formula.value((term) => sum(formula.terms.indexOf(term), "amount"));
  if (!/^\d/.test(text)) return nothing(text, completeness, terms);
  return {
    value: text,
    reason: null,
    completeness,
    estimatedShare: Math.max(...formula.terms.map((_, i) => ratio(sum(i, "estimated"), sum(i, "amount")))),
    lowerBound: whole.some(({ given }) => given.some((g) => g.partial)),
    terms,
  };
}

/** Every ratio of every group of machines, asked once of each machine. */
export function machineAsker(span: Span) {
  const known = new Map<string, Asked>();
  const ask = (machine: OracleMachine): Asked => {
    const found = known.get(machine.key);
    if (found) return found;
    const minutes = findMinutes(machine, span);
    const asked: Asked = { machine, span, minutes, inside: stretches(minutes.observed), parts: new Map() };
    known.set(machine.key, asked);
    return asked;
  };
  return (machines: readonly OracleMachine[]): [string, OracleFigure][] => {
    const asked = machines.map(ask);
    return Object.entries(formulas).map(([id, formula]) => [id, figureOf(formula, asked, span)]);
  };
}
