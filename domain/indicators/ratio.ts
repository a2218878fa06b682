import { getOrMake } from "../get-or-make.ts";
import type { CounterSum, MachineSums } from "../machine-sums.ts";
import type { SiteSums } from "../period-sums.ts";
import { minuteMs } from "../periods.ts";
import { absentFigure, type Figure, type NullReason, nearestReason, share } from "../result.ts";
import type { Role } from "../roles.ts";
import type { Indicator } from "./definition.ts";
import { type Fraction, formatFraction, ratioPlaces } from "./fraction.ts";

/**
 * The terms of ratios of machines, as exact integers: `pbt` planned busy time, `apt` actual production time and `aupt` that with set-up, in ms, of the
 * minutes in which the state was observed; `planned_run_time` the sum of planned run time per item x produced quantity in ms at 12 places, and the quantities of counter roles in pieces at 6 places.
 */
export type Term =
  | "pbt"
  | "apt"
  | "aupt"
  | "planned_run_time"
  | Extract<Role, `production.${string}` | `inspection.${string}`>;

export type Terms = Readonly<Record<Term, bigint>>;

/**
 * A ratio of sums over machines. It is made over the machines that have all of its terms, of the same machines in each sum, and never
 * from ratios.
 */
export type RatioDefinition = Indicator & {
  /** Which minutes count: all of the period, or the planned ones that have ended and were observed (machine-sums.ts, `observe`). */
  readonly scope: "period" | "planned";
  readonly terms: readonly Term[];
  /** The formula. It is given sums of the terms above (others are 0), or tells why there is no ratio. */
  readonly ratio: (sums: Terms) => Fraction | NullReason;
};

/** A ratio of machines as an indicator of the catalogue: its figure is made over all machines of the site. */
export function ratioIndicator(definition: Omit<RatioDefinition, "figure">): RatioDefinition {
  const machines = (site: SiteSums) => site.factories.flatMap(({ devices }) => devices.flatMap((d) => d.machine ?? []));
  const ratio: RatioDefinition = { ...definition, figure: (site) => ratioFigure(ratio, machines(site)) };
  return ratio;
}

/** Places of `planned_run_time` beyond those of `apt` and `pbt`. */
export const timesPlaces = 10n ** 12n;

const noTerms: Terms = {
  pbt: 0n,
  apt: 0n,
  aupt: 0n,
  planned_run_time: 0n,
  "production.total": 0n,
  "production.good": 0n,
  "production.scrap": 0n,
  "production.rework": 0n,
  "inspection.inspected": 0n,
  "inspection.passed": 0n,
};

/** Divides, or tells why not. */
export function over(numerator: bigint, denominator: bigint, whenZero: NullReason): Fraction | NullReason {
  return denominator > 0n ? { numerator, denominator } : whenZero;
}

/** The value of a ratio of given sums: a decimal string with `ratioPlaces` at most, or why there is none. */
export function ratioOf(
  definition: RatioDefinition,
  sums: Partial<Terms>,
): { value: string; reason: null } | { value: null; reason: NullReason } {
  const found = definition.ratio({ ...noTerms, ...sums });
  if (typeof found === "string") return { value: null, reason: found };
  return { value: formatFraction(found, ratioPlaces), reason: null };
}

/** What one machine gives for a term. */
type Given = { amount: bigint; estimated: bigint; coveredMs: number; partial: boolean };
type Scope = RatioDefinition["scope"];

/** Quantities of all counters of a role; covered is what is on average, as one counter of a machine may tell less than another. */
function countedBy(counters: readonly CounterSum[], scope: Scope, dueMs: number): Given | NullReason {
  if (counters.length === 0) return "no_register";
  const quantities = counters.map((counter) => (scope === "planned" ? counter.planned : counter.whole));
  if (!quantities.some((q) => q.told)) return "no_data";
  const coveredMs = quantities.reduce((ms, q) => ms + Math.min(q.coveredMs, dueMs), 0);
  return {
    amount: quantities.reduce((sum, q) => sum + q.amount, 0n),
    estimated: quantities.reduce((sum, q) => sum + q.estimated, 0n),
    coveredMs: Math.floor(coveredMs / counters.length),
    partial: quantities.some((q) => q.partial),
  };
}

function plannedRunTime({ plan }: MachineSums, counters: readonly CounterSum[], dueMs: number): Given | NullReason {
  const told = countedBy(counters, "planned", dueMs);
  if (typeof told === "string") return told;
  let amount = 0n;
  let estimated = 0n;
  for (const { product, planned } of counters) {
    if (!planned.told) continue;
    const perItem = plan.plannedRunTime?.(product);
    if (perItem === undefined) return "no_planned_rate";
    amount += perItem * planned.amount;
    estimated += perItem * planned.estimated;
  }
  return { ...told, amount, estimated };
}

/** What of the machine's time its terms ought to cover. */
function dueOf({ plan, elapsedMs, plannedMs }: MachineSums, scope: Scope): number {
  return scope === "planned" && plan.calendar ? plannedMs : elapsedMs;
}

/** Planned busy time, or the part of it in a running state, of the minutes in which the state was observed. */
function timeOf(term: "pbt" | "apt" | "aupt", { plan, state }: MachineSums): Given | NullReason {
  if (!state || !plan.runningCodes) return "no_state";
  if (term === "aupt" && !plan.setupCodes) return "no_setup_state";
  if (!plan.calendar) return "no_calendar";
  const { observedMs, knownMs, runningMs, setupMs } = state;
  if (observedMs === 0) return "no_data";
  const ms = { pbt: observedMs, apt: runningMs, aupt: runningMs + setupMs }[term];
  return { amount: BigInt(ms), estimated: 0n, coveredMs: knownMs, partial: false };
}

function termOf(machine: MachineSums, term: Term, scope: Scope): Given | NullReason {
  const dueMs = dueOf(machine, scope);
  if (term === "apt" || term === "pbt" || term === "aupt") return timeOf(term, machine);
  const counters = machine.counters.filter((c) => c.role === (term === "planned_run_time" ? "production.total" : term));
  if (counters.length > 0 && scope === "planned" && !machine.plan.calendar) return "no_calendar";
  return term === "planned_run_time" ? plannedRunTime(machine, counters, dueMs) : countedBy(counters, scope, dueMs);
}

/** What a machine lacks for good: it does not give it, or the registry does not tell it. */
const lasting = new Set<NullReason>(["no_register", "no_state", "no_setup_state", "no_planned_rate", "no_calendar"]);

/**
 * Whether a machine that lacks a term is missed: where the registry says what its running states or its planned run times are, its
 * equipment figures are expected; a counter is not expected of a machine that does not have it.
 */
function isMissed({ scope }: RatioDefinition, { plan }: MachineSums, lacks: readonly NullReason[]): boolean {
  if (scope === "planned") return plan.runningCodes !== undefined || plan.plannedRunTime !== undefined;
  return lacks.every((reason) => !lasting.has(reason));
}

/** What one machine adds to a ratio. */
type Part =
  | { dueMs: number; mostMs: number; given: Map<Term, Given> }
  | { dueMs: number; reason: NullReason; missed: boolean };

/** What machines add, by ratio: the sites that hold a machine ask for the same. */
const partsOfMachines = new WeakMap<MachineSums, Map<RatioDefinition, Part>>();

function partOf(definition: RatioDefinition, machine: MachineSums): Part {
  const known = getOrMake(partsOfMachines, machine, () => new Map<RatioDefinition, Part>());
  return getOrMake(known, definition, () => findPart(definition, machine));
}

function findPart(definition: RatioDefinition, machine: MachineSums): Part {
  const { scope, terms } = definition;
  const dueMs = dueOf(machine, scope);
  const given = new Map<Term, Given>();
  const lacking = new Map<Term, NullReason>();
  for (const term of terms) {
    const found = termOf(machine, term, scope);
    if (typeof found === "string") lacking.set(term, found);
    else given.set(term, found);
  }
  const lacks = [...lacking.values()];
  // What it lacks for good is told before what the period happens to lack.
  const reason = lacks.find((lack) => lasting.has(lack));
  if (!reason && dueMs === 0) return { dueMs, reason: "not_planned", missed: false };
  if (lacks.length > 0) return { dueMs, reason: reason ?? "no_data", missed: isMissed(definition, machine, lacks) };
  return { dueMs, mostMs: coverableMs(machine, dueMs), given };
}

/** What of a machine's due time readings can cover at most: what samples that are not stored stand for is lost to all of it alike. */
function coverableMs({ elapsedMs, lostMs }: MachineSums, dueMs: number): number {
  if (lostMs === 0) return dueMs;
  const kept = Math.max(0, elapsedMs - lostMs);
  return Number((BigInt(dueMs) * BigInt(kept)) / BigInt(elapsedMs));
}

/**
 * The figure of a ratio over machines. Pure.
 *
 * Completeness is covered over due time, each summed over the machines: due is what has passed of the period (of planned time: in planned
 * time), covered what the least covered of a machine's terms tells, at most what is stored of the machine's samples (lost-time.ts). A machine
 * that lacks a term is due and not covered where it is missed (`isMissed`); else it has no part, and neither has one without planned time in
 * the period.
 * The estimated share is that of the term of which most is estimated.
 */
export function ratioFigure(definition: RatioDefinition, machines: readonly MachineSums[]): Figure {
  // Planned time is compared in whole minutes: before the first has passed there is none.
  const leastMs = definition.scope === "planned" ? minuteMs : 1;
  if (machines.some((m) => m.elapsedMs < leastMs)) return absentFigure("not_due");
  const parts = machines.map((machine) => partOf(definition, machine));
  const whole = parts.filter((part) => "given" in part);
  const lacking = parts.filter((part) => "reason" in part);
  const due = [...whole, ...lacking.filter((part) => part.missed)];
  const dueMs = due.reduce((ms, part) => ms + part.dueMs, 0);
  const covered = (given: Given[]) => Math.min(...given.map((g) => g.coveredMs));
  const coveredMs = whole.reduce((ms, part) => ms + Math.min(part.mostMs, covered([...part.given.values()])), 0);
  const completeness = dueMs > 0 ? share(BigInt(coveredMs), BigInt(dueMs)) : null;
  if (whole.length === 0) {
    const missed = lacking.filter((part) => part.missed);
    const told = missed.length > 0 ? missed : lacking;
    return absentFigure(nearestReason(told.map((part) => part.reason)) ?? "no_register", completeness);
  }
  const givenOf = (term: Term) => whole.map((part) => part.given.get(term) as Given);
  const sum = (given: Given[], of: "amount" | "estimated") => given.reduce((total, g) => total + g[of], 0n);
  const sums = Object.fromEntries(definition.terms.map((term) => [term, sum(givenOf(term), "amount")]));
  const { value, reason } = ratioOf(definition, sums);
  if (value === null) return absentFigure(reason, completeness);
  const estimates = definition.terms.map((term) => share(sum(givenOf(term), "estimated"), sums[term] as bigint));
  return {
    value,
    reason,
    completeness,
    estimatedShare: Math.max(...estimates),
    lowerBound: definition.terms.some((term) => givenOf(term).some((g) => g.partial)),
  };
}
