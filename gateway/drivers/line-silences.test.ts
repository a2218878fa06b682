import { expect, it } from "vitest";
import { createSilences, turn } from "./line-silences.ts";

const never = Number.NEGATIVE_INFINITY;

it("holds silent devices back for three times what a silence took, while another device answers", () => {
  const silences = createSilences();
  const nowMs = performance.now();
  const turns = (atMs: number, busyUntilMs = never) =>
    ["living", "new", "dead", "dead2"].map((device) => silences.turnOf(device, atMs, busyUntilMs));
  silences.silent("dead", 1000);
  silences.silent("dead2", 1000);
  // Nobody answers: there is nobody to be spared.
  expect(turns(nowMs)).toEqual([turn.now, turn.now, turn.now, turn.now]);
  silences.answered("living");
  expect(turns(nowMs + 2900)).toEqual([turn.now, turn.ifNobodyElse, turn.later, turn.later]);
  expect(turns(nowMs + 3500)).toEqual([turn.now, turn.now, turn.now, turn.now]);
  // And for as long as a converter may wait for one of them.
  expect(turns(nowMs + 3500, nowMs + 4000)).toEqual([turn.now, turn.ifNobodyElse, turn.later, turn.later]);
});

it("spares nobody for a device that was taken off the line", () => {
  const silences = createSilences();
  silences.answered("gone");
  silences.silent("dead", 1000);
  expect(silences.turnOf("dead", performance.now(), never)).toBe(turn.later);
  silences.keep(new Set(["dead", "other"]));
  expect(silences.turnOf("dead", performance.now(), never)).toBe(turn.now);
  // Of one that comes back under its name nothing is known.
  silences.answered("other");
  silences.keep(new Set(["other"]));
  expect(silences.turnOf("dead", performance.now(), never)).toBe(turn.ifNobodyElse);
});

it("lets nobody pay for a single request that a device missed which answers else", () => {
  const silences = createSilences();
  for (const device of ["a", "b"]) silences.answered(device);
  silences.silent("a", 1000);
  expect(silences.turnOf("a", performance.now(), never)).toBe(turn.now);
  silences.silent("a", 1000);
  expect(silences.turnOf("a", performance.now(), never)).toBe(turn.later);
});
