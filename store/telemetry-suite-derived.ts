import { emptyLeaf } from "@jilian/domain/leaf.ts";
import type { Result } from "@jilian/domain/result.ts";
import { describe, expect, it } from "vitest";
import type { RollupRow, RollupUnit } from "./telemetry.ts";
import { makeSeries, startMs } from "./telemetry-fixtures.ts";
import type { Harness } from "./telemetry-suite.ts";

const minute = 60_000;

export function derivedTests({ store, reopen }: Harness): void {
  describe("leaves and minute results", () => {
    it("the newest leaf of a minute counts, with integers of any size, over restarts", async () => {
      const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
      const amount = 2n ** 100n + 1n;
      const leaf = {
        amount,
        left: -3n,
        right: 2n ** 64n,
        inGap: true,
        coveredMs: 59_999,
        gapMs: 1,
        samples: 60,
        resets: 2,
      };
      const row = (series: number, n: number, more: object) => ({
        series,
        minuteMs: startMs + n * minute,
        leaf: { ...leaf, ...more },
      });
      await store().writeLeaves([row(a, 0, { amount: 1n }), row(a, 0, { amount: 2n }), row(b, 0, {})], []);
      await store().writeLeaves([row(a, 2, {}), row(a, 1, emptyLeaf)], []);
      await reopen();
      await store().writeLeaves([row(a, 2, { amount: -amount, inGap: false })], []);
      const read = (series: number[], from: number, to: number) =>
        store().readLeaves(series, startMs + from * minute, startMs + to * minute);
      const expected = [row(a, 0, { amount: 2n }), row(a, 1, emptyLeaf), row(a, 2, { amount: -amount, inGap: false })];
      expect(await read([a], 0, 3)).toEqual(expected);
      expect(await read([b, a, a], 0, 2)).toEqual([...expected.slice(0, 2), row(b, 0, {})]);
      expect(await read([a], 1, 2)).toEqual(expected.slice(1, 2));
      expect(await read([], 0, 3)).toEqual([]);
    });

    it("likewise for states, each code with its milliseconds", async () => {
      const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
      const row = (series: number, n: number, ms: Record<string, number>, more: object = {}) => ({
        series,
        minuteMs: startMs + n * minute,
        leaf: { ms, unknownMs: minute - Object.values(ms).reduce((sum, own) => sum + own, 0), samples: 3, ...more },
      });
      await store().writeLeaves([], [], [row(a, 0, { "1": 1 }), row(a, 0, { "1": 59_999, "3": 1 }), row(b, 0, {})]);
      const odd = { "-4": 1, 'RUN "fast", \\ 运行': 2, __proto__x: 3, "9007199254740993": 4 };
      await store().writeLeaves([], [], [row(a, 2, { "2": 5 }), row(a, 1, odd, { samples: 0 })]);
      await reopen();
      await store().writeLeaves([], [], [row(a, 2, { "0": minute })]);
      const read = (series: number[], from: number, to: number) =>
        store().readStates(series, startMs + from * minute, startMs + to * minute);
      const expected = [row(a, 0, { "1": 59_999, "3": 1 }), row(a, 1, odd, { samples: 0 }), row(a, 2, { "0": minute })];
      expect(await read([a], 0, 3)).toEqual(expected);
      expect(await read([b, a, a], 0, 2)).toEqual([...expected.slice(0, 2), row(b, 0, {})]);
      expect(await read([a], 1, 2)).toEqual(expected.slice(1, 2));
      expect(await read([], 0, 3)).toEqual([]);
      // A state and a counter of one series and minute are two things.
      expect(await store().readLeaves([a, b], startMs, startMs + 3 * minute)).toEqual([]);
    });

    it("leaves, states and connections are written together, and showing figures changes none", async () => {
      const [a] = (await makeSeries(store(), ["a"])) as [number];
      const state = { series: a, minuteMs: startMs, leaf: { ms: { "1": minute }, unknownMs: 0, samples: 6 } };
      const leaf = { series: a, minuteMs: startMs, leaf: { ...emptyLeaf, amount: 7n } };
      const online = { device: "f/g/d", minuteMs: startMs, onlineMs: 9 };
      await store().writeLeaves([leaf], [online], [state]);
      await store().showResults([]);
      await reopen();
      expect(await store().readStates([a], startMs, startMs + 1)).toEqual([state]);
      expect(await store().readLeaves([a], startMs, startMs + 1)).toEqual([leaf]);
      expect(await store().readConnections([], startMs, startMs + 1)).toEqual([online]);
    });

    it("likewise for connections; no devices means all", async () => {
      const row = (device: string, n: number, onlineMs: number) => ({
        device,
        minuteMs: startMs + n * minute,
        onlineMs,
      });
      await store().writeLeaves([], [row("f/g/d'1", 0, 1), row("f/g/d2", 0, 2), row("f/g/d2", 1, 3)]);
      await reopen();
      await store().writeLeaves([], [row("f/g/d2", 0, 60_000)]);
      const [from, to] = [startMs, startMs + minute];
      expect(await store().readConnections([], from, to)).toEqual([row("f/g/d'1", 0, 1), row("f/g/d2", 0, 60_000)]);
      expect(await store().readConnections(["f/g/d'1"], from, to)).toEqual([row("f/g/d'1", 0, 1)]);
      expect(await store().readConnections(["f/g/d3"], from, to)).toEqual([]);
    });

    it("likewise for rollups; no keys means all, and an empty body withdraws one", async () => {
      const row = (unit: RollupUnit, n: number, key: string, body: string): RollupRow => ({
        unit,
        startMs: startMs + n * 60 * minute,
        key,
        body,
      });
      const odd = JSON.stringify({ v: 1, text: 'f/g/d"1", \\ 汇总\n' });
      await store().writeRollups([row("hour", 0, "f/g/d1", "old"), row("hour", 0, "f 1", odd)]);
      await store().writeRollups([row("hour", 1, "f/g/d1", "later"), row("day", 0, "f/g/d1", "day")]);
      await reopen();
      await store().writeRollups([row("hour", 0, "f/g/d1", "new"), row("hour", 1, "f/g/d1", "")]);
      const read = async (unit: RollupUnit, keys: string[], hours: number) => {
        const rows = await store().readRollups(unit, keys, startMs, startMs + hours * 60 * minute);
        return rows.sort((a, b) => a.startMs - b.startMs || (a.key < b.key ? -1 : 1));
      };
      const first = [row("hour", 0, "f 1", odd), row("hour", 0, "f/g/d1", "new")];
      expect(await read("hour", [], 1)).toEqual(first);
      expect(await read("hour", [], 2)).toEqual([...first, row("hour", 1, "f/g/d1", "")]);
      expect(await read("hour", ["f/g/d1"], 1)).toEqual(first.slice(1));
      expect(await read("day", ["f/g/d1", "x' OR true --"], 1)).toEqual([row("day", 0, "f/g/d1", "day")]);
      expect(await read("month", [], 1)).toEqual([]);
    });

    resultTests({ store, reopen });
  });
}

function resultTests({ store, reopen }: Pick<Harness, "store" | "reopen">): void {
  const result = (more: Partial<Result>): Result => ({
    indicator: "energy.electricity",
    level: "device",
    entity: "f/g/d1",
    period: "minute",
    startMs,
    endMs: startMs + minute,
    value: "12.50",
    reason: null,
    unit: "kWh",
    completeness: 0.9833,
    estimatedShare: null,
    lowerBound: false,
    status: "provisional",
    revision: 0,
    definitionVersion: 1,
    factorTable: null,
    registryVersion: "0123456789ab",
    inputWatermark: 77,
    asOfMs: startMs + 90_000,
    simulated: true,
    ...more,
  });
  const query = { level: "device", period: "minute", fromMs: startMs, toMs: startMs + 2 * minute, limit: 10 } as const;

  it("the newest of a figure is read, by start, entity and indicator, over restarts", async () => {
    const second = { startMs: startMs + minute, endMs: startMs + 2 * minute };
    const kept = [
      result({
        value: null,
        reason: "no_data",
        completeness: null,
        factorTable: "2025",
        status: "revised",
        revision: 3,
      }),
      result({ indicator: "machine.oee" }),
      result({ entity: "f/g/d2", lowerBound: true, estimatedShare: 0.5 }),
      result(second),
    ] as const;
    await store().writeMinuteResults([result({}), ...kept.slice(1).reverse()]);
    await reopen();
    await store().writeMinuteResults([
      kept[0],
      result({ level: "factory" }),
      result({ period: "hour" }),
      result({ startMs: startMs + 2 * minute }),
    ]);
    expect(await store().readMinuteResults(query)).toEqual(kept);
    expect(await store().readMinuteResults({ ...query, limit: 2 })).toEqual(kept.slice(0, 2));
    expect(await store().readMinuteResults({ ...query, entity: "f/g/d2" })).toEqual([kept[2]]);
    expect(await store().readMinuteResults({ ...query, indicator: "machine.oee" })).toEqual([kept[1]]);
    expect(await store().readMinuteResults({ ...query, entity: "x' OR true --" })).toEqual([]);
    const { level: _, ...ofAll } = query;
    const named = (...entities: string[]) => store().readMinuteResults({ ...ofAll, entities });
    expect((await store().readMinuteResults(ofAll)).map(({ level }) => level).sort()).toEqual([
      ...kept.map(({ level }) => level),
      "factory",
    ]);
    expect(await named("f/g/d2", "x' OR true --", "f/g/d2")).toEqual([kept[2]]);
    expect(await named("f/g/d1", "f/g/d2")).toHaveLength(5);
    expect(await named()).toEqual([]);
  });

  it("is read to the edges of what there is, and not beyond, before and after a restart", async () => {
    const at = (n: number) => result({ startMs: startMs + n * minute, endMs: startMs + (n + 1) * minute });
    const starts = async (from: number, to: number, period: "minute" | "quarter_hour" = "minute") => {
      const asked = { ...query, period, fromMs: startMs + from * minute, toMs: startMs + to * minute };
      return (await store().readMinuteResults(asked)).map((one) => (one.startMs - startMs) / minute);
    };
    await store().writeMinuteResults([at(5), at(3)]);
    const looks = async () => [await starts(0, 3), await starts(0, 4), await starts(5, 9), await starts(6, 9)];
    expect(await looks()).toEqual([[], [3], [5], []]);
    expect(await starts(0, 9, "quarter_hour")).toEqual([]);
    await reopen();
    expect(await looks()).toEqual([[], [3], [5], []]);
    await store().writeMinuteResults([at(8), at(1)]);
    expect([await starts(0, 3), await starts(6, 9)]).toEqual([[1], [8]]);
  });
}
