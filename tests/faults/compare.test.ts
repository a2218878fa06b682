import { describe, expect, it } from "vitest";
import { type Answer, pair, toldShortlyBefore, unread } from "./compare.ts";

const answer = (value: string, servedMs = Number(value), client = "a"): Answer => ({ value, servedMs, client });
const stored = (...values: string[]) => values.map((value, i) => ({ atMs: 1000 + i, value }));

describe("answers and stored readings", () => {
  it("are paired by value and order, whatever their times", () => {
    const none = { lost: [], twice: [], altered: [], disordered: [] };
    expect(
      pair(
        ["1", "2", "3"].map((v) => answer(v)),
        stored("1", "2", "3"),
      ),
    ).toEqual(none);
    expect(pair([], [])).toEqual(none);
  });

  it("show what is missing, stored again, invented and out of order", () => {
    const found = pair(
      ["1", "2", "3", "4"].map((v) => answer(v)),
      stored("1", "4", "3", "3", "9"),
    );
    expect(found.lost.map(({ value }) => value)).toEqual(["2"]);
    expect(found.twice).toEqual([{ atMs: 1003, value: "3" }]);
    expect(found.altered).toEqual([{ atMs: 1004, value: "9" }]);
    expect(found.disordered.map(({ value }) => value)).toEqual(["3", "3"]);
  });

  it("take an unchanged value for one reading or for as many as were answered, and not for more", () => {
    const still = [answer("1", 1), answer("1", 2), answer("2", 3)];
    expect(pair(still, stored("1", "2"))).toMatchObject({ lost: [], twice: [] });
    expect(pair(still, stored("1", "1", "2"))).toMatchObject({ lost: [], twice: [] });
    expect(pair(still, stored("1", "1", "1", "2")).twice).toHaveLength(1);
    expect(pair(still, stored("2")).lost).toHaveLength(2);
  });
});

it("only the last answer of a connection that ended by a kill may have been left in its socket", () => {
  const answers = [answer("1", 100), answer("2", 200), answer("3", 300, "b"), answer("4", 400, "b")];
  const values = (kills: number[]) => [...unread(answers, kills)].map(({ value }) => value);
  expect(values([])).toEqual([]);
  expect(values([250])).toEqual(["2"]);
  expect(values([250, 420])).toEqual(["2", "4"]);
  // Killed again before it had read anything.
  expect(values([250, 260])).toEqual(["2"]);
});

it("what was told around a kill may not have been collected, and nothing else", () => {
  const answers = [answer("1", 100), answer("2", 450), answer("3", 520), answer("4", 900)];
  const values = (kills: number[]) => [...toldShortlyBefore(answers, kills, 100)].map(({ value }) => value);
  expect(values([])).toEqual([]);
  expect(values([500])).toEqual(["2", "3"]);
  expect(values([500, 1000])).toEqual(["2", "3", "4"]);
});
