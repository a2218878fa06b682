import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs, periods, watermarkMs } from "@jilian/domain/periods.ts";
import { type Result, resultId } from "@jilian/domain/result.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import { expect, test } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import { figuresWeight, finalName, shares } from "./progress.ts";
import { clock, everything, startOver, useWorld, world } from "./test-engine.ts";

/** No engine ran for some time, over the end of a month: what is made final then is what an engine in time would have made final. */

/** 21:00 on 30 November in Shanghai, and 4:00 on the next day. */
const t0 = Date.UTC(2026, 10, 30, 13, 0);
const endMs = t0 + 7 * hourMs;
/** The tests' registry has three factories; one of them has shifts. */
const factories = 3;
const most = 60;

useWorld(t0);

function registry() {
  const file = structuredClone(testRegistry(false).file);
  const days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
  const shift = (name: string, from: string, to: string) => ({ days: [...days], from, to, name });
  const calendar = { shifts: [shift("早", "00:00", "12:00"), shift("晚", "12:00", "24:00")] };
  Object.assign(file.enterprises[0]?.factories[1] ?? {}, { calendar });
  return always(indexRegistry(file));
}
const versions = registry();
const engineOf = (factoriesPerTick: number): Promise<Engine> =>
  createEngine({ ...world, versions, clock, provisionalIntervalMs: 0, txPerTick: 1000, factoriesPerTick });

/** Readings of a register every half hour in a part of the time; nothing of most of it, as when the gateways were cut off as well. */
async function store(fromMs: number, toMs: number): Promise<void> {
  const definition = { name: "e", datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false };
  const place = { group: "f2", node: "gw-1", device: "meter-1", metric: "e" };
  const [series = 0] = await world.telemetry.ensureSeries([{ ...place, definition, sinceMs: t0 }]);
  const samples = Array.from({ length: (toMs - fromMs) / (30 * minuteMs) }, (_, i) => {
    const sourceTimeMs = fromMs + i * 30 * minuteMs;
    const value = (sourceTimeMs - t0) / minuteMs;
    return { ...{ series, sourceTimeMs, value, status: 0 }, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

/** Figures that a tick computed, in minutes' worth. */
function sizeOf(results: readonly Result[]): number {
  const spans = new Map<string, number>();
  for (const { period, startMs, entity, level } of results)
    if (level === "factory") spans.set(`${period} ${startMs} ${entity}`, figuresWeight[period]);
  return [...spans.values()].reduce((sum, weight) => sum + weight, 0);
}

/** What the change log says of each figure, in its order. */
function changes(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const one of world.ledger.changesAfter(0, 1e6)) {
    const own = found.get(resultId(one)) ?? [];
    found.set(resultId(one), own);
    own.push(`${one.status} ${one.revision} ${one.value}`);
  }
  return found;
}
const lasting = (own: readonly string[] | undefined) => own?.filter((one) => !one.startsWith("provisional"));

/** The engine of before, the outage, and what follows it. @param ticks goes on until all is done */
async function outage(ticks: (first: Engine) => Promise<void>): Promise<void> {
  clock.set(t0);
  const before = await engineOf(1e9);
  await store(t0, t0 + hourMs);
  clock.set(t0 + hourMs);
  while (!(await before.tick({ thorough: true })).caughtUp);
  await before.close();
  await store(t0 + 2 * hourMs, t0 + 4 * hourMs);
  clock.set(endMs);
  await ticks(await engineOf(most));
}

test("in bounded parts, over restarts: the figures and the change log are those of one that goes through at once", {
  timeout: 120_000,
}, async () => {
  const once: number[] = [];
  await outage(async (small) => {
    await small.close();
    const engine = await engineOf(1e9);
    for (let done = false; !done; ) {
      const { results, caughtUp } = await engine.tick({ thorough: true });
      once.push(sizeOf(results));
      done = caughtUp;
    }
    await engine.close();
  });
  const expected = await everything();
  const expectedLog = changes();
  expect(Math.max(...once)).toBeGreaterThan(10 * most);

  await startOver();
  const sizes: number[] = [];
  await outage(async (first) => {
    let engine = first;
    for (let done = false; !done; ) {
      const { results, caughtUp } = await engine.tick();
      sizes.push(sizeOf(results));
      if (sizes.length % 7 === 0) {
        await engine.close();
        engine = await engineOf(most);
      } else done = caughtUp;
    }
    while (!(await engine.tick({ thorough: true })).caughtUp);
    await engine.close();
  });
  // Late minutes, late longer periods, and what becomes final: each so much; and of each kind what runs, and one that ended.
  const rounding = periods.reduce((sum, period) => sum + figuresWeight[period] * factories, 0);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(3 * most + 2 * rounding);
  expect(await everything()).toEqual(expected);
  const limitMs = endMs - watermarkMs;
  for (const period of periods) expect([period, world.ledger.getNumber(finalName(period))]).toEqual([period, limitMs]);
  // A reader of the change log is told the same of each: what became final once, and nothing of it again.
  const log = changes();
  expect(new Set(log.keys())).toEqual(new Set(expectedLog.keys()));
  for (const [id, own] of log) {
    expect([id, own.at(-1)]).toEqual([id, expectedLog.get(id)?.at(-1)]);
    expect([id, lasting(own)]).toEqual([id, lasting(expectedLog.get(id))]);
  }
});

test("what is done at once is shared: none gets more than it needs, and nothing is left over", () => {
  const of = (needs: Record<string, number>, whole: number) =>
    Object.fromEntries(shares(new Map(Object.entries(needs)), whole));
  expect(of({ minute: 1000, hour: 10, day: 0 }, 100)).toEqual({ minute: 90, hour: 10, day: 0 });
  expect(of({ minute: 1000, hour: 1000, day: 20 }, 100)).toEqual({ minute: 40, hour: 40, day: 20 });
  expect(of({ minute: 5, hour: 6 }, 100)).toEqual({ minute: 5, hour: 6 });
});
