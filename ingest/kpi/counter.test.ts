import { DataType } from "@jilian/domain/datatypes.ts";
import { type CounterLeaf, emptyLeaf, estimatedOf, mergeLeaves } from "@jilian/domain/leaf.ts";
import { dayMs, minuteMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { StoredRow } from "@jilian/store/telemetry.ts";
import { asReadings } from "@jilian/store/telemetry-fixtures.ts";
import { describe, expect, test } from "vitest";
import { random } from "../test-random.ts";
import { type CounterRule, counterRule, foldCounter, increase, type Register } from "./counter.ts";

const base: MetricDefinition = { name: "energy", datatype: DataType.Double, unit: "kWh", simulated: false };
const t0 = Date.UTC(2026, 10, 22, 0, 0);
const second = 1000;

function row(atMs: number, value: StoredRow["value"]): StoredRow {
  return { series: 1, sourceTimeMs: atMs, value, status: 0, gatewayTimeMs: atMs, ingestTimeMs: atMs, tx: 1 };
}

/** The rule of a register of which the registry says at most how much it can pass. */
function rated(definition: MetricDefinition, ratedPowerKW?: number): CounterRule {
  return counterRule(definition, [{ fromMs: 0, ratedPowerKW }]);
}

function registerOf(definition: MetricDefinition, ratedPowerKW?: number): Register {
  return (rated(definition, ratedPowerKW).registers[0] as CounterRule["registers"][number]).register;
}

function fold(
  readings: [seconds: number, value: StoredRow["value"]][],
  minutes: number,
  over: Partial<MetricDefinition> = {},
  ratedPowerKW?: number,
): CounterLeaf[] {
  const rows = readings.map(([seconds, value]) => row(t0 + seconds * second, value));
  return foldCounter(asReadings(rows), rated({ ...base, ...over }, ratedPowerKW), t0, t0 + minutes * minuteMs);
}

const amounts = (leaves: CounterLeaf[]) => leaves.map((leaf) => leaf.amount);

describe("worked by hand", () => {
  test("the register is interpolated linearly at the minute's edge", () => {
    // 3 kWh from :50 to :10 of the next minute, evenly: 1.5 each. Then 1 kWh inside the second minute.
    const leaves = fold(
      [
        [50, 100],
        [70, 103],
        [80, 104],
      ],
      2,
    );
    expect(leaves).toEqual([
      { ...emptyLeaf, amount: 1_500_000n, coveredMs: 10_000, samples: 1 },
      { ...emptyLeaf, amount: 2_500_000n, coveredMs: 20_000, samples: 2 },
    ]);
  });

  test("an uneven split is cut once and adds up to the whole", () => {
    // 0.000001 kWh over 3 minutes: a third each cannot be, so one of the minutes has it.
    const leaves = fold(
      [
        [0, 0],
        [180, 0.000001],
      ],
      3,
      { heartbeatMs: 60_000 },
    );
    expect(amounts(leaves)).toEqual([0n, 0n, 1n]);
  });

  test("a reading exactly on an edge ends the minute before, and belongs to the minute after", () => {
    const leaves = fold(
      [
        [40, 10],
        [60, 12],
        [80, 13],
      ],
      2,
    );
    expect(leaves).toEqual([
      { ...emptyLeaf, amount: 2_000_000n, coveredMs: 20_000, samples: 1 },
      { ...emptyLeaf, amount: 1_000_000n, coveredMs: 20_000, samples: 2 },
    ]);
  });

  test("a gap over several minutes: what is an estimate is told apart", () => {
    // Heartbeat 10 s, window 30 s: 240 s without a reading is a gap. 8 kWh in 240 s: 2 kWh a minute.
    const leaves = fold(
      [
        [20, 0],
        [30, 0],
        [270, 8],
        [280, 8.5],
      ],
      5,
    );
    expect(leaves).toEqual([
      { ...emptyLeaf, amount: 1_000_000n, right: 1_000_000n, coveredMs: 10_000, gapMs: 30_000, samples: 2 },
      { ...emptyLeaf, amount: 2_000_000n, left: 2_000_000n, right: 2_000_000n, inGap: true, gapMs: 60_000 },
      { ...emptyLeaf, amount: 2_000_000n, left: 2_000_000n, right: 2_000_000n, inGap: true, gapMs: 60_000 },
      { ...emptyLeaf, amount: 2_000_000n, left: 2_000_000n, right: 2_000_000n, inGap: true, gapMs: 60_000 },
      { ...emptyLeaf, amount: 1_500_000n, left: 1_000_000n, coveredMs: 10_000, gapMs: 30_000, samples: 2 },
    ]);
    // Of the five minutes together nothing is an estimate: both ends of the gap lie inside.
    expect(estimatedOf(leaves.reduce(mergeLeaves))).toBe(0n);
    // Of the last three, what the gap brought: 2 + 2 + 1.
    expect(estimatedOf(leaves.slice(2).reduce(mergeLeaves))).toBe(5_000_000n);
    expect(estimatedOf(leaves.slice(1, 3).reduce(mergeLeaves))).toBe(4_000_000n);
  });

  test("a gap that ends exactly on an edge leaves the next minute alone", () => {
    const leaves = fold(
      [
        [30, 0],
        [120, 3],
        [130, 4],
      ],
      3,
    );
    expect(leaves).toEqual([
      { ...emptyLeaf, amount: 1_000_000n, right: 1_000_000n, gapMs: 30_000, samples: 1 },
      { ...emptyLeaf, amount: 2_000_000n, left: 2_000_000n, gapMs: 60_000 },
      { ...emptyLeaf, amount: 1_000_000n, coveredMs: 10_000, samples: 2 },
    ]);
  });

  test("a rollover is counted with the declared modulus", () => {
    const leaves = fold(
      [
        [0, 999_990],
        [20, 5],
      ],
      1,
      { modulus: "1000000" },
    );
    expect(leaves).toEqual([{ ...emptyLeaf, amount: 15_000_000n, coveredMs: 20_000, samples: 2 }]);
  });

  test("a fall without an explanation is not counted, and every minute that it touches is a lower bound", () => {
    const leaves = fold(
      [
        [10, 500],
        [20, 501],
        [130, 3],
        [140, 4],
      ],
      4,
    );
    expect(leaves).toEqual([
      { ...emptyLeaf, amount: 1_000_000n, coveredMs: 10_000, samples: 2, resets: 1 },
      { ...emptyLeaf, resets: 1 },
      { ...emptyLeaf, amount: 1_000_000n, coveredMs: 10_000, samples: 2, resets: 1 },
      emptyLeaf,
    ]);
  });

  test("a reset that ends exactly on an edge is the earlier minute's", () => {
    const leaves = fold(
      [
        [50, 500],
        [60, 3],
      ],
      2,
    );
    expect(leaves.map((l) => l.resets)).toEqual([1, 0]);
  });

  test("a rise beyond what the meter can pass is not counted", () => {
    // 120 kW rated: 1.2 x 120 kW x (20 s + 5 s) = 1 kWh, and one count of 0.01 kWh.
    const meter = { resolution: "0.01" };
    expect(
      amounts(
        fold(
          [
            [0, 0],
            [20, 1.01],
          ],
          1,
          meter,
          120,
        ),
      ),
    ).toEqual([1_010_000n]);
    const beyond = fold(
      [
        [0, 0],
        [20, 1.010001],
      ],
      1,
      meter,
      120,
    );
    expect(beyond).toEqual([{ ...emptyLeaf, samples: 2, resets: 1 }]);
  });

  test("a rollover is bounded by the same power, and without one by half the modulus", () => {
    const capped = registerOf({ ...base, modulus: "1000", resolution: "1" }, 120);
    expect(increase(capped, 999_000_000n, 1_000_000n, 20_000)).toBe(2_000_000n);
    expect(increase(capped, 999_000_000n, 1_000_001n, 20_000)).toBeNull();
    const free = registerOf({ ...base, modulus: "1000" });
    expect(increase(free, 600_000_000n, 100_000_000n, 30_000)).toBe(500_000_000n);
    expect(increase(free, 600_000_000n, 100_000_001n, 30_000)).toBeNull();
    // A register that stands above its own modulus contradicts it.
    expect(increase(free, 2_000_000_000n, 0n, 30_000)).toBeNull();
  });

  test("a 32-bit float counts as the decimal it was meant as", () => {
    const reading = Math.fround(1234.1);
    expect(String(reading)).not.toBe("1234.1");
    const leaves = fold(
      [
        [0, 1234],
        [10, reading],
      ],
      1,
      { datatype: DataType.Float },
    );
    expect(amounts(leaves)).toEqual([100_000n]);
    expect(
      amounts(
        fold(
          [
            [0, 1234],
            [10, reading],
          ],
          1,
        ),
      ),
    ).not.toEqual([100_000n]);
  });

  test("64-bit registers keep their last digit", () => {
    expect(
      amounts(
        fold(
          [
            [0, 2n ** 62n],
            [10, 2n ** 62n + 1n],
          ],
          1,
        ),
      ),
    ).toEqual([1_000_000n]);
  });
});

describe("bad input", () => {
  test("what a birth declares wrongly counts as not declared", () => {
    const none = counterRule(base);
    for (const wrong of ["", "abc", "-5", "0", "1e999", "NaN", "9".repeat(60)]) {
      expect(counterRule({ ...base, modulus: wrong, resolution: wrong })).toEqual(none);
    }
  });

  test("rated power in kW bounds a register of kWh only", () => {
    expect(registerOf({ ...base, unit: "MWh" }, 100).maxRise).toBeUndefined();
    expect(increase(registerOf(base, 62.5), 0n, 75_000_001n, 3_595_000)).toBe(75_000_001n);
    expect(increase(registerOf(base, 62.5), 0n, 75_000_002n, 3_595_000)).toBeNull();
  });

  test("what no register can say is not counted, nor what lies around it", () => {
    const readings: [number, StoredRow["value"]][] = [
      [0, 1],
      [10, 1e300],
      [20, "x"],
      [30, true],
      [40, 5],
      [50, 6],
    ];
    expect(fold(readings, 1)).toEqual([{ ...emptyLeaf, amount: 1_000_000n, coveredMs: 10_000, samples: 3, resets: 4 }]);
  });

  test("readings more than 31 days apart are no neighbours", () => {
    const rule = counterRule(base);
    const rows = [row(5000, 7), row(t0 + 30_000, 100), row(t0 + 40_000, 101)];
    expect(foldCounter(asReadings(rows), rule, t0, t0 + minuteMs)).toEqual([
      { ...emptyLeaf, amount: 1_000_000n, coveredMs: 10_000, samples: 2, resets: 1 },
    ]);
    expect(
      foldCounter(asReadings(rows), rule, t0 - 31 * dayMs, t0).every((l) => l.amount === 0n && l.resets === 0),
    ).toBe(true);
    expect(foldCounter(asReadings(rows), rule, 0, minuteMs)).toEqual([{ ...emptyLeaf, samples: 1 }]);
    const near = [row(t0 - 31 * dayMs, 7), row(t0, 100)];
    const whole = foldCounter(asReadings(near), rule, t0 - 31 * dayMs, t0).reduce(mergeLeaves);
    expect(whole).toMatchObject({ amount: 93_000_000n, resets: 0, inGap: false, left: 0n, right: 0n });
  });
});

describe("properties", () => {
  const seeds = Array.from({ length: 60 }, (_, i) => i + 1);

  /** A register that is read at random times, sometimes on an edge, sometimes after a long gap; never reset. */
  function readingsOf(seed: number): StoredRow[] {
    const { whole, chance } = random(seed);
    const rows: StoredRow[] = [];
    let atMs = t0 + whole(5 * minuteMs);
    let register = BigInt(whole(1_000_000));
    const count = 2 + whole(60);
    for (let i = 0; i < count; i += 1) {
      rows.push(row(atMs, register));
      atMs += chance(0.1) ? whole(20 * minuteMs) + 1 : whole(40_000) + 1;
      if (chance(0.2)) atMs = Math.ceil(atMs / minuteMs) * minuteMs;
      register += chance(0.2) ? 0n : BigInt(whole(50));
    }
    return rows;
  }

  const endOf = (rows: StoredRow[]) => Math.floor((rows.at(-1) as StoredRow).sourceTimeMs / minuteMs + 1) * minuteMs;
  const rule: CounterRule = counterRule(base);

  test.each(seeds)("the sum of all minutes is last minus first, however they are merged (%i)", (seed) => {
    const rows = readingsOf(seed);
    const leaves = foldCounter(asReadings(rows), rule, t0, endOf(rows));
    const risen = ((rows.at(-1) as StoredRow).value as bigint) - ((rows[0] as StoredRow).value as bigint);
    expect(amounts(leaves).reduce((a, b) => a + b)).toBe(risen * 1_000_000n);
    const { whole } = random(seed + 1000);
    const cut = whole(leaves.length);
    const parts = [leaves.slice(0, cut), leaves.slice(cut)].filter((part) => part.length > 0);
    const merged = leaves.reduce(mergeLeaves);
    expect(parts.map((part) => part.reduce(mergeLeaves)).reduce(mergeLeaves)).toEqual(merged);
    // Every gap has both its ends inside the whole.
    expect(estimatedOf(merged)).toBe(0n);
    expect(merged.samples).toBe(rows.length);
  });

  test.each(seeds)("folded window by window with the neighbours of each, the leaves are the same (%i)", (seed) => {
    const rows = readingsOf(seed);
    const toMs = endOf(rows);
    const { whole } = random(seed + 2000);
    const found: CounterLeaf[] = [];
    for (let fromMs = t0; fromMs < toMs; ) {
      const end = Math.min(toMs, fromMs + (1 + whole(7)) * minuteMs);
      const before = rows.findLast((r) => r.sourceTimeMs < fromMs);
      const inside = rows.filter((r) => r.sourceTimeMs >= fromMs && r.sourceTimeMs < end);
      const after = rows.find((r) => r.sourceTimeMs >= end);
      const needed = [before, ...inside, after].filter((r) => r !== undefined);
      found.push(...foldCounter(asReadings(needed), rule, fromMs, end));
      fromMs = end;
    }
    expect(found).toEqual(foldCounter(asReadings(rows), rule, t0, toMs));
  });
});
