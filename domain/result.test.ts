import { describe, expect, it } from "vitest";
import { type Result, resultId, sameFigure, share } from "./result.ts";

const result: Result = {
  indicator: "energy.electricity",
  level: "device",
  entity: "f1/gw/m",
  period: "hour",
  startMs: 1000,
  endMs: 3_601_000,
  value: "1.5",
  reason: null,
  unit: "kWh",
  completeness: 1,
  estimatedShare: 0,
  lowerBound: false,
  status: "final",
  revision: 0,
  definitionVersion: 1,
  factorTable: null,
  registryVersion: "abc",
  inputWatermark: 7,
  asOfMs: 9,
  simulated: false,
};

it("two results say the same whatever their times of computing, and not when anything about the figure differs", () => {
  expect(sameFigure(result, { ...result, asOfMs: 10, inputWatermark: 8, status: "revised", revision: 1 })).toBe(true);
  const changes: Partial<Result>[] = [
    { value: "1.50" },
    { value: null },
    { reason: "no_data" },
    { completeness: 0.9999 },
    { completeness: null },
    { estimatedShare: 0.0001 },
    { lowerBound: true },
    { definitionVersion: 2 },
    { factorTable: "2024" },
    { registryVersion: "abd" },
  ];
  for (const change of changes)
    expect(sameFigure(result, { ...result, ...change }), JSON.stringify(change)).toBe(false);
});

it("a result's id names all of its key", () => {
  expect(resultId(result)).toBe("energy.electricity|device|f1/gw/m|hour|1000");
});

describe("share", () => {
  it.each([
    [0n, 7n, 0],
    [7n, 7n, 1],
    [1n, 3n, 0.3333],
    [2n, 3n, 0.6667],
    [1n, 20_000n, 0.0001],
    [1n, 20_001n, 0],
    [0n, 0n, 0],
    [10n ** 30n, 3n * 10n ** 30n, 0.3333],
  ])("%d of %d is %d", (part, whole, wanted) => expect(share(part, whole)).toBe(wanted));
});
