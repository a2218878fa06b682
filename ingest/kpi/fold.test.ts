import { DataType } from "@jilian/domain/datatypes.ts";
import { dayMs, hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { LeafRow, SeriesId } from "@jilian/store/telemetry.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { always } from "../test-world.ts";
import { foldCounters, foldWindows } from "./fold.ts";
import { seriesIndex } from "./series-index.ts";
import { born, useWorld, world } from "./test-engine.ts";
import { plantRegistry } from "./test-plant.ts";

const t0 = Date.UTC(2026, 10, 29, 16, 0);
useWorld(t0);

/** Steps from reading to reading: within a minute, to its very edge, over some minutes, over weeks. */
const steps = fc.array(
  fc.record({
    ms: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 1000, max: 50_000 }) },
      { weight: 6, arbitrary: fc.integer({ min: minuteMs, max: 8 * minuteMs }) },
      { weight: 1, arbitrary: fc.integer({ min: hourMs, max: 20 * hourMs }) },
      { weight: 1, arbitrary: fc.integer({ min: 15 * dayMs, max: 40 * dayMs }) },
    ),
    onEdge: fc.boolean(),
    isBad: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
    isNew: fc.boolean(),
    rise: fc.integer({ min: -1, max: 4 }),
  }),
  { minLength: 3, maxLength: 16 },
);

test("leaves of new readings between older ones, taken together: those of all readings", {
  timeout: 60_000,
}, async () => {
  let run = 0;
  const { telemetry } = world;
  const index = seriesIndex(telemetry, always(plantRegistry()));
  const leavesIn = (rows: readonly LeafRow[], found = new Map<number, string>()) => {
    for (const { minuteMs: at, leaf } of rows) {
      const isEmpty = leaf.samples + leaf.resets + leaf.coveredMs + leaf.gapMs === 0 && leaf.amount === 0n;
      const text = JSON.stringify(leaf, (_, v) => (typeof v === "bigint" ? `${v}n` : v));
      if (isEmpty) found.delete(at);
      else found.set(at, text);
    }
    return found;
  };
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const said = { datatype: DataType.Double, role: "energy.import", unit: "kWh", heartbeatMs: minuteMs };
      const series: SeriesId = await born({ group: "f1", node: "gw-1", device: "meter-2", metric: `e${run++}` }, said);
      await index.learn();
      let [at, value] = [t0, 50];
      const samples = list.map(({ ms, onEdge, isBad, isNew, rise }) => {
        const next = at + ms;
        const edge = Math.floor(next / minuteMs) * minuteMs;
        at = onEdge && edge > at ? edge : next;
        value += rise;
        const times = { sourceTimeMs: at, gatewayTimeMs: at, ingestTimeMs: at };
        return { isNew, row: { series, value, status: isBad ? 0x80050000 : 0, ...times } };
      });
      const whole = [{ series, fromMs: t0, toMs: Math.floor(at / minuteMs) * minuteMs + minuteMs }];
      const write = async (rows: typeof samples) =>
        rows.length > 0 && (await telemetry.write({ samples: rows.map(({ row }) => row), commits: [] }));
      await write(samples.filter(({ isNew }) => !isNew));
      const found = new Map<number, string>();
      for await (const rows of foldWindows(telemetry, index, whole)) leavesIn(rows, found);
      const afterTx = await telemetry.lastTx();
      await write(samples.filter(({ isNew }) => isNew));
      const changed = await telemetry.changedMinutes(afterTx, await telemetry.lastTx());
      for await (const rows of foldCounters(telemetry, index, changed)) leavesIn(rows, found);
      const expected = new Map<number, string>();
      for await (const rows of foldWindows(telemetry, index, whole)) leavesIn(rows, expected);
      const differing = [...new Set([...found.keys(), ...expected.keys()])].filter(
        (m) => found.get(m) !== expected.get(m),
      );
      expect(differing.map((m) => [m, found.get(m), expected.get(m)]).slice(0, 3)).toEqual([]);
    }),
    { numRuns: 15, endOnFailure: true },
  );
});
