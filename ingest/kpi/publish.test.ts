import { append } from "@jilian/domain/lists.ts";
import { dayMs, hourMs, minuteMs, watermarkMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openWorld, type World } from "../test-world.ts";
import { nextRevision, publisher } from "./publish.ts";

const startMs = Date.UTC(2026, 10, 22, 2, 0);
const result: Result = {
  ...{ indicator: "energy.electricity", level: "factory", entity: "f2", period: "hour" },
  ...{ startMs, endMs: startMs + hourMs, value: "1", reason: null, unit: "kWh", completeness: 1, estimatedShare: 0 },
  ...{ lowerBound: false, status: "provisional", revision: 0, definitionVersion: 1, factorTable: null },
  ...{ registryVersion: "r", inputWatermark: 7, asOfMs: startMs + hourMs, simulated: false },
};
const dueMs = result.endMs + watermarkMs;

describe("revisions", () => {
  test("provisional until the watermark, then final once, whether it changed or not", () => {
    expect(nextRevision(result, undefined, dueMs - 1)).toEqual(result);
    expect(nextRevision({ ...result, asOfMs: 9 }, result, dueMs - 1)).toBeUndefined();
    expect(nextRevision({ ...result, value: "2" }, result, dueMs - 1)).toMatchObject({
      status: "provisional",
      revision: 0,
    });
    expect(nextRevision(result, result, dueMs)).toEqual({ ...result, status: "final" });
    expect(nextRevision(result, undefined, dueMs)).toMatchObject({ status: "final", revision: 0 });
  });

  test("what was final is never provisional again, and is revised only when it says something else", () => {
    const final = { ...result, status: "final" as const };
    expect(nextRevision({ ...result, inputWatermark: 99, asOfMs: dueMs }, final, dueMs + 1)).toBeUndefined();
    const first = nextRevision({ ...result, value: "2" }, final, dueMs + 1) as Result;
    expect(first).toMatchObject({ value: "2", status: "revised", revision: 1 });
    const second = nextRevision({ ...result, completeness: 0.5, value: "2" }, first, dueMs - 1);
    expect(second).toMatchObject({ completeness: 0.5, status: "revised", revision: 2 });
  });
});

describe("publishing", () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.end());

  const minute = (atMs: number): Result => ({ ...result, period: "minute", startMs: atMs, endMs: atMs + minuteMs });

  test("what memory has never overwrites a revision that the ledger has", async () => {
    const publish = publisher(world, () => undefined);
    expect(await publish([result], dueMs)).toMatchObject([{ status: "final", revision: 0 }]);
    // Someone else has revised it meanwhile.
    world.ledger.writeResults([{ ...result, value: "2", status: "revised", revision: 1 }]);
    expect(await publish([{ ...result, value: "3" }], dueMs)).toMatchObject([{ status: "revised", revision: 2 }]);
    expect(world.ledger.revisions(result).map(({ value, revision }) => [value, revision])).toEqual([
      ["1", 0],
      ["2", 1],
      ["3", 2],
    ]);
  });

  test("minutes far apart are asked for apart", async () => {
    const asked: number[] = [];
    const readMinuteResults: Telemetry["readMinuteResults"] = async (query) => {
      asked.push(query.toMs - query.fromMs);
      return await world.telemetry.readMinuteResults(query);
    };
    const publish = publisher({ ...world, telemetry: { ...world.telemetry, readMinuteResults } }, () => undefined);
    await publish([startMs, startMs + minuteMs, startMs + 20 * dayMs].map(minute), startMs + 21 * dayMs);
    expect(asked).toEqual([minuteMs + 1, 1]);
    const query = { period: "minute", level: "factory", fromMs: 0, toMs: 1e15, limit: 9 } as const;
    expect(await world.telemetry.readMinuteResults(query)).toHaveLength(3);
  });

  test("minutes that say what was published are not asked for again; one that differs is, and follows the store's own word", async () => {
    let asked = 0;
    const readMinuteResults: Telemetry["readMinuteResults"] = async (query) => {
      asked += 1;
      return await world.telemetry.readMinuteResults(query);
    };
    const publish = publisher({ ...world, telemetry: { ...world.telemetry, readMinuteResults } }, () => undefined);
    const nowMs = startMs + minuteMs;
    await publish([minute(startMs)], nowMs);
    expect(asked).toBe(1);
    const again = { ...minute(startMs), asOfMs: nowMs + 5 };
    expect(await publish([again], nowMs + 5)).toEqual([again]);
    expect(asked).toBe(1);
    const final = { ...minute(startMs), value: "2", status: "final" as const };
    await world.telemetry.writeMinuteResults([final]);
    const late = startMs + minuteMs + watermarkMs;
    expect(await publish([{ ...again, value: "3" }], late)).toMatchObject([
      { value: "3", status: "revised", revision: 1 },
    ]);
    expect(asked).toBe(2);
  });

  test("what runs stays known from one look at all to the next, whatever minutes are published in between", async () => {
    const asked: Result[] = [];
    // Nothing is written: all that is asked for here is what memory does not know.
    const writeResults: Ledger["writeResults"] = (fresh) => {
      append(asked, fresh);
      return 0;
    };
    const ledger = { ...world.ledger, readResult: () => undefined, writeResults };
    const publish = publisher({ ...world, ledger }, () => undefined);
    const all = Array.from({ length: 60_000 }, (_, i): Result => ({ ...result, entity: `f${i}` }));
    const short = all.slice(0, 52_000);
    await publish(all, startMs);
    expect(asked.splice(0)).toHaveLength(all.length);
    for (let i = 0; i < 100; i += 1) await publish([], startMs);
    for (const some of [short, short, all]) await publish(some, startMs);
    expect(asked).toHaveLength(0);
  });

  test("what is new in the ledger is told of before minutes are written, which may fail", async () => {
    const told: Result[] = [];
    const writeMinuteResults: Telemetry["writeMinuteResults"] = async () => {
      throw new Error("the store is away");
    };
    const telemetry = { ...world.telemetry, writeMinuteResults };
    const publish = publisher({ ...world, telemetry }, (fresh) => told.push(...fresh));
    await expect(publish([result, minute(startMs)], dueMs)).rejects.toThrow("the store is away");
    expect(told).toMatchObject([{ period: "hour", status: "final" }]);
  });
});
