import { describe, expect, test } from "vitest";
import type { Indicator } from "./definition.ts";
import { devicesRegistered } from "./devices-registered.ts";
import { type DefinitionSince, definitionsInForce } from "./in-force.ts";

/** The second and third version are kept; the first is not any more. */
const three: Indicator = { ...devicesRegistered, id: "a", version: 3, earlier: [{ ...devicesRegistered, version: 2 }] };
const one: Indicator = { ...devicesRegistered, id: "b" };
const since = (version: number, fromMs: number, indicator = "a"): DefinitionSince => ({ indicator, version, fromMs });

const used = (rows: readonly DefinitionSince[], ...times: number[]) => {
  const found = definitionsInForce([three, one], rows);
  return times.map((at) => found.at(at).map(({ version }) => version));
};

describe("which version a time has", () => {
  test("the one that was in force, until another is, and from its very moment on", () => {
    const rows = [since(2, 0), since(1, 0, "b"), since(3, 1000)];
    expect(used(rows, 0, 999, 1000, 5000)).toEqual([
      [2, 1],
      [2, 1],
      [3, 1],
      [3, 1],
    ]);
    expect(definitionsInForce([three], rows).spansOf("a")).toEqual([
      { version: 2, fromMs: 0, untilMs: 1000 },
      { version: 3, fromMs: 1000, untilMs: undefined },
    ]);
    expect(definitionsInForce([three], rows).spansOf("c")).toBeUndefined();
  });

  test("of one of which nothing is noted the release's own, since ever; before the first the first", () => {
    expect(used([], 0, 5000)).toEqual([
      [3, 1],
      [3, 1],
    ]);
    expect(used([since(3, 1000)], 0)).toEqual([[3, 1]]);
  });

  test("of one that is not kept the next older one, or the oldest that is", () => {
    expect(used([since(1, 0), since(3, 1000)], 0, 1000)).toEqual([
      [2, 1],
      [3, 1],
    ]);
    expect(used([since(9, 0)], 0)).toEqual([[3, 1]]);
  });

  test("an older release that was started meanwhile, and a clock that was set back", () => {
    expect(used([since(3, 0), since(2, 1000), since(3, 2000)], 500, 1500, 2500)).toEqual([
      [3, 1],
      [2, 1],
      [3, 1],
    ]);
    // What was noted later counts from its own time on.
    expect(used([since(2, 0), since(3, 2000), since(2, 1000)], 500, 1500, 2500)).toEqual([
      [2, 1],
      [2, 1],
      [2, 1],
    ]);
  });
});
