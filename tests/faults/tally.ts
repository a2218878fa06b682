import { type Allowance, type Answer, isAllowed, pair, type Stored } from "./compare.ts";
import type { Fault } from "./fault.ts";
import type { Meter, MetricName } from "./meters.ts";
import { storedOf } from "./stored.ts";
import type { World, WorldGateway } from "./world.ts";

/** A run of one fault: what was answered from its start to the next one's belongs to it. Machine time. */
export type Run = {
  readonly fault: Fault;
  readonly fromMs: number;
  toMs: number;
  recoveryMs: number;
  /** By gateway: when answers may be missing by right. */
  allowances: ReadonlyMap<string, readonly Allowance[]>;
  /** Followed samples that a gateway told it had dropped in this run, where that is allowed. */
  drops: ReadonlyMap<string, number>;
  readonly broken: string[];
  /** Why the fault cannot be shown to have acted. */
  readonly unfelt: string[];
};

/** One row of the table. */
export type Row = {
  fault: string;
  runs: number;
  /** Samples of answers that were read while the fault was on and until the next one. */
  samples: number;
  lost: number;
  twice: number;
  /** Missing within the limit that the README states; absent where it states none. */
  within: number | undefined;
  limit: string | undefined;
  /** From the end of the fault until everything read by then was stored, the longest of its runs. */
  recoveryMs: number;
  /** What else was wrong, in words; empty when nothing was. */
  broken: string[];
  /** Why it proves nothing, in words: the fault cannot be shown to have acted, or nothing was read. */
  unfelt: string[];
};

type Tally = { samples: number; lost: number; twice: number; within: number; broken: string[] };

/** Drops that are still to be set against what is missing, by gateway and run. */
type Budget = Map<Run, number>;

function countLost(
  missing: readonly Answer[],
  { gateway: { id, killsMs }, name }: { gateway: WorldGateway; name: string },
  budget: Budget,
  of: (atMs: number) => [Run, Tally],
) {
  for (const answer of missing) {
    const { value, servedMs, client } = answer;
    const [run, tally] = of(servedMs);
    const drops = budget.get(run) ?? 0;
    const allowed = isAllowed(answer, run.allowances.get(id) ?? []);
    if (!allowed && drops > 0) budget.set(run, drops - 1);
    tally[allowed || drops > 0 ? "within" : "lost"] += 1;
    if (allowed || drops > 0) continue;
    const [sinceMs] = killsMs.map((ms) => servedMs - ms).toSorted((a, b) => Math.abs(a) - Math.abs(b));
    const near = sinceMs === undefined ? "" : `, ${Math.abs(sinceMs)} ms ${sinceMs < 0 ? "before" : "after"} a kill`;
    const into = `${servedMs - run.fromMs} ms into it`;
    tally.broken.push(
      `lost: ${name} ${value} served at ${new Date(servedMs).toISOString()} to ${client}, ${into}${near}`,
    );
  }
}

/** Compares everything that was read in all runs, sample by sample, with what is stored in the end. */
export async function tallyRuns(world: World, runs: readonly Run[]): Promise<Map<Run, Tally>> {
  const tallies = new Map(
    runs.map((run): [Run, Tally] => [run, { samples: 0, lost: 0, twice: 0, within: 0, broken: [...run.broken] }]),
  );
  const of = (atMs: number): [Run, Tally] => {
    const run = runs.find(({ toMs }) => atMs <= toMs) ?? (runs.at(-1) as Run);
    return [run, tallies.get(run) as Tally];
  };
  const endMs = runs.at(-1)?.toMs ?? 0;
  const one = async (gateway: WorldGateway, meter: Meter, metric: MetricName, budget: Budget): Promise<void> => {
    const rows = await storedOf(world, meter, metric);
    // Asked afterwards: what was stored had been answered.
    const all = meter.answers()[metric];
    const answers = all.filter(({ servedMs }) => servedMs <= endMs);
    const later = new Set(all.slice(answers.length).map(({ value }) => value));
    const stored = rows.filter(({ value }) => !later.has(value));
    const servedMs = new Map(answers.map((answer) => [answer.value, answer.servedMs]));
    const found = pair(answers, stored);
    const left = meter.unread(answers, gateway.killsMs);
    const lost = found.lost.filter((answer) => !left.has(answer));
    const neverRead = new Set(found.lost.filter((answer) => left.has(answer)));
    for (const answer of answers) if (!neverRead.has(answer)) of(answer.servedMs)[1].samples += 1;
    countLost(lost, { gateway, name: `${meter.entity} ${metric}` }, budget, of);
    for (const { value } of found.twice) of(servedMs.get(value) ?? 0)[1].twice += 1;
    const say = (what: string, wrong: readonly Stored[]) => {
      for (const { atMs, value } of wrong) {
        const where = `${meter.entity} ${metric} ${value} at ${new Date(atMs).toISOString()}`;
        of(servedMs.get(value) ?? atMs)[1].broken.push(`${what}: ${where}`);
      }
    };
    say("stored and never read", found.altered);
    say("stored out of order", found.disordered);
  };
  for (const gateway of world.gateways) {
    const budget: Budget = new Map(runs.map((run) => [run, run.drops.get(gateway.id) ?? 0]));
    for (const meter of gateway.meters) for (const metric of meter.metrics) await one(gateway, meter, metric, budget);
  }
  return tallies;
}

/** Rows in which nothing was read would prove nothing. */
function emptyOf(tallies: readonly Tally[]): string[] {
  const empty = tallies.filter(({ samples }) => samples === 0).length;
  return empty > 0 ? [`nothing was read in ${empty} of ${tallies.length} runs`] : [];
}

export function rowOf(fault: Fault, runs: readonly Run[], tallies: ReadonlyMap<Run, Tally>): Row {
  const own = runs.filter((run) => run.fault === fault);
  const all = own.map((run) => tallies.get(run) as Tally);
  const sum = (of: (tally: Tally) => number) => all.reduce((total, tally) => total + of(tally), 0);
  return {
    fault: fault.name,
    runs: own.length,
    samples: sum(({ samples }) => samples),
    lost: sum(({ lost }) => lost),
    twice: sum(({ twice }) => twice),
    within: fault.limit === undefined ? undefined : sum(({ within }) => within),
    limit: fault.limit,
    recoveryMs: Math.max(...own.map(({ recoveryMs }) => recoveryMs)),
    broken: all.flatMap(({ broken }) => broken),
    unfelt: [...own.flatMap(({ unfelt }) => unfelt), ...emptyOf(all)],
  };
}

/** Something that is guaranteed did not hold. */
function isBroken({ lost, twice, broken }: Row): boolean {
  return lost > 0 || twice > 0 || broken.length > 0;
}

/** Broken, or proving nothing. */
export function isRed(row: Row): boolean {
  return isBroken(row) || row.unfelt.length > 0;
}

/** The table of the README, and below it what was wrong beside. */
export function tableOf(rows: readonly Row[]): string {
  const count = (n: number) => n.toLocaleString("en");
  const head = ["fault", "runs", "samples", "lost", "twice", "within the stated limit", "recovery, s"];
  const cells = rows.map((row) => [
    row.fault,
    count(row.runs),
    count(row.samples),
    count(row.lost),
    count(row.twice),
    row.within === undefined ? "" : `${count(row.within)} (${row.limit})`,
    (row.recoveryMs / 1000).toFixed(1),
  ]);
  const line = (columns: readonly string[]) => `| ${columns.join(" | ")} |`;
  const rule = `|${head.map((_, i) => (i === 0 || i === 5 ? "---" : "---:")).join("|")}|`;
  const wrong = rows.flatMap(({ fault, broken, unfelt }) => {
    for (const text of unfelt) broken = [...broken, `not felt: ${text}`];
    const shown = broken.slice(0, 5).map((text) => `- ${fault}: ${text}`);
    return broken.length > 5 ? [...shown, `- ${fault}: and ${broken.length - 5} more`] : shown;
  });
  return [line(head), rule, ...cells.map(line), ...(wrong.length > 0 ? ["", ...wrong] : [])].join("\n");
}
