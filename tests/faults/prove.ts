import type { Fault } from "./fault.ts";
import { allFaults, missingNeed, runMatrix } from "./matrix.ts";
import { type Mutation, mutationEnv } from "./mutations.ts";
import { isRed, type Row } from "./tally.ts";

/** Nothing more arrives for this long: under a mutation that is loss, and rows are to turn red soon. */
const patienceMs = 6000;

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

/** Runs the rows that must turn red under a mutation. @returns the rows, and those of them that did not */
export async function prove(mutation: Mutation, seed: number): Promise<{ rows: Row[]; unseen: string[] }> {
  const setting = {
    seed,
    faults: faultsOf(mutation),
    runs: 1,
    isShort: true,
    patienceMs,
    env: mutationEnv(mutation.name),
  };
  const rows = await runMatrix(setting);
  return { rows, unseen: rows.filter((row) => !isRed(row)).map(({ fault }) => fault) };
}
