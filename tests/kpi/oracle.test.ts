import { type Period, periods } from "@jilian/domain/periods.ts";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { expect, describe as group, test } from "vitest";
import { isThorough } from "../thorough.ts";
import type { Book, Column } from "./book.ts";
import { type Comparison, compareAll, describe } from "./compare.ts";
import { oracleOf } from "./oracle.ts";
import { prove, type Run, runPlant, type Setting } from "./prove.ts";

/** 23:17:23 in Shanghai, on the last day of a month: an hour, a day and a month end; as CI has it from 22:47:23 on, two hours. */
const fromMs = Date.UTC(2026, 10, 30, isThorough ? 14 : 15, isThorough ? 47 : 17, 23);
const setting: Setting = {
  enterprises: 3,
  fromMs,
  hours: isThorough ? 1.5 : 1,
  pollMs: 90_000,
  seed: 5,
  tickMs: 20 * 60_000,
  troubled: true,
  restarts: true,
  recompute: true,
};

/** Every figure is known to the oracle and says what the oracle says; and there are many. */
function expectRight(comparison: Comparison, compared: readonly Period[] = periods): void {
  expect(comparison.wrong + comparison.unknown.size, describe(comparison)).toBe(0);
  for (const period of compared) expect(comparison.compared.get(period), period).toBeGreaterThan(25);
}

/** A book in which one reading of a metric is another one, or missing. */
function altered(book: Book, metric: string, change: (column: Column, at: number) => void): Book {
  const columns = new Map(
    [...book.columns].map(([key, own]) => [key, own.map((column) => ({ ...column, micro: column.micro.slice() }))]),
  );
  const [column] = [...columns.values()].flat().filter((c) => c.metric.definition.name === metric && c.length > 15);
  if (!column) throw new Error(`no readings of ${metric}`);
  change(column, Math.floor(column.length / 2));
  return { ...book, columns };
}

/** A book whose registers are read as if births had never changed them. */
function asFirstBorn(book: Book): Book {
  const columns = new Map(
    [...book.columns].map(([key, own]) => {
      const { metrics } = (own[0] as Column).device;
      const after = own.slice(metrics.length);
      const joined = own.slice(0, metrics.length).map((column): Column => {
        const later =
          column.metric.reborn && after.find((c) => c.metric.definition.name === column.metric.definition.name);
        if (!later) return column;
        const [a, b] = [column.length, later.length];
        return {
          ...column,
          length: a + b,
          times: Float64Array.of(...column.times.slice(0, a), ...later.times.slice(0, b)),
          micro: BigInt64Array.of(...column.micro.slice(0, a), ...later.micro.slice(0, b)),
          flags: Uint8Array.of(...column.flags.slice(0, a), ...later.flags.slice(0, b)),
        };
      });
      return [key, joined] as const;
    }),
  );
  return { ...book, columns };
}

const short = ["minute", "hour"] as const;

async function compareWith(run: Run, book: Book): Promise<Comparison> {
  return await compareAll(run.platform, oracleOf(run.plant.file, book, 0), run, short);
}

group("every figure of a cluster with all its troubles", { timeout: 180_000 }, () => {
  test("on DuckDB: to the last digit, always behind, after restarts, shuffled, repeated, and computed again from the store", async () => {
    const { comparisons, restarts, behind } = await prove({
      ...setting,
      txPerTick: 2,
      factoriesPerTick: 40,
      rowsPerTick: 1000,
    });
    expect(restarts).toBeGreaterThan(0);
    expect(behind).toBeGreaterThan(1);
    expect(comparisons).toHaveLength(2);
    for (const comparison of comparisons) expectRight(comparison);
  });

  test.skipIf(!hasInfluxd() || !isThorough)("on InfluxDB (JILIAN_TESTS=all, as in CI)", async () => {
    await using server = await startInfluxd();
    const { comparisons } = await prove({ ...setting, enterprises: 1, recompute: false, influxUrl: server.url });
    for (const comparison of comparisons) expectRight(comparison);
  });

  test("one reading that is another by one count, or that is missing, makes figures wrong", async () => {
    const run = await runPlant({ ...setting, enterprises: 1, hours: 1, troubled: false, restarts: false });
    try {
      expectRight(await compareWith(run, run.book), short);
      const counted = await compareWith(
        run,
        altered(run.book, "energy", (column, at) => {
          column.micro[at] = (column.micro[at] as bigint) + 10_000n;
        }),
      );
      expect(counted.wrong).toBeGreaterThan(0);
      expect(describe(counted)).toContain("energy.electricity|factory|e0-f0|minute");
      const dropped = await compareWith(
        run,
        altered(run.book, "energy", (column, at) => {
          column.flags = column.flags.slice();
          column.flags[at] = 0;
        }),
      );
      expect(dropped.wrong).toBeGreaterThan(0);
    } finally {
      await run.close();
    }
  });

  test("births that change what a meter is, unheard: figures are wrong", async () => {
    const run = await runPlant({ ...setting, enterprises: 2, hours: 1, troubled: false, restarts: false });
    try {
      expect((await run.platform.telemetry().series()).some(({ dated }) => dated)).toBe(true);
      expectRight(await compareWith(run, run.book), short);
      const unheard = await compareWith(run, asFirstBorn(run.book));
      expect(unheard.wrong).toBeGreaterThan(0);
      expect(describe(unheard)).toContain("energy.electricity|line|e1-f0/line-a|minute");
    } finally {
      await run.close();
    }
  });
});
