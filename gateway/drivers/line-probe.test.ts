import { describe, expect, it } from "vitest";
import { createAnswerTimes } from "./line-probe.ts";

describe("how long a silent device is looked for", () => {
  it("is its whole time-out while nobody on the line has answered", () => {
    expect(createAnswerTimes().probeMs("a", 1000)).toBe(1000);
  });

  it("is three times what it took itself of late, and what the slowest of the others took where it never answered", () => {
    const times = createAnswerTimes();
    times.note("slow", 300);
    times.note("quick", 40);
    times.note("quick", 20);
    expect([times.probeMs("slow", 2000), times.probeMs("quick", 2000), times.probeMs("new", 2000)]).toEqual([
      900, 114, 900,
    ]);
  });

  it("is never below 100 ms, and never above the time-out", () => {
    const times = createAnswerTimes();
    times.note("a", 1);
    expect([times.probeMs("a", 1000), times.probeMs("a", 60)]).toEqual([100, 60]);
    times.note("a", 900);
    expect(times.probeMs("a", 1000)).toBe(1000);
  });

  it("is not measured by a slow device that was taken off the line", () => {
    const times = createAnswerTimes();
    times.note("slow", 900);
    times.note("quick", 50);
    times.keep(new Set(["quick", "new"]));
    expect(times.probeMs("new", 2000)).toBe(150);
  });

  it("forgets a single slow answer after some dozens of quick ones", () => {
    const times = createAnswerTimes();
    times.note("a", 1000);
    for (let i = 0; i < 60; i += 1) times.note("a", 50);
    expect(times.probeMs("a", 5000)).toBeCloseTo(150, 0);
  });
});
