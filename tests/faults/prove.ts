import { until } from "../e2e/until.ts";
import type { Fault } from "./fault.ts";
import { clockFaults } from "./fault-box.ts";
import { allFaults, type Matrix, missingNeed, startMatrix } from "./matrix.ts";
import { pointName } from "./meters.ts";
import { type Mutation, mutationEnv } from "./mutations.ts";
import { isRed, type Row, type Run, rowOf } from "./tally.ts";

/** Nothing more arrives for this long: under a mutation that is loss, and rows are to turn red soon. */
const patienceMs = 6000;
/** Where it could come only from what is on its way: longer than a commit's time-out. */
const emptyPatienceMs = 2500;

/** Runs of a fault under a mutation, at most: the row is to be red in one of them. */
const mutatedRuns = 5;

/** The faults that must show a mutation. @throws RangeError when one of them is not in the matrix */
export function faultsOf({ name, reddens }: Mutation): Fault[] {
  return reddens.map((wanted) => {
    const found = allFaults.find((fault) => fault.name === wanted);
    if (!found) throw new RangeError(`mutation "${name}" names a fault that does not exist: ${wanted}`);
    return found;
  });
}

/** Whether this machine can inject what shows a mutation. */
export function canProve(mutation: Mutation): boolean {
  return faultsOf(mutation).every((fault) => missingNeed(fault) === undefined);
}

/** One row with the product as it is, or broken by a mutation; ok when it is green without and red with one. */
export type Verdict = {
  readonly fault: string;
  readonly mutation: Mutation | undefined;
  readonly row: Row;
  readonly ok: boolean;
};

type Job = { fault: Fault; mutation: Mutation | undefined };

/** The programs that load what a mutation edits. */
function programsOf({ world }: Matrix, mutation: Mutation | undefined): string[] {
  const files = mutation?.edits.map(({ file }) => file) ?? [];
  return [
    ...(files.some((file) => !file.startsWith("gateway/")) ? ["ingest"] : []),
    ...(files.some((file) => file.startsWith("gateway/")) ? world.gateways.map(({ id }) => id) : []),
  ];
}

/** Starts anew what was broken, and what is to be. */
async function changeTo(matrix: Matrix, before: Mutation | undefined, next: Mutation | undefined): Promise<void> {
  if (before === next) return;
  const { world } = matrix;
  const broken = programsOf(matrix, next);
  const names = [...new Set([...programsOf(matrix, before), ...broken])];
  await Promise.all(names.map(world.kill));
  const startedMs = Date.now();
  for (const name of names) world.setEnv(name, next && broken.includes(name) ? mutationEnv(next.name) : {});
  const restarted = world.gateways.filter(({ id }) => names.includes(id));
  const made = new Map(restarted.map(({ id, proxy }) => [id, proxy.connections()]));
  await Promise.all(names.map(world.start));
  // A fault that comes before it reads and is connected would meet nothing.
  await until("a gateway that was started anew to read and to connect", 60_000, () =>
    restarted.every(
      ({ id, proxy, meters }) =>
        proxy.connections() > (made.get(id) ?? 0) &&
        meters.every((meter) => (meter.answers()[pointName].at(-1)?.servedMs ?? 0) > startedMs),
    ),
  );
  await matrix.settle(startedMs);
}

/** Whether a row shows a mutation in its own way: what is red for another reason is no proof. */
function isShown({ shows }: Mutation, { lost, twice, broken }: Row): boolean {
  if (shows === "lost") return lost > 0;
  return shows === "twice" ? twice > 0 : broken.some((text) => shows.test(text));
}

/** Runs a fault once; under a mutation until it shows, since a kill at a drawn moment can miss what is broken. */
async function rowUnder(matrix: Matrix, fault: Fault, mutation: Mutation | undefined): Promise<Row> {
  const runs: Run[] = [];
  for (;;) {
    runs.push(await matrix.run(fault, runs.length));
    const row = rowOf(fault, runs, await matrix.tally());
    if (!mutation || isShown(mutation, row) || runs.length === mutatedRuns) return row;
  }
}

/** Every row unbroken where wanted, then broken in each way; what a clock that jumped leaves behind disturbs no other row. */
function jobsOf(mutations: readonly Mutation[], unbroken: (fault: Fault) => boolean): Job[] {
  // In the matrix's order: what the poison rows set aside is told up to a minute later, as a finding in whichever row comes next.
  const named = new Set(mutations.flatMap(faultsOf));
  const faults = allFaults.filter((fault) => named.has(fault) && unbroken(fault));
  const jobs = [
    ...faults.map((fault): Job => ({ fault, mutation: undefined })),
    ...mutations.flatMap((mutation) => faultsOf(mutation).map((fault): Job => ({ fault, mutation }))),
  ];
  return jobs.toSorted((a, b) => Number(clockFaults.includes(a.fault)) - Number(clockFaults.includes(b.fault)));
}

export type ProveOptions = {
  /** Rows that are to be green without a mutation too; all if absent. */
  unbroken?: (fault: Fault) => boolean;
  onVerdict?: (verdict: Verdict) => void;
};

/**
 * Shows that the matrix would notice: the rows that must turn red under a mutation, each green without it first, with the same seed and in
 * the same cluster. Mutations whose rows are of different stores are in clusters of their own.
 */
export async function prove(
  mutations: readonly Mutation[],
  seed: number,
  { unbroken = () => true, onVerdict = () => undefined }: ProveOptions = {},
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const store of ["duckdb", "influx"] as const) {
    const jobs = jobsOf(mutations, unbroken).filter(({ fault }) => fault.store === store);
    if (jobs.length === 0) continue;
    const matrix = await startMatrix({ store }, { seed, isShort: true, patienceMs, emptyPatienceMs });
    try {
      await matrix.settle(0);
      let before: Mutation | undefined;
      for (const { fault, mutation } of jobs) {
        await changeTo(matrix, before, mutation);
        before = mutation;
        const row = await rowUnder(matrix, fault, mutation);
        const verdict = { fault: fault.name, mutation, row, ok: mutation ? isShown(mutation, row) : !isRed(row) };
        verdicts.push(verdict);
        onVerdict(verdict);
      }
    } finally {
      await matrix.world.close();
    }
  }
  return verdicts;
}
