import { expect, it } from "vitest";
import { type Mutation, mutationOf, mutations } from "./mutations.ts";
import { canProve, prove } from "./prove.ts";
import { tableOf } from "./tally.ts";

/** Those that every `npm test` tries; in one process, and cheaper, are more: commit-mutations.test.ts. */
export const tried = ["commit before store", "no fsync"].map(mutationOf);

/** Each mutation shows in its rows. Without them the same rows are green: faults.test.ts, `npm run test:faults`. */
export async function expectSeen(asked: readonly Mutation[]): Promise<void> {
  const here = asked.filter(canProve);
  const seed = 1 + Math.floor(Math.random() * 2 ** 31);
  const verdicts = await prove(here, seed, { alsoUnbroken: false });
  const wrong = verdicts.filter(({ ok }) => !ok);
  const named = wrong.map(({ mutation, fault }) => `${mutation?.name ?? "unbroken"}: ${fault}`);
  expect(named, `seed ${seed}\n${tableOf(wrong.map(({ row }) => row))}`).toEqual([]);
  expect(verdicts).toHaveLength(here.flatMap(({ reddens }) => reddens).length);
}

const parts = 3;

/** A part of the other mutations, which take minutes: each part is in a file of its own, so that two cores share them evenly. */
export function testOthers(part: 0 | 1 | 2): void {
  const own = mutations.filter((mutation) => !tried.includes(mutation)).filter((_, i) => i % parts === part);
  it.runIf(process.env.JILIAN_MUTATIONS === "all")(
    `the matrix would notice the others too (JILIAN_MUTATIONS=all, as in CI): ${own.map(({ name }) => name).join(", ")}`,
    { timeout: own.length * 150_000 },
    () => expectSeen(own),
  );
}
