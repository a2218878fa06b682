import { expect, it } from "vitest";
import { isThorough } from "../thorough.ts";
import { type Mutation, mutationOf, mutations } from "./mutations.ts";
import { canProve, prove } from "./prove.ts";
import { tableOf } from "./tally.ts";

/** What every `npm test` tries; in one process, and cheaper, are more: commit-mutations.test.ts. */
export const tried = ["commit before store"].map(mutationOf);

/** What an unbroken row lost: a fault whatever another try of the test says. */
const lost: string[] = [];

/** Each mutation shows in its rows, and without it they are green: here, or where they are of the short form in faults.test.ts. */
export async function expectSeen(asked: readonly Mutation[]): Promise<void> {
  const here = asked.filter(canProve);
  const seed = 1 + Math.floor(Math.random() * 2 ** 31);
  const verdicts = await prove(here, seed, { unbroken: ({ short }) => !short });
  const wrong = verdicts.filter(({ ok }) => !ok);
  const table = `seed ${seed}\n${tableOf(wrong.map(({ row }) => row))}`;
  if (wrong.some(({ mutation, row }) => !mutation && row.lost + row.twice > 0)) lost.push(table);
  expect(lost).toEqual([]);
  const named = wrong.map(({ mutation, fault }) => `${mutation?.name ?? "unbroken"}: ${fault}`);
  expect(named, table).toEqual([]);
  expect(verdicts.filter(({ mutation }) => mutation)).toHaveLength(here.flatMap(({ reddens }) => reddens).length);
}

const parts = 3;

/** A part of the other mutations, which take minutes: each part is in a file of its own, so that two cores share them evenly. */
export function testOthers(part: 0 | 1 | 2): void {
  const own = mutations.filter((mutation) => !tried.includes(mutation)).filter((_, i) => i % parts === part);
  it.runIf(isThorough)(
    `the matrix would notice the others too (JILIAN_TESTS=all, as in CI): ${own.map(({ name }) => name).join(", ")}`,
    { timeout: own.length * 150_000 },
    () => expectSeen(own),
  );
}
