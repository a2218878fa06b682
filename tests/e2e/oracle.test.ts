import { expect, test } from "vitest";
import { match } from "./oracle.ts";
import { matchBySource } from "./oracle-source.ts";

const perMille = { numerator: 1, denominator: 1000 };
const served = (...answers: [timeMs: number, raw: bigint][]) => answers.map(([timeMs, raw]) => ({ timeMs, raw }));
const stored = (...readings: [atMs: number, value: string][]) => readings.map(([atMs, value]) => ({ atMs, value }));
const pair = (of: ReturnType<typeof served>, with_: ReturnType<typeof stored>) =>
  match(of, with_, perMille, 120_000, 120);

test("two polls in quick succession, the second unchanged: one reading is stored and none is missing", () => {
  const answers = served([0, 890n], [5000, 932n], [5180, 932n], [9000, 872n]);
  const found = pair(answers, stored([60, "0.89"], [5060, "0.932"], [9000, "0.872"]));
  expect(found.missing).toEqual([]);
  expect(found.unexplained).toEqual([]);
  expect(found.readings.map(({ servedMs }) => servedMs)).toEqual([0, 5000, 9000]);
});

test("a changed answer that was not stored is missing; a reading stored twice or altered is unexplained", () => {
  const answers = served([0, 1n], [5000, 2n], [10_000, 3n]);
  expect(pair(answers, stored([0, "0.001"], [10_000, "0.003"])).missing).toEqual([{ timeMs: 5000, raw: 2n }]);
  const all = stored([0, "0.001"], [5000, "0.002"], [10_000, "0.003"]);
  expect(pair(answers, all)).toMatchObject({ missing: [], unexplained: [] });
  expect(pair(answers, all.toSpliced(1, 0, { atMs: 1, value: "0.001" })).unexplained).toHaveLength(1);
  expect(pair(answers, all.with(1, { atMs: 5000, value: "0.0021" })).unexplained).toHaveLength(1);
});

test("over OPC UA one change that is missing makes no others so, nor does a value told again after it had changed", () => {
  const sent = served([0, 1n], [1000, 2n], [2000, 3n], [3000, 1n]);
  const pairSent = (with_: ReturnType<typeof stored>) => matchBySource(sent, sent, with_, perMille, 60_000);
  const all = stored([0, "0.001"], [1000, "0.002"], [2000, "0.003"], [3000, "0.001"]);
  expect(pairSent(all)).toMatchObject({ missing: [], unexplained: [], told: 4, moved: 0 });
  expect(pairSent(all.toSpliced(1, 1)).missing).toEqual([{ timeMs: 1000, raw: 2n }]);
  expect(pairSent(all.toSpliced(2, 0, { atMs: 1500, value: "0.001" }))).toMatchObject({ missing: [], unexplained: [] });
  expect(pairSent(all.toSpliced(2, 0, { atMs: 1500, value: "0.003" })).unexplained).toHaveLength(1);
  expect(pairSent(all.with(1, { atMs: 1400, value: "0.002" }))).toMatchObject({ missing: [], told: 4, moved: 1 });
});
