import { DataType } from "@jilian/domain/datatypes.ts";
import { emptyLeaf, estimatedOf, mergeLeaves } from "@jilian/domain/leaf.ts";
import { dayMs, minuteMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { StoredRow } from "@jilian/store/telemetry.ts";
import { asReadings } from "@jilian/store/telemetry-fixtures.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { counterRule, foldCounter, type MeterVersion } from "./counter.ts";

const t0 = Date.UTC(2026, 10, 22, 0, 0);
const base: MetricDefinition = {
  name: "energy",
  datatype: DataType.Double,
  unit: "kWh",
  role: "energy.import",
  simulated: false,
};

function row(atMs: number, value: StoredRow["value"]): StoredRow {
  return { series: 1, sourceTimeMs: atMs, value, status: 0, gatewayTimeMs: atMs, ingestTimeMs: atMs, tx: 1 };
}

type Meter = NonNullable<MeterVersion["meter"]>;
const exchange = (seconds: number, oldFinal: string, newInitial: string) => ({
  atMs: t0 + seconds * 1000,
  oldFinal,
  newInitial,
});
const meter = (...exchanges: Meter["exchanges"]): Meter => ({ carrier: "electricity", exchanges });

function fold(readings: [seconds: number, value: number][], minutes: number, versions: MeterVersion[], over = {}) {
  const rows = readings.map(([seconds, value]) => row(t0 + seconds * 1000, value));
  return foldCounter(asReadings(rows), counterRule({ ...base, ...over }, versions), t0, t0 + minutes * minuteMs);
}

describe("a meter exchange, by hand", () => {
  const readings: [number, number][] = [
    [0, 9990],
    [60, 9992],
    [240, 7],
    [300, 8],
  ];

  test("(old final - before) + (after - new initial), split in time at the exchange", () => {
    // Old meter 9,992 to 9,996 in two minutes, then the new one 4 to 7 in one. Heartbeat 60 s: nothing is a gap.
    const leaves = fold(readings, 5, [{ fromMs: 0, meter: meter(exchange(180, "9996", "4")) }], {
      heartbeatMs: 60_000,
    });
    expect(leaves.map((leaf) => leaf.amount)).toEqual([2_000_000n, 2_000_000n, 2_000_000n, 3_000_000n, 1_000_000n]);
    expect(leaves.every((leaf) => leaf.resets === 0)).toBe(true);
    expect(leaves.reduce(mergeLeaves)).toMatchObject({ amount: 10_000_000n, coveredMs: 300_000, samples: 3 });
  });

  test("without it the fall is not told, and two minutes lack a part", () => {
    const leaves = fold(readings, 5, [{ fromMs: 0, meter: meter() }]);
    expect(leaves.map((leaf) => leaf.resets)).toEqual([0, 1, 1, 1, 0]);
  });

  test("what the registers said at the exchange is known: a gap ends there", () => {
    const leaves = fold(readings, 5, [{ fromMs: 0, meter: meter(exchange(210, "9997", "4")) }]);
    // 9,992 to 9,997 over 150 s is a gap; 4 to 7 within 30 s is none.
    expect(leaves[3]).toEqual({
      ...emptyLeaf,
      amount: 1_000_000n + 3_000_000n,
      left: 1_000_000n,
      gapMs: 30_000,
      coveredMs: 30_000,
    });
    expect(leaves.slice(1, 4).reduce(mergeLeaves)).toMatchObject({ amount: 8_000_000n, left: 0n, right: 0n });
    expect(estimatedOf(leaves.reduce(mergeLeaves))).toBe(0n);
  });

  test("a reading at the moment of the exchange is the new register's; two exchanges between readings count both", () => {
    const at = fold(readings, 5, [{ fromMs: 0, meter: meter(exchange(240, "9999", "6.5")) }], { heartbeatMs: 60_000 });
    expect(at.reduce(mergeLeaves).amount).toBe(9_000_000n + 500_000n + 1_000_000n);
    const two = meter(exchange(120, "9993", "0"), exchange(200, "0.5", "6"));
    const both = fold(readings, 5, [{ fromMs: 0, meter: two }], { heartbeatMs: 60_000 });
    expect(both.reduce(mergeLeaves).amount).toBe(2_000_000n + 1_000_000n + 500_000n + 1_000_000n + 1_000_000n);
  });

  test("each side keeps to what the meter can pass, and may roll over", () => {
    // 120 kW: 1.2 x 120 kW x (120 s + 5 s) = 5 kWh from the last reading to the exchange.
    const capped = {
      fromMs: 0,
      ratedPowerKW: 120,
      meter: { ...meter(exchange(180, "9997", "6")), resolution: "0.000001" },
    };
    const within = fold(readings, 5, [capped]);
    expect(within.reduce(mergeLeaves)).toMatchObject({ amount: 9_000_000n, resets: 0 });
    const beyond = { ...capped, meter: { ...capped.meter, exchanges: [exchange(180, "9997.000002", "6")] } };
    expect(fold(readings, 5, [beyond]).map((leaf) => leaf.resets)).toEqual([0, 1, 1, 0, 0]);
    const rolls = { ...meter(exchange(180, "3", "5")), modulus: "10000" };
    expect(fold(readings, 5, [{ fromMs: 0, meter: rolls }]).reduce(mergeLeaves).amount).toBe(16_000_000n);
  });

  test("readings more than 31 days apart are no neighbours, exchanged or not", () => {
    const rows = [row(t0 - 40 * dayMs, 10), row(t0 + 30_000, 12)];
    const version = { fromMs: 0, meter: meter({ atMs: t0 - 20 * dayMs, oldFinal: "11", newInitial: "11" }) };
    const rule = counterRule(base, [version]);
    expect(foldCounter(asReadings(rows), rule, t0, t0 + minuteMs)).toEqual([{ ...emptyLeaf, samples: 1, resets: 1 }]);
    expect(foldCounter(asReadings(rows), rule, t0 - 20 * dayMs, t0 - 19 * dayMs).every((l) => l.amount === 0n)).toBe(
      true,
    );
  });
});

describe("what the registry says", () => {
  test("it comes before the births, of the carrier's register alone", () => {
    const own: Meter = {
      carrier: "electricity",
      modulus: "1000",
      resolution: "0.5",
      exchanges: [exchange(1, "1", "2")],
    };
    const [register] = counterRule({ ...base, modulus: "5", resolution: "1" }, [{ fromMs: 0, meter: own }]).registers;
    expect(register?.register).toMatchObject({ modulus: 1_000_000_000n, resolution: 500_000n, exchanges: [{}] });
    const other = counterRule({ ...base, role: "production.total", modulus: "5" }, [{ fromMs: 0, meter: own }]);
    expect(other.registers[0]?.register).toMatchObject({ modulus: 5_000_000n, resolution: 1n, exchanges: [] });
  });

  test("energy is the register times both ratios, and so are modulus, resolution and exchanges", () => {
    // 800/5 x 10000/100 = 16,000. The register counts to 10 in steps of 0.001, 16 kWh each; 1.2 x 60,000 kW are 20 kWh a second.
    const own: Meter = {
      ...{ carrier: "electricity", modulus: 10, resolution: "0.001", ctRatio: "800/5", ptRatio: "10000/100" },
      exchanges: [exchange(90, "0.01", "5")],
    };
    const readings: [number, number][] = [
      [0, 9.98],
      [30, 0.005],
      [120, 5.02],
      [150, 5.0645],
      [160, 5.1],
    ];
    const leaves = fold(readings, 3, [{ fromMs: 0, ratedPowerKW: 60_000, meter: own }]);
    // 0.025 by the rollover, 0.005 and 0.02 around the exchange, 0.0445 at the bound of 35 s and a count (716); 0.0355 in 10 s is too much.
    expect(leaves.reduce(mergeLeaves)).toMatchObject({ amount: 1512n * 1_000_000n, resets: 1 });
  });

  test("a ratio that is no decimal rounds positions, so that the parts add up to the whole", () => {
    const own: Meter = { carrier: "electricity", ctRatio: "1/3", exchanges: [] };
    const readings = Array.from({ length: 8 }, (_, i): [number, number] => [i * 20, i * 0.000001]);
    expect(fold(readings, 3, [{ fromMs: 0, meter: own }]).reduce(mergeLeaves).amount).toBe(2n);
  });

  test("the version in force at a reading bounds the increase up to it", () => {
    const versions = [
      { fromMs: 0, ratedPowerKW: 60 },
      { fromMs: t0 + 60_000, ratedPowerKW: 600 },
    ];
    // 2 kWh in 20 s are 360 kW.
    const readings: [number, number][] = [
      [20, 0],
      [40, 2],
      [60, 4],
    ];
    expect(fold(readings, 1, versions).map(({ amount, resets }) => [amount, resets])).toEqual([[2_000_000n, 1]]);
  });
});

/** What a plain reading of the facts comes to: every pair of readings, exchanges among them, minute by minute. No product code. */
function reference(
  readings: { at: number; value: bigint }[],
  exchanges: { at: number; old: bigint; fresh: bigint }[],
  minutes: number,
) {
  const found = Array.from({ length: minutes }, () => ({ amount: 0n, resets: 0 }));
  const told = (from: { at: number; value: bigint }, to: { at: number; value: bigint }) => {
    // 1.2 x 36 kW are 12 Wh a second; the times may be 5 s wrong; one count is 0.001 kWh.
    const most = 12_000n * BigInt(to.at - from.at + 5) + 1000n;
    const rise = to.value - from.value;
    if (rise >= 0n) return rise <= most ? rise : undefined;
    const rolled = rise + 1_000_000n;
    return rolled >= 0n && rolled <= most ? rolled : undefined;
  };
  const add = (from: { at: number; value: bigint }, to: { at: number; value: bigint }) => {
    const rise = told(from, to);
    for (let minute = 0; minute < minutes; minute += 1) {
      const [start, end] = [minute * 60, minute * 60 + 60];
      if (from.at === to.at) {
        if (to.at < start || to.at >= end) continue;
      } else if (to.at <= start || from.at >= end) continue;
      const own = found[minute] as { amount: bigint; resets: number };
      if (rise === undefined) own.resets += 1;
      else if (from.at === to.at) own.amount += rise;
      else {
        const upTo = (at: number) => (rise * BigInt(at - from.at)) / BigInt(to.at - from.at);
        own.amount += upTo(Math.min(to.at, end)) - upTo(Math.max(from.at, start));
      }
    }
  };
  for (let i = 1; i < readings.length; i += 1) {
    const [last, next] = [readings[i - 1], readings[i]] as [
      { at: number; value: bigint },
      { at: number; value: bigint },
    ];
    let from = last;
    for (const { at, old, fresh } of exchanges) {
      if (at <= last.at || at > next.at) continue;
      add(from, { at, value: old });
      from = { at, value: fresh };
    }
    add(from, next);
  }
  return found;
}

const micro = fc.bigInt(0n, 999_999n);
const seconds = fc.integer({ min: -120, max: 720 });
const by = <T extends { at: number }>(rows: T[]) => rows.sort((a, b) => a.at - b.at);

test("against a plain reference: whatever readings, falls, rollovers and exchanges", () => {
  const readings = fc
    .uniqueArray(fc.record({ at: seconds, value: micro }), { selector: ({ at }) => at, maxLength: 25 })
    .map(by);
  /** A register that rises as a meter does, so that increases are told; it rolls over at 1. */
  const rising = fc
    .uniqueArray(fc.record({ at: seconds, rate: fc.bigInt(0n, 13_000n) }), { selector: ({ at }) => at, maxLength: 25 })
    .map((rows) => {
      let value = 900_000n;
      let last = 0;
      return by(rows).map(({ at, rate }, i) => {
        value = (value + (i === 0 ? 0n : rate * BigInt(at - last))) % 1_000_000n;
        last = at;
        return { at, value };
      });
    });
  const exchanges = fc
    .uniqueArray(fc.record({ at: seconds, old: micro, fresh: micro }), { selector: ({ at }) => at, maxLength: 3 })
    .map(by);
  const decimal = (digits: bigint) => (Number(digits) / 1_000_000).toFixed(6);
  let seenResets = 0;
  let seenAmounts = 0;
  fc.assert(
    fc.property(fc.oneof(readings, rising), exchanges, fc.integer({ min: 1, max: 12 }), (rows, swaps, minutes) => {
      const own: Meter = {
        carrier: "electricity",
        modulus: "1",
        resolution: "0.001",
        exchanges: swaps.map(({ at, old, fresh }) => exchange(at, decimal(old), decimal(fresh))),
      };
      const rule = counterRule(base, [{ fromMs: 0, ratedPowerKW: 36, meter: own }]);
      const stored = rows.map(({ at, value }) => row(t0 + at * 1000, Number(value) / 1_000_000));
      const leaves = foldCounter(asReadings(stored), rule, t0, t0 + minutes * minuteMs);
      const expected = reference(rows, swaps, minutes);
      expect(leaves.map(({ amount, resets }) => ({ amount, resets }))).toEqual(expected);
      seenResets += expected.filter(({ resets }) => resets > 0).length;
      seenAmounts += expected.filter(({ amount }) => amount > 0n).length;
      // Window by window it is the same.
      const halves = [0, Math.floor(minutes / 2), minutes].map((m) => t0 + m * minuteMs) as [number, number, number];
      const parts = [
        foldCounter(asReadings(stored), rule, halves[0], halves[1]),
        foldCounter(asReadings(stored), rule, halves[1], halves[2]),
      ];
      expect(parts.flat()).toEqual(leaves);
    }),
    { numRuns: 600 },
  );
  expect(seenResets).toBeGreaterThan(100);
  expect(seenAmounts).toBeGreaterThan(100);
});
