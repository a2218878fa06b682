import { expect } from "vitest";
import type { Mutation } from "./mutations.ts";
import { canProve, prove } from "./prove.ts";
import { tableOf } from "./tally.ts";

/** Whether every mutation is to be tried; CI asks for it. */
export const wantsAll = process.env.JILIAN_MUTATIONS === "all";

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
