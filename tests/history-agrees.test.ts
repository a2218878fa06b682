import { DataType } from "@jilian/domain/datatypes.ts";
import { formatScaled, parseDecimal } from "@jilian/domain/decimal.ts";
import { Status } from "@jilian/domain/quality.ts";
import { stalenessWindowMs } from "@jilian/domain/sample.ts";
import { historyTag } from "@jilian/gateway/history.ts";
import { type Before, consumptionOf } from "@jilian/gateway/history-csv.ts";
import { type Quarter, quarterMs } from "@jilian/gateway/history-quarter.ts";
import type { KnownTag } from "@jilian/gateway/history-tables.ts";
import { zoneTimes } from "@jilian/gateway/history-zone.ts";
import { seriesOf } from "@jilian/gateway/test-history.ts";
import { counterRule, foldCounter } from "@jilian/ingest/kpi/counter.ts";
import type { StoredRow } from "@jilian/store/telemetry.ts";
import { asReadings } from "@jilian/store/telemetry-fixtures.ts";
import fc from "fast-check";
import { expect, test } from "vitest";

/** The amounts that a box exports of its quarter hours beside the platform's figures of the same readings. */

const heartbeatMs = 60_000;
const zone = zoneTimes("UTC");
const startMs = 1_900_000 * quarterMs;

type Reading = { readonly atMs: number; readonly value: number };
/** What a register reads next: so much more, 0, what it read before it fell, a number of another meter. */
type Move = "on" | "zero" | "back" | "other";
type Draw = readonly (readonly [Move, number])[];

/** Readings a minute apart, each quarter hour ended and begun by the same value: so no increase lies on an edge and is divided there. */
function readingsOf(draws: Draw, modulus: number | undefined): Reading[] {
  let total = 400;
  let shown = total;
  const readings: Reading[] = [];
  for (const [i, [move, amount]] of draws.entries()) {
    if (move === "on" || move === "back") {
      if (move === "on" && shown !== total) total = shown;
      total += amount;
      if (modulus !== undefined) total %= modulus;
    }
    if (move === "other") total = amount;
    shown = move === "zero" ? 0 : total;
    const minute = startMs + (Math.floor(i / 13) * 15 + (i % 13) + 1) * 60_000;
    if (i % 13 === 0 && i > 0) readings.push({ atMs: minute - 59_000, value: readings.at(-1)?.value ?? 0 });
    readings.push({ atMs: minute, value: shown });
    if (i % 13 === 12) readings.push({ atMs: minute + 119_000, value: shown });
  }
  return readings;
}

/** The rows of a box, by quarter hour. */
function boxOf(readings: readonly Reading[], modulus: number | undefined, stops: ReadonlySet<number>) {
  const file = new Map<number, Quarter>();
  const write = (row: Quarter | undefined) => row && file.set(row.quarter, row);
  const begin = () =>
    seriesOf({
      kind: "counter",
      holdMs: stalenessWindowMs(heartbeatMs),
      modulus,
      written: (quarter) => structuredClone(file.get(quarter)),
      before: (quarter) => structuredClone([...file.values()].findLast((row) => row.quarter < quarter)),
      onEnded: write,
    });
  let series = begin();
  for (const [i, { atMs, value }] of readings.entries()) {
    series.add({ value, status: Status.Good, sourceTimeMs: atMs });
    if (!stops.has(i)) continue;
    series.settle(atMs + 1);
    write(series.running(atMs + 1));
    series = begin();
  }
  write(series.running(readings.at(-1)?.atMs ?? 0));
  return file;
}

function storedRow({ atMs, value }: Reading): StoredRow {
  const times = { sourceTimeMs: atMs, gatewayTimeMs: atMs, ingestTimeMs: atMs };
  return { series: 1, value, status: Status.Good, tx: 1, ...times };
}

const moves = fc.oneof(
  { weight: 60, arbitrary: fc.tuple(fc.constant<Move>("on"), fc.integer({ min: 0, max: 30 })) },
  { weight: 3, arbitrary: fc.tuple(fc.constant<Move>("zero"), fc.constant(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant<Move>("back"), fc.integer({ min: 0, max: 30 })) },
  { weight: 1, arbitrary: fc.tuple(fc.constant<Move>("other"), fc.integer({ min: 0, max: 999 })) },
);

test.each([undefined, 1000])(
  "what a box exports as consumption is the platform's figure, and where that is a lower bound it exports none: modulus %s",
  (modulus) => {
    const definition = {
      ...{ name: "e", datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false, heartbeatMs },
      ...(modulus !== undefined && { modulus: String(modulus) }),
    };
    const tag = { id: 1, ...historyTag("meter", definition) } as KnownTag;
    const rule = counterRule(definition);
    let [compared, bounds] = [0, 0];
    fc.assert(
      fc.property(
        fc.array(moves, { minLength: 20, maxLength: 120 }),
        fc.array(fc.integer({ min: 0, max: 130 }), { maxLength: 4 }),
        (draws, stops) => {
          const readings = readingsOf(draws, modulus);
          const rows = readings.map(storedRow);
          const file = boxOf(readings, modulus, new Set(stops));
          let before: Before | undefined;
          for (const row of file.values()) {
            const fromMs = row.quarter * quarterMs;
            const leaves = foldCounter(asReadings(rows), rule, fromMs, fromMs + quarterMs);
            const { amount } = consumptionOf({ ...row, tag: 1 }, tag, before, zone);
            const resets = leaves.some((leaf) => leaf.resets > 0);
            if (before && amount !== "") {
              const figure = leaves.reduce((sum, leaf) => sum + leaf.amount, 0n);
              const { digits, scale } = parseDecimal(amount);
              expect(resets).toBe(false);
              expect(formatScaled(digits, scale)).toBe(formatScaled(figure, rule.scale));
              compared += 1;
            }
            if (before && resets) {
              expect(amount).toBe("");
              bounds += 1;
            }
            before = { row: { ...row, tag: 1 }, tag };
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(compared).toBeGreaterThan(50);
    expect(bounds).toBeGreaterThan(50);
  },
);
