import { expect, it } from "vitest";
import { calmMs, planOf, trackNames } from "./plan.ts";

const halfAnHourMs = 1_800_000;

it("is the same for a seed, and another for another", () => {
  expect(planOf(7, halfAnHourMs)).toEqual(planOf(7, halfAnHourMs));
  expect(planOf(7, halfAnHourMs)).not.toEqual(planOf(8, halfAnHourMs));
});

it.each([60_000, 90_000, halfAnHourMs])("strikes every track in %i ms, one thing at a time, and ends calm", (runMs) => {
  for (let seed = 1; seed <= 50; seed += 1) {
    const plan = planOf(seed, runMs);
    for (const track of trackNames) {
      const own = plan.filter((episode) => episode.track === track);
      expect(own, `seed ${seed}, ${track}`).not.toEqual([]);
      for (const [i, { atMs, forMs }] of own.entries()) {
        expect(atMs + forMs).toBeLessThanOrEqual(Math.min(own[i + 1]?.atMs ?? runMs, runMs - calmMs(runMs)));
      }
    }
  }
});

it("brings each kind of fault in half an hour, in both halves outages of the platform and of devices", () => {
  const plan = planOf(7, halfAnHourMs);
  expect(new Set(plan.map(({ track, kind }) => `${track} ${kind}`)).size).toBe(9 + 7 + 8 + 5 + 5 + 4 + 5);
  for (const half of [0, 1]) {
    const own = plan.filter(({ atMs }) => Math.floor((2 * atMs) / halfAnHourMs) === half);
    expect(new Set(own.map(({ track }) => track))).toEqual(new Set(trackNames));
  }
});
