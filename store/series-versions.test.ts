import { DataType } from "@jilian/domain/datatypes.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DatedDefinition,
  datedText,
  definitionAt,
  differsSince,
  maxDefinitions,
  readDated,
  shownDefinitions,
  withDefinition,
} from "./series-versions.ts";

const of = (role: string): MetricDefinition => ({ name: "m", datatype: DataType.Double, role, simulated: false });
const series = (dated: readonly DatedDefinition[]) => {
  return { group: "f", node: "g", device: "d", metric: "m", id: 1, ...shownDefinitions(dated) };
};
const births = (...told: readonly (readonly [string, number])[]) =>
  told.reduce<readonly DatedDefinition[] | undefined>(
    (known, [role, at]) => withDefinition(known, of(role), { sinceMs: at }),
    undefined,
  ) ?? [];
const said = (dated: readonly DatedDefinition[]) => dated.map(({ fromMs, definition }) => [definition.role, fromMs]);

describe("the definitions of a series in time", () => {
  test("each birth in its place, whatever the order in which they come", () => {
    // Each says something else: what a birth repeats is not kept, and would say nothing after one that was put before it.
    const arrivals = fc.uniqueArray(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(arrivals, (times) => {
        const found = series(births(...times.map((at) => [`${at}`, at] as const)));
        const inOrder = times.toSorted((x, y) => x - y);
        // Written out: the last birth at or before a time, the first one before any.
        for (let at = 0; at <= 31; at += 1)
          expect(definitionAt(found, at).role).toBe(`${inOrder.findLast((since) => since <= at) ?? inOrder[0]}`);
      }),
    );
  });

  test("one that its gateway dates back holds from its birth on at the least, and changes nothing that is known by then", () => {
    const known = births(["a", 10], ["b", 20]);
    const told = (role: string, sinceMs: number) => said(withDefinition(known, of(role), { sinceMs, bornMs: 40 }));
    expect(told("c", 30)).toEqual([...said(known), ["c", 30]]);
    expect(told("c", 15)).toEqual([
      ["a", 10],
      ["c", 15],
      ["b", 20],
      ["c", 40],
    ]);
    expect(told("a", 12)).toEqual([...said(known), ["a", 40]]);
    // An outbox that was put back as it was before the change: what was read between is not of the later definition.
    for (const sinceMs of [12, 20, 25]) expect(told("b", sinceMs)).toEqual(said(known));
    // A source's clock that runs ahead.
    expect(told("c", 50)).toEqual([...said(known), ["c", 50]]);
    // Nothing was read after the first birth of all: what was read before it is still of that one, since ever.
    expect(told("c", 5)).toEqual([["a", 0], ["c", 5], ...said(known), ["c", 40]]);
  });

  describe("one whose gateway tells what it was before", () => {
    type Earlier = readonly (readonly [string, number])[];
    const tell = (known: readonly DatedDefinition[] | undefined, earlier: Earlier, [role, sinceMs]: [string, number]) =>
      withDefinition(known, of(role), {
        ...{ sinceMs, bornMs: 90 },
        earlier: earlier.map(([was, at]) => ({ sinceMs: at, definition: of(was) })),
      });

    test.each<[string, readonly (readonly [string, number])[], Earlier, [string, number], Earlier]>([
      [
        "a third",
        [["a", 10]],
        [["b", 20]],
        ["c", 30],
        [
          ["a", 10],
          ["b", 20],
          ["c", 30],
        ],
      ],
      [
        "there and back",
        [["a", 10]],
        [["b", 20]],
        ["a", 30],
        [
          ["a", 10],
          ["b", 20],
          ["a", 30],
        ],
      ],
      [
        "a new series",
        [],
        [
          ["a", 0],
          ["b", 20],
        ],
        ["c", 30],
        [
          ["a", 0],
          ["b", 20],
          ["c", 30],
        ],
      ],
      [
        "a first one without a time",
        [["z", 10]],
        [
          ["a", 0],
          ["b", 20],
        ],
        ["c", 30],
        [
          ["z", 10],
          ["b", 20],
          ["c", 30],
        ],
      ],
      [
        "known by then",
        [
          ["a", 10],
          ["b", 25],
        ],
        [["b", 20]],
        ["c", 30],
        [
          ["a", 10],
          ["b", 25],
          ["c", 30],
        ],
      ],
      [
        "a later one stays",
        [
          ["a", 10],
          ["c", 50],
        ],
        [["b", 20]],
        ["c", 30],
        [
          ["a", 10],
          ["b", 20],
          ["a", 30],
          ["c", 50],
        ],
      ],
      [
        "births of between give way",
        [
          ["a", 10],
          ["x", 22],
          ["y", 25],
        ],
        [["b", 20]],
        ["c", 30],
        [
          ["a", 10],
          ["b", 20],
          ["c", 30],
        ],
      ],
      [
        "thrice",
        [["a", 1]],
        [
          ["a", 1],
          ["b", 20],
          ["a", 30],
        ],
        ["b", 40],
        [
          ["a", 1],
          ["b", 20],
          ["a", 30],
          ["b", 40],
        ],
      ],
      [
        "heard of first when it was another one already",
        [["a", 25]],
        [
          ["a", 10],
          ["b", 20],
        ],
        ["c", 30],
        [
          ["a", 10],
          ["b", 20],
          ["c", 30],
        ],
      ],
      [
        "the same without a time",
        [["a", 25]],
        [
          ["a", 0],
          ["b", 20],
        ],
        ["c", 30],
        [
          ["a", 0],
          ["b", 20],
          ["c", 30],
        ],
      ],
      [
        "known only of later, as births of an older gateway told it",
        [["b", 25]],
        [["a", 0]],
        ["b", 20],
        [
          ["a", 0],
          ["b", 20],
        ],
      ],
      [
        "before all that is known",
        [["c", 50]],
        [
          ["a", 10],
          ["b", 20],
        ],
        ["c", 30],
        [
          ["a", 10],
          ["b", 20],
          ["c", 30],
        ],
      ],
    ])("%s", (_name, before, earlier, now, expected) => {
      const known = tell(before.length > 0 ? births(...before) : undefined, earlier, now);
      expect(said(known)).toEqual(expected);
      expect(tell(known, earlier, now)).toBe(known);
      // A later birth tells less, since what waited is stored.
      expect(tell(known, earlier.slice(1), now)).toBe(known);
      expect(tell(known, [], now)).toBe(known);
    });

    test("beyond what is kept the same birth still changes nothing", () => {
      const full = births(...Array.from({ length: maxDefinitions }, (_, i) => [`r${i}`, i + 1] as const));
      const known = tell(full, [["b", 60]], ["c", 61]);
      expect(known.length).toBe(maxDefinitions);
      expect(tell(known, [["b", 60]], ["c", 61])).toBe(known);
    });
  });

  test("a repeated one changes nothing, one of the same time replaces, neighbours that say the same are one", () => {
    const known = births(["a", 10], ["b", 20], ["c", 30]);
    expect(withDefinition(known, of("b"), { sinceMs: 25 })).toBe(known);
    expect(withDefinition(known, of("c"), { sinceMs: 99 })).toBe(known);
    expect(said(withDefinition(known, of("d"), { sinceMs: 20 }))).toEqual([
      ["a", 10],
      ["d", 20],
      ["c", 30],
    ]);
    expect(said(withDefinition(known, of("a"), { sinceMs: 20 }))).toEqual([
      ["a", 10],
      ["c", 30],
    ]);
    expect(said(withDefinition(known, of("c"), { sinceMs: 25 }))).toEqual([
      ["a", 10],
      ["b", 20],
      ["c", 25],
    ]);
    expect(said(withDefinition(known, of("z"), { sinceMs: 5 }))).toEqual([
      ["z", 5],
      ["a", 10],
      ["b", 20],
      ["c", 30],
    ]);
    expect(said(withDefinition(known, of("z")))).toEqual([["z", 0]]);
  });

  test("at most so many: the one that held shortest goes, never the first and the last", () => {
    const flaps = Array.from({ length: 3 * maxDefinitions }, (_, i) => [i % 2 ? "a" : "b", 10_000 + i] as const);
    const known = births(["x", 1], ["y", 1000], ...flaps);
    expect(known.length).toBeLessThanOrEqual(maxDefinitions);
    expect(said(known).slice(0, 3)).toEqual([
      ["x", 1],
      ["y", 1000],
      ["b", 10_000],
    ]);
    expect(known.at(-1)?.definition.role).toBe(flaps.at(-1)?.[0]);
    const long = (n: number) => `${n}`.padEnd(9000, "-");
    const bulky = births(...Array.from({ length: 9 }, (_, i) => [long(i), i * i] as const));
    expect(datedText(bulky).length).toBeLessThan(40_000);
    expect(bulky.at(-1)?.definition.role).toBe(long(8));
  });

  test("as text and back; one of an older release holds since ever", () => {
    const known = withDefinition(births(["a", 10]), of("b"), { sinceMs: 20, doubtMs: 17 });
    expect(known[1]).toMatchObject({ fromMs: 20, doubtMs: 17 });
    expect(readDated(datedText(known))).toEqual(known);
    const old = readDated(JSON.stringify(of("a")));
    expect(said(withDefinition(old, of("b"), { sinceMs: 20 }))).toEqual([
      ["a", 0],
      ["b", 20],
    ]);
    expect(shownDefinitions(old)).toEqual({ definition: of("a") });
  });

  test("since when two looks at a series differ", () => {
    const [a, b] = [series(births(["a", 10])), series(births(["a", 10], ["b", 20]))];
    expect(differsSince(a, a)).toBeUndefined();
    expect(differsSince(a, b)).toBe(20);
    expect(differsSince(b, series(births(["a", 10], ["c", 15], ["b", 20])))).toBe(15);
    expect(differsSince(a, series(births(["z", 10])))).toBe(0);
  });
});
