import { expect, it } from "vitest";
import type { Fault } from "./fault.ts";
import { allFaults, missingNeed, runMatrix } from "./matrix.ts";
import { isRed, type Row, tableOf } from "./tally.ts";

/** Runs faults in the short form, with a seed that is printed. @returns the rows, and all that tells of them */
async function shortRows(faults: readonly Fault[]): Promise<{ rows: Row[]; told: string }> {
  const seed = 1 + Math.floor(Math.random() * 2 ** 31);
  process.stdout.write(`fault matrix: node tests/faults/run.ts --short --seed ${seed}\n`);
  const fromMs = performance.now();
  let complaints: readonly string[] = [];
  const rows = await runMatrix({
    seed,
    faults,
    runs: 1,
    isShort: true,
    patienceMs: 30_000,
    onComplaints: (lines) => {
      complaints = lines.slice(-100);
    },
  });
  // Bound by time only where nothing else runs: as a test it shares the machine.
  const took = `${rows.length} faults in ${((performance.now() - fromMs) / 1000).toFixed(0)} s (aim: 90 alone on two cores)`;
  const table = `${tableOf(rows)}\n${took}`;
  process.stdout.write(`${table}\n`);
  return { rows, told: `seed ${seed}\n${table}\n${complaints.join("\n")}` };
}

const lossless = (rows: readonly Row[]): boolean => rows.every(({ lost, twice }) => lost === 0 && twice === 0);

/**
 * The short form of the matrix: `npm run test:faults` is the long one, with every fault and more runs of each. A sample that is lost or stored
 * twice is a fault whatever the next seed says. What else was red, a bound of time or a fault that met nothing, is tried once more.
 */
it("loses nothing and stores nothing twice, whatever fault is injected", { timeout: 400_000, retry: 0 }, async () => {
  const short = allFaults.filter((fault) => fault.short);
  const faults = short.filter((fault) => missingNeed(fault) === undefined);
  for (const fault of short) {
    const need = missingNeed(fault);
    if (need) process.stdout.write(`skipped, this machine has no ${need}: ${fault.name}\n`);
  }
  const { rows, told } = await shortRows(faults);
  expect(lossless(rows), told).toBe(true);
  const red = faults.filter(({ name }) => rows.some((row) => row.fault === name && isRed(row)));
  if (red.length > 0) {
    const again = await shortRows(red);
    expect(again.rows.filter(isRed), `${told}\n${again.told}`).toEqual([]);
  }
  // Rows in which nothing was read would prove nothing.
  expect(rows.map(({ fault }) => fault).toSorted()).toEqual(faults.map(({ name }) => name).toSorted());
  for (const { fault, samples } of rows) expect(samples, fault).toBeGreaterThan(50);
});
