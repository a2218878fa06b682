import { DataType } from "@jilian/domain/datatypes.ts";
import { addGauges, gaugeOf, noGauge, storedGauge } from "@jilian/domain/gauge-leaf.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import type { StoredRow } from "@jilian/store/telemetry.ts";
import { asReadings } from "@jilian/store/telemetry-fixtures.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { delayRule, foldGauge, gaugeRule } from "./gauge.ts";

const t0 = Date.UTC(2026, 10, 22, 0, 0);
const rule = gaugeRule({ name: "power", datatype: DataType.Double, unit: "kW", heartbeatMs: 10_000, simulated: false });

function row(seconds: number, value: StoredRow["value"]): StoredRow {
  const atMs = t0 + seconds * 1000;
  return { series: 1, sourceTimeMs: atMs, value, status: 0, gatewayTimeMs: atMs, ingestTimeMs: atMs, tx: 1 };
}

test("by hand: 100 kW for 20 s and 40 kW for 30 s, split at the minute's edge", () => {
  // 100 kW from :30 to :50, 40 kW from :50 to :20 of the next minute.
  const leaves = foldGauge(asReadings([row(30, 100), row(50, 40), row(80, 0)]), rule, t0, t0 + 2 * minuteMs);
  const [micro, square] = [1_000_000n, 1_000_000_000_000n];
  expect(leaves).toEqual([
    {
      samples: 2,
      sum: 140n * micro,
      squares: 11_600n * square,
      integral: (100n * 20_000n + 40n * 10_000n) * micro,
      coveredMs: 30_000,
    },
    { samples: 1, sum: 0n, squares: 0n, integral: 40n * 20_000n * micro, coveredMs: 20_000 },
  ]);
  // In kWh: 100 x 20 s + 40 x 30 s = 3,200 kW s = 0.888889 kWh.
  expect(Number(leaves.reduce(addGauges).integral) / 3.6e12).toBeCloseTo(3200 / 3600, 9);
});

test("read more seldom than its window lasts, it is known for the window after each reading, but for the newest", () => {
  const rows = [0, 45, 90].map((seconds) => row(seconds, 10));
  const held = (seconds: number) => ({ coveredMs: seconds * 1000, integral: 10_000_000n * BigInt(seconds * 1000) });
  expect(foldGauge(asReadings(rows), rule, t0, t0 + 2 * minuteMs)).toMatchObject([held(30 + 15), held(15)]);
  // Readings too far apart are no neighbours: a late one would not reach the minute of the first.
  const month = 31 * 86_400;
  expect(foldGauge(asReadings([row(0, 10), row(month, 10)]), rule, t0, t0 + minuteMs)).toMatchObject([held(30)]);
  expect(foldGauge(asReadings([row(0, 10), row(month + 1, 10)]), rule, t0, t0 + minuteMs)).toMatchObject([held(0)]);
});

test("after the window no value is known, and what is no number is no reading", () => {
  const leaves = foldGauge(
    asReadings([row(0, 5), row(31, 5), row(40, "x"), row(50, 1e10), row(55, 6)]),
    rule,
    t0,
    t0 + minuteMs,
  );
  expect(leaves).toEqual([
    { samples: 3, sum: 16_000_000n, squares: 86_000_000_000_000n, integral: 5_000_000n * 39_000n, coveredMs: 39_000 },
  ]);
});

test("a 32-bit float counts as the decimal it was meant as", () => {
  const float = gaugeRule({ name: "p", datatype: DataType.Float, simulated: false });
  expect(foldGauge(asReadings([row(0, Math.fround(0.1))]), float, t0, t0 + minuteMs)[0]?.sum).toBe(100_000n);
});

test("of accounts the time under way is summed up, whatever they say, and holds for nothing", () => {
  const rows = [0, 40, 70].map((seconds, i) => {
    const one = row(seconds, "{}");
    return { ...one, ingestTimeMs: one.sourceTimeMs + 100 * i - 50 };
  });
  expect(foldGauge(asReadings(rows), delayRule, t0, t0 + 2 * minuteMs)).toEqual([
    { ...noGauge, samples: 2, sum: 0n },
    { ...noGauge, samples: 1, sum: 150_000_000n },
  ]);
});

const readings = fc
  .uniqueArray(fc.tuple(fc.integer({ min: -60, max: 400 }), fc.integer({ min: -500, max: 500 })), {
    selector: ([seconds]) => seconds,
    maxLength: 40,
  })
  .map((pairs) => pairs.sort(([a], [b]) => a - b));

test("against a plain reference, second by second: whatever readings, whatever windows", () => {
  fc.assert(
    fc.property(readings, fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 3 }), (pairs, first, count) => {
      const [from, to] = [first * 60, (first + count) * 60];
      let integral = 0;
      let covered = 0;
      for (let second = from; second < to; second += 1) {
        const before = pairs.findLast(([at]) => at <= second);
        const after = pairs.find(([at]) => at > second);
        if (!before || !after || second >= before[0] + 30) continue;
        integral += before[1];
        covered += 1;
      }
      const inside = pairs.filter(([at]) => at >= from && at < to);
      const rows = pairs.map(([at, value]) => row(at, value));
      const leaves = foldGauge(asReadings(rows), rule, t0 + from * 1000, t0 + to * 1000);
      expect(leaves.reduce(addGauges, noGauge)).toEqual({
        samples: inside.length,
        sum: BigInt(inside.reduce((sum, [, value]) => sum + value, 0)) * 1_000_000n,
        squares: BigInt(inside.reduce((sum, [, value]) => sum + value * value, 0)) * 1_000_000_000_000n,
        integral: BigInt(integral) * 1_000_000_000n,
        coveredMs: covered * 1000,
      });
      for (const leaf of leaves) expect(gaugeOf(storedGauge(leaf))).toEqual(leaf);
    }),
  );
});
