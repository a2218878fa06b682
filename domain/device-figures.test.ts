import { describe, expect, it } from "vitest";
import { type DeviceFigureInput, deviceFigure } from "./device-figures.ts";
import { type CounterLeaf, emptyLeaf, mergeLeaves } from "./leaf.ts";
import { hourMs, minuteMs, periodStart } from "./periods.ts";

const startMs = periodStart("hour", Date.UTC(2026, 10, 22, 4));

const leaf = (change: Partial<CounterLeaf>): CounterLeaf => ({ ...emptyLeaf, ...change });

/** @param series per series the leaves of its minutes, in order */
function figure(series: CounterLeaf[][], change: Partial<DeviceFigureInput> = {}) {
  const endMs = startMs + (change.period === "minute" ? minuteMs : hourMs);
  return deviceFigure({
    role: "energy.import",
    entity: "f/g/d",
    period: "hour",
    startMs,
    endMs,
    series: series.map((own) => own.reduce(mergeLeaves)),
    asOfMs: startMs + hourMs,
    inputWatermark: 7,
    registryVersion: "abc",
    simulated: true,
    ...change,
  });
}

describe("deviceFigure", () => {
  it("adds exactly at the unit's scale", () => {
    const whole = Array.from({ length: 60 }, () => leaf({ amount: 100_001n, coveredMs: minuteMs, samples: 6 }));
    expect(figure([whole])).toMatchObject({
      indicator: "energy.import",
      level: "device",
      value: "6.00006",
      unit: "kWh",
      reason: null,
      completeness: 1,
      estimatedShare: 0,
      lowerBound: false,
      status: "provisional",
      endMs: startMs + hourMs,
      inputWatermark: 7,
      simulated: true,
    });
  });

  it("measures completeness against the elapsed part, never beyond 1", () => {
    const leaves = [leaf({ amount: 5n, coveredMs: 45_000, samples: 3 })];
    expect(figure([leaves], { asOfMs: startMs + minuteMs }).completeness).toBe(0.75);
    expect(figure([leaves]).completeness).toBe(0.0125);
    expect(figure([leaves], { asOfMs: startMs + 30_000 }).completeness).toBe(1);
  });

  it("tells nothing, zero and an estimate apart", () => {
    expect(figure([])).toMatchObject({ value: null, reason: "no_data", completeness: 0, estimatedShare: null });
    expect(figure([[leaf({})]])).toMatchObject({ value: null, reason: "no_data" });
    // A first reading alone tells no increase; one before a gap over which the register stood still tells 0.
    expect(figure([[leaf({ samples: 1 })]])).toMatchObject({ value: null, reason: "no_data" });
    expect(figure([[leaf({ samples: 1, gapMs: 9_000 })]])).toMatchObject({ value: "0", estimatedShare: 0 });
    expect(figure([[leaf({ samples: 1, coveredMs: 60_000 })]])).toMatchObject({ value: "0", reason: null });
    const gap = [
      leaf({ amount: 30n, right: 10n, samples: 1, coveredMs: 30_000 }),
      leaf({ amount: 30n, left: 30n, right: 30n, inGap: true, gapMs: minuteMs }),
      leaf({ amount: 40n, left: 20n, samples: 1, coveredMs: 10_000 }),
    ];
    // Inside the hour both ends of the gap are known: nothing of it is an estimate.
    expect(figure([gap])).toMatchObject({ value: "0.0001", estimatedShare: 0 });
    expect(figure([gap.slice(1, 2)])).toMatchObject({ value: "0.00003", estimatedShare: 1, completeness: 0 });
    expect(figure([gap.slice(0, 2)]).estimatedShare).toBe(0.6667);
  });

  it("says when it is a lower bound, final, or not due", () => {
    expect(figure([[leaf({ amount: 1n, samples: 2, coveredMs: 1, resets: 1 })]]).lowerBound).toBe(true);
    expect(figure([], { asOfMs: startMs + hourMs + 15 * minuteMs }).status).toBe("final");
    expect(figure([], { asOfMs: startMs })).toMatchObject({ value: null, reason: "not_due", completeness: null });
  });

  it("sums the series of a role: two products of one machine", () => {
    const one = [leaf({ amount: 2_000_000n, coveredMs: minuteMs, samples: 6 })];
    const two = [leaf({ amount: 3_000_000n, gapMs: 30_000, samples: 1 })];
    const made = figure([one, two], { role: "production.total", period: "minute", asOfMs: startMs + minuteMs });
    expect(made).toMatchObject({ value: "5", unit: "pcs", completeness: 0.5 });
  });
});
