import { DataType } from "@jilian/domain/datatypes.ts";
import { renderMetrics } from "@jilian/domain/metric-rows.ts";
import { readExposition } from "@jilian/domain/test-prometheus.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openHistory } from "./history-file.ts";
import { historyRows } from "./history-metrics.ts";
import { emptyQuarter, type HistoryKind, quarterMs } from "./history-quarter.ts";
import { askedDays, daysThatFit, rowBytes, tooShort } from "./history-reach.ts";
import { at, energy, firstMs, firstQuarter, type HistoryBench, historyBench, power, written } from "./test-history.ts";

let bench: HistoryBench;
beforeEach(() => {
  bench = historyBench();
});
afterEach(() => bench.close());

const gibibytes = (count: number) => count * 1024 ** 3;
const gauges = (count: number): HistoryKind[] => Array.from({ length: count }, () => "gauge");

describe("a row", () => {
  /** Values with as many digits as real ones: their text or their whole numbers take less. */
  const rows = {
    counter: (i: number) => ({ register: (123_456_780 + 997 * i) / 1000, registerMs: firstMs + 899_000 }),
    gauge: (i: number) => ({ sum: 450.07 * i, integral: 900_000.7 * i, low: 11.1 + i / 7, high: 15.3 + i / 7 }),
    state: (i: number) => ({
      codes: new Map([
        ["0", 100_000 + i],
        ["1", 500_000 + i],
        ["2", 299_000 - i],
      ]),
    }),
  };

  test.each(["counter", "gauge", "state"] as const)("of a %s takes what is reckoned with", (kind) => {
    const tables = openHistory({
      ...{ path: bench.path, group: "factory-1", node: "gateway-1", log: pino({ level: "silent" }), nowMs: Date.now },
    });
    const one = { device: "meter", kind, unit: "kW", modulus: "", float32: false, simulated: false };
    const tags = Array.from({ length: 200 }, (_, i) => ({ ...one, name: `tag-${i}` }));
    const write = (quarter: number) => {
      const row = { ...emptyQuarter(quarter), goodMs: 900_000, count: 450, untilMs: (quarter + 1) * quarterMs - 1 };
      tables.write(tags.map((tag, i) => [tag, { ...row, ...rows[kind](i + 1) }] as const));
    };
    write(firstQuarter);
    const before = tables.usedBytes();
    const quarters = 60;
    for (let i = 1; i <= quarters; i += 1) write(firstQuarter + i);
    const bytes = (tables.usedBytes() - before) / quarters / tags.length;
    tables.close();
    expect(bytes / rowBytes[kind]).toBeGreaterThan(0.85);
    expect(bytes / rowBytes[kind]).toBeLessThan(1.02);
  });
});

describe("six months", () => {
  test("of some 1,700 tags fit in the default, and not of more", () => {
    const bounds = { keepDays: 400, maxBytes: gibibytes(2) };
    expect(tooShort(gauges(1700), bounds)).toBeUndefined();
    expect(tooShort(gauges(1800), bounds)?.found).toBe(
      "history.maxBytes holds some 177 days of 1800 tags, less than the 184 days of six months",
    );
    expect(tooShort([], bounds)).toBeUndefined();
  });

  test("fit with what the remedy names, and with no mebibyte less", () => {
    for (const count of [1740, 2500, 10_000]) {
      const short = tooShort(gauges(count), { keepDays: 400, maxBytes: gibibytes(2) });
      const maxBytes = Number(/ to (\d+) or more/.exec(short?.remedy ?? "")?.[1]);
      expect(tooShort(gauges(count), { keepDays: 400, maxBytes })).toBeUndefined();
      expect(tooShort(gauges(count), { keepDays: 400, maxBytes: maxBytes - 1024 ** 2 })).toBeDefined();
    }
  });

  test("are not kept where keepDays says less, whatever fits", () => {
    const short = { keepDays: 100, maxBytes: gibibytes(2) };
    expect(daysThatFit(gauges(10), short)).toBe(100);
    expect(tooShort(gauges(10), short)).toEqual({
      found: "history.keepDays is 100, less than the 184 days of six months",
      remedy: "raise it to 184 or more",
    });
    expect(tooShort(gauges(10), { ...short, keepDays: askedDays })).toBeUndefined();
  });
});

describe("a running history", () => {
  test("tells how far back it reaches and how far it can, and moves on with what it drops", async () => {
    const one = bench.start({ keepDays: 1 });
    const metrics = () => {
      const clock = { now: () => bench.time.nowMs, rate: 1 };
      const scrape = readExposition(renderMetrics(historyRows(() => ({ history: one.history.stats() }), clock)));
      return ["reach", "fits"].map((what) => scrape.value(`jilian_gateway_history_${what}_seconds`));
    };
    expect(one.history.stats().oldestMs).toBeUndefined();
    expect(metrics()[0]).toBe(0);
    for (const i of [0, 1]) bench.put(one, at(i, 1000), { power: 1 });
    bench.time.nowMs = at(2, 61_000);
    await written(bench, 2);
    expect(one.history.stats()).toMatchObject({ oldestMs: firstMs, fitsDays: 1 });
    expect(metrics()).toEqual([1800 + 61, 86_400]);
    for (let i = 2; i < 100; i += 1) bench.put(one, at(i, 1000), { power: 1 });
    bench.time.nowMs = at(100, 61_000);
    await vi.waitFor(() => expect(one.history.stats().oldestMs).toBe(at(4)), { timeout: 10_000, interval: 10 });
  });

  test("warns once of tags of which less than six months fit, again when they change, and not of those that fit", async () => {
    // Of 3 tags 184 days take 3.4 MB, of 4 gauges more 8.4 MB.
    const one = bench.start({ maxBytes: 4 * 1024 ** 2 });
    const told = () => bench.lines.filter(({ code }) => code === "HISTORY_SHORT");
    const reckoned = (fits: boolean) =>
      vi.waitFor(() => expect(one.history.stats().fitsDays < askedDays).toBe(!fits), { interval: 5 });
    await reckoned(true);
    expect(told()).toEqual([]);
    const more = [1, 2, 3, 4].map((i) => ({ ...power, name: `p${i}`, datatype: DataType.Double }));
    one.events.onDefinitions("press", more);
    await reckoned(false);
    one.events.onDefinitions("press", more);
    bench.put(one, at(0, 1000), { power: 1 });
    bench.time.nowMs = at(1, 61_000);
    await written(bench, 1);
    expect(told()).toHaveLength(1);
    expect(told()[0]).toMatchObject({
      found: expect.stringMatching(/^history\.maxBytes holds some \d+ days of 7 tags/),
      remedy: expect.stringMatching(/^raise history\.maxBytes from 4194304 to \d+ or more/),
    });
    one.events.onDefinitions("press", [...more, energy]);
    await vi.waitFor(() => expect(told()).toHaveLength(2));
    one.events.onDefinitions("press", []);
    await reckoned(true);
    expect(told()).toHaveLength(2);
  });
});
