import { type CounterLeaf, emptyLeaf } from "@jilian/domain/leaf.ts";
import { hourMs, watermarkMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { describe, expect, test } from "vitest";
import { testRegistry } from "../test-world.ts";
import { figures } from "./figures.ts";
import { nextRevision } from "./publish.ts";
import { sitesOf } from "./sites.ts";

const registry = testRegistry(true);
const startMs = Date.UTC(2026, 10, 22, 2, 0);
const leaf = (over: Partial<CounterLeaf>): CounterLeaf => ({ ...emptyLeaf, ...over });

function figuresOf(
  leaves: [number, CounterLeaf][],
  { asOfMs = startMs + hourMs, online = [] as [string, number][], births = [] as [string, number][] } = {},
) {
  const meters = new Map([
    ["f1/gw-1/meter-1", 1],
    ["f1/gw-1/meter-2", 2],
    ["f2/gw-1/meter-1", 3],
    ["f2/gw-1/meter-2", undefined],
  ]);
  const found = figures(registry, sitesOf(registry), {
    period: "hour",
    startMs,
    asOfMs,
    watermarkTx: 7,
    meters,
    machines: [],
    leaves: { counters: new Map(leaves), online: new Map(online), planned: new Map(), states: new Map() },
    lostMs: new Map<string, number>(),
    firstBirths: new Map(births),
  });
  return (entity: string, indicator = "energy.electricity") =>
    found.find((r) => r.entity === entity && r.indicator === indicator) as Result;
}

describe("energy", () => {
  test("completeness and estimated share are those of the sums, not the means of the meters'", () => {
    // One meter read for 54 minutes with 90 kWh, the other inside one gap with 10 kWh of which all is an estimate.
    const of = figuresOf([
      [1, leaf({ amount: 90_000_000n, coveredMs: 54 * 60_000, samples: 500 })],
      [2, leaf({ amount: 10_000_000n, left: 10_000_000n, right: 10_000_000n, inGap: true, gapMs: hourMs })],
      [3, leaf({ amount: 300_000_000n, coveredMs: hourMs, samples: 360 })],
    ]);
    const f1 = { value: "100", completeness: 0.45, estimatedShare: 0.1, lowerBound: false, unit: "kWh" };
    expect(of("f1")).toMatchObject({ ...f1, inputWatermark: 7, simulated: true, registryVersion: registry.version });
    // Of f2's two meters one has never been read.
    expect(of("f2")).toMatchObject({ value: "300", completeness: 0.5, estimatedShare: 0, lowerBound: true });
    expect(of("e1")).toMatchObject({ value: "400", completeness: 0.475, estimatedShare: 0.025, lowerBound: true });
    expect(of("e1", "energy.comprehensive")).toMatchObject({
      value: "49.16",
      unit: "kgce",
      factorTable: "GB/T 2589-2020",
      completeness: 0.475,
    });
    expect(of("jinlv").value).toBe("400");
    // 400 kWh x 0.5306 kgCO2/kWh, the national factor of 2023: the registry names no grid.
    expect(of("jinlv", "carbon.electricity")).toMatchObject({
      value: "212.24",
      unit: "kgCO2",
      factorTable: "CN grid CO2 2023, national",
      completeness: 0.475,
      lowerBound: true,
    });
  });

  test("completeness is the part of the time that has passed; a clock that runs ahead does not exceed it", () => {
    const asOfMs = startMs + hourMs / 4;
    const of = figuresOf(
      [
        [1, leaf({ amount: 1n, coveredMs: hourMs / 8 })],
        [2, leaf({ amount: 1n, coveredMs: hourMs })],
      ],
      { asOfMs },
    );
    expect(of("f1")).toMatchObject({ value: "0.000002", completeness: 0.75 });
  });

  test("a register that stood still is 0; one that was read once says nothing", () => {
    const still = figuresOf([[3, leaf({ samples: 1, gapMs: 30_000 })]]);
    expect(still("f2")).toMatchObject({ value: "0", reason: null, completeness: 0, estimatedShare: 0 });
    const once = figuresOf([[3, leaf({ samples: 1 })]]);
    expect(once("f2")).toMatchObject({ value: null, reason: "no_data", completeness: 0, estimatedShare: null });
    expect(once("e2")).toMatchObject({ value: null, reason: "no_meter", completeness: null });
  });

  test("an increase that cannot be told makes the sum a lower bound", () => {
    const of = figuresOf([
      [1, leaf({ amount: 5_000_000n, coveredMs: hourMs, samples: 9, resets: 1 })],
      [2, leaf({ amount: 5_000_000n, coveredMs: hourMs, samples: 9 })],
    ]);
    expect(of("f1")).toMatchObject({ value: "10", lowerBound: true });
  });
});

describe("connection", () => {
  test("registered, ever connected and online devices are counted apart; factories by their devices", () => {
    const of = figuresOf([], {
      online: [
        ["f1/gw-1/press-1", 1],
        ["f1/gw-1/meter-1", 0],
        ["f3/gw-1/press-1", 60_000],
        ["f9/gw-1/stranger", 60_000],
      ],
      births: [
        ["f1/gw-1/press-1", startMs - 1],
        ["f1/gw-1/meter-1", startMs + hourMs - 1],
        ["f2/gw-1/meter-1", startMs + hourMs],
      ],
    });
    const values = (entity: string) =>
      ["devices.registered", "devices.ever_connected", "devices.online"].map((id) => of(entity, id).value);
    expect(values("f1")).toEqual(["4", "2", "1"]);
    expect(values("f2")).toEqual(["3", "0", "0"]);
    expect(values("jinlv")).toEqual(["8", "2", "2"]);
    expect(of("jinlv", "factories.connected").value).toBe("2");
    expect(of("e1", "factories.connected").value).toBe("1");
    expect(of("f1", "factories.connected")).toBeUndefined();
  });
});

describe("revisions", () => {
  const result = { ...figuresOf([])("f2"), value: "1", status: "provisional" as const };
  const dueMs = result.endMs + watermarkMs;

  test("provisional until the watermark, then final once, whether it changed or not", () => {
    expect(nextRevision(result, undefined, dueMs - 1)).toEqual(result);
    expect(nextRevision({ ...result, asOfMs: 9 }, result, dueMs - 1)).toBeUndefined();
    expect(nextRevision({ ...result, value: "2" }, result, dueMs - 1)).toMatchObject({
      status: "provisional",
      revision: 0,
    });
    expect(nextRevision(result, result, dueMs)).toEqual({ ...result, status: "final" });
    expect(nextRevision(result, undefined, dueMs)).toMatchObject({ status: "final", revision: 0 });
  });

  test("what was final is never provisional again, and is revised only when it says something else", () => {
    const final = { ...result, status: "final" as const };
    expect(nextRevision({ ...result, inputWatermark: 99, asOfMs: dueMs }, final, dueMs + 1)).toBeUndefined();
    const first = nextRevision({ ...result, value: "2" }, final, dueMs + 1) as Result;
    expect(first).toMatchObject({ value: "2", status: "revised", revision: 1 });
    const second = nextRevision({ ...result, completeness: 0.5, value: "2" }, first, dueMs - 1);
    expect(second).toMatchObject({ completeness: 0.5, status: "revised", revision: 2 });
  });
});
