import { DataType } from "@jilian/domain/datatypes.ts";
import { formatScaled, parseDecimal } from "@jilian/domain/decimal.ts";
import { Status } from "@jilian/domain/quality.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { historyTag } from "./history.ts";
import { type Before, consumptionOf, csvLine } from "./history-csv.ts";
import { emptyQuarter, type Quarter, quarterMs, quarterOf } from "./history-quarter.ts";
import type { KnownTag } from "./history-tables.ts";
import { zoneTimes } from "./history-zone.ts";
import { seriesOf } from "./test-history.ts";

const modulus = 1000;
const definition = {
  name: "e",
  datatype: DataType.Double,
  role: "energy.import",
  unit: "kWh",
  modulus: "1000",
  simulated: false,
};
const tag = { id: 1, ...historyTag("meter", definition) } as KnownTag;
const zone = zoneTimes("UTC");
const startMs = 1_900_000 * quarterMs;

/** Steps of a meter, in hundredths: so much went through by the next reading, which comes so much later; or the program ends there. */
const drawnSteps = fc.array(
  fc.record({
    stepMs: fc.oneof(fc.integer({ min: 1000, max: 120_000 }), fc.integer({ min: 1000, max: 4_000_000 })),
    rise: fc.oneof(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 49_999 })),
    restart: fc.boolean(),
    /** It reads 0 so often before that reading. */
    zeros: fc.constant(0),
  }),
  { minLength: 2, maxLength: 60 },
);
/** The same of a meter that restarts, or is lost to its concentrator, now and then: little goes through meanwhile. */
const drawnZeros = fc.array(
  fc.record({
    stepMs: fc.integer({ min: 1000, max: 120_000 }),
    rise: fc.integer({ min: 0, max: 500 }),
    restart: fc.boolean(),
    zeros: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 })),
  }),
  { minLength: 2, maxLength: 40 },
);
type Step = { readonly stepMs: number; readonly rise: number; readonly restart: boolean; readonly zeros: number };

/** What was written of each quarter hour, and by quarter hour what had truly gone through up to its last reading that is none of 0. */
function record(steps: readonly Step[], first: number) {
  const file = new Map<number, Quarter>();
  const write = (row: Quarter | undefined) => row && file.set(row.quarter, row);
  const options = {
    kind: "counter",
    holdMs: 180_000,
    modulus,
    written: (q: number) => structuredClone(file.get(q)),
    before: (q: number) =>
      structuredClone([...file.values()].filter((row) => row.quarter < q).sort((a, b) => b.quarter - a.quarter)[0]),
    onEnded: write,
  } as const;
  let series = seriesOf(options);
  let atMs = startMs;
  let count = first;
  const through = new Map<number, number>();
  const read = (value: number) => series.add({ value, status: Status.Good, sourceTimeMs: atMs });
  const end = () => {
    series.settle(atMs + 1);
    write(series.running(atMs + 1));
  };
  for (const { stepMs, rise, restart, zeros } of steps) {
    if (restart) {
      end();
      series = seriesOf(options);
    }
    for (let i = 0; i < zeros && through.size > 0; i += 1) {
      atMs += 60_000;
      read(0);
    }
    atMs += stepMs;
    count += rise;
    // A true 0 is one of the zeros to whoever reads it.
    if (count % (modulus * 100) === 0) count += 1;
    through.set(quarterOf(atMs), count);
    read((count % (modulus * 100)) / 100);
  }
  end();
  return { file, through };
}

/** Adds up what the export says, in hundredths; of quarter hours after a gap what the remark says. */
function exported(file: ReadonlyMap<number, Quarter>): { sum: bigint; amounts: bigint[] } {
  let before: Before | undefined;
  const amounts: bigint[] = [];
  for (const [quarter, row] of [...file].sort(([a], [b]) => a - b)) {
    const { amount, remark } = consumptionOf({ ...row, tag: 1 }, tag, before, zone);
    if (before) {
      const text = amount === "" ? (/: ([\d.]+)$/.exec(remark)?.[1] ?? expect.fail(`${quarter}: ${remark}`)) : amount;
      const { digits, scale } = parseDecimal(text);
      amounts.push(digits * 10n ** BigInt(2 - scale));
      expect(amount === "").toBe(before.row.quarter !== quarter - 1 || row.resets > 0);
    }
    before = { row: { ...row, tag: 1 }, tag };
  }
  return { sum: amounts.reduce((sum, amount) => sum + amount, 0n), amounts };
}

/** What truly went through between the last readings of the first and the last quarter hour. */
function truly(through: ReadonlyMap<number, number>): number {
  const known = [...through].sort(([a], [b]) => a - b);
  return (known.at(-1)?.[1] ?? 0) - (known[0]?.[1] ?? 0);
}

test("what went through a drawn register adds up to the last digit over rollovers, gaps and restarts", () => {
  fc.assert(
    fc.property(drawnSteps, fc.integer({ min: 1, max: 99_999 }), (steps, first) => {
      const { file, through } = record(steps, first);
      expect(formatScaled(exported(file).sum, 2)).toBe(formatScaled(BigInt(truly(through)), 2));
    }),
    { numRuns: 500 },
  );
});

test("a drawn register that reads 0 now and then, at the end of a quarter hour or over many, has no amount that was not; what it was if it counted on is remarked", () => {
  fc.assert(
    fc.property(drawnZeros, fc.integer({ min: 1, max: 99_999 }), (steps, first) => {
      const { file, through } = record(steps, first);
      const { sum, amounts } = exported(file);
      expect(formatScaled(sum, 2)).toBe(formatScaled(BigInt(truly(through)), 2));
      const most = steps.reduce((all, { rise }) => all + rise + 1, 0);
      for (const amount of amounts) expect(amount).toBeLessThanOrEqual(BigInt(most));
    }),
    { numRuns: 500 },
  );
});

test("a mean that no double holds is left empty, and ends no export", () => {
  const huge = { sum: Number.POSITIVE_INFINITY, integral: Number.POSITIVE_INFINITY, low: 1e308, high: 1.7e308 };
  const row = { ...emptyQuarter(1), ...huge, tag: 1, goodMs: 900_000, count: 3 };
  const line = csvLine(row, { ...tag, kind: "gauge", modulus: "" }, undefined, zone);
  expect(line.split(",").slice(8, 10)).toEqual(["", ""]);
});

test("a register that fell is no amount, whatever came of it later in the quarter hour", () => {
  const row = {
    quarter: 1,
    tag: 1,
    goodMs: 1,
    count: 2,
    sum: 0,
    integral: 0,
    low: undefined,
    high: undefined,
    codes: undefined,
  };
  const at = (quarter: number, register: number, resets = 0) => ({
    ...row,
    quarter,
    register,
    resets,
    wraps: 0,
    registerMs: 0,
    untilMs: 0,
  });
  const before = { row: at(0, 400), tag };
  expect(consumptionOf(at(1, 410, 1), tag, before, zone)).toMatchObject({
    amount: "",
    remark: expect.stringContaining("fell"),
  });
  // Unseen, across a restart of the program: less than half the width is a rollover, more is none.
  expect(consumptionOf(at(1, 300), tag, before, zone)).toMatchObject({
    amount: "",
    remark: expect.stringContaining("fell"),
  });
  expect(consumptionOf(at(1, 10), tag, { ...before, row: at(0, 900) }, zone).amount).toBe("110");
});
