import { expect, it } from "vitest";
import { allFaults, missingNeed, runMatrix } from "./matrix.ts";
import { isRed, tableOf } from "./tally.ts";

/** The short form of the matrix: `npm run test:faults` is the long one, with every fault and more runs of each. */
it("loses nothing and stores nothing twice, whatever fault is injected", { timeout: 300_000 }, async () => {
  const seed = 1 + Math.floor(Math.random() * 2 ** 31);
  const short = allFaults.filter((fault) => fault.short);
  const faults = short.filter((fault) => missingNeed(fault) === undefined);
  for (const fault of short) {
    const need = missingNeed(fault);
    if (need) process.stdout.write(`skipped, this machine has no ${need}: ${fault.name}\n`);
  }
  process.stdout.write(`fault matrix: node tests/faults/run.ts --short --seed ${seed}\n`);
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
  const table = tableOf(rows);
  process.stdout.write(`${table}\n`);
  expect(rows.filter(isRed), `seed ${seed}\n${table}\n${complaints.join("\n")}`).toEqual([]);
  // Rows in which nothing was read would prove nothing.
  expect(rows.map(({ fault }) => fault).toSorted()).toEqual(faults.map(({ name }) => name).toSorted());
  for (const { fault, samples } of rows) expect(samples, fault).toBeGreaterThan(50);
});
