import { DataType } from "@jilian/domain/datatypes.ts";
import { append, greatestOf } from "@jilian/domain/lists.ts";
import { hourMs, minuteMs, periodStart } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { versionOf } from "@jilian/store/registry-versions.ts";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { openWorld, silent, testRegistry, type World } from "../test-world.ts";
import { startKpi } from "./start.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.end());

test("figures are told to the thread of the broker some at a time, and those that ended long ago are published alone", async () => {
  world.ledger.addRegistryVersion(versionOf(testRegistry(false), { fromMs: 0, appliedMs: 0 }));
  const definition = { name: "energy", datatype: DataType.Double, unit: "kWh", role: "energy.import" } as const;
  const place = { group: "f2", node: "gw-1", device: "meter-1", metric: "energy" };
  const wanted = { ...place, definition: { ...definition, simulated: false } };
  const [series] = (await world.telemetry.ensureSeries([wanted])) as [number];
  const nowMs = Date.now();
  const oldMs = periodStart("hour", nowMs) - 3 * hourMs;
  const samples = [oldMs, oldMs + minuteMs, nowMs - 2 * minuteMs, nowMs - minuteMs].map((at, value) => {
    return { series, sourceTimeMs: at, value, status: 0, gatewayTimeMs: at, ingestTimeMs: at };
  });
  await world.telemetry.write({ samples, commits: [] });
  const told: Result[] = [];
  const keepResultsMs = hourMs;
  // What waits for this thread has its turn between any two parts of what a tick has made.
  let hadTurn = true;
  const turns: boolean[] = [];
  const sizes: number[] = [];
  const onResults = (results: Result[]) => {
    append(told, results);
    sizes.push(results.length);
    turns.push(hadTurn);
    hadTurn = false;
    setImmediate(() => {
      hadTurn = true;
    });
  };
  const kpi = await startKpi(
    { kpiIntervalMs: 50, provisionalIntervalMs: 50 },
    {
      ...{ telemetry: world.telemetry, ledgerPath: world.ledgerPath, clockSetting: undefined, log: silent },
      ...{ isStoreOwned: true, keepResultsMs, onResults },
    },
  );
  await kpi.settle();
  await kpi.close();
  const query = { level: "factory", period: "hour", fromMs: oldMs, toMs: oldMs + 1, limit: 1000 } as const;
  expect(world.ledger.readResults(query)).not.toEqual([]);
  expect(told.filter(({ period }) => period === "minute")).not.toEqual([]);
  expect([greatestOf(sizes), turns.includes(false)]).toEqual([100, false]);
  expect(told.filter(({ endMs }) => endMs < nowMs - keepResultsMs)).toEqual([]);
}, 30_000);

test("what fails where figures are taken over keeps neither the thread nor its end waiting", async () => {
  world.ledger.addRegistryVersion(versionOf(testRegistry(false), { fromMs: 0, appliedMs: 0 }));
  const others = process.rawListeners("uncaughtException") as ((thrown: unknown) => void)[];
  const caught: unknown[] = [];
  process.removeAllListeners("uncaughtException").on("uncaughtException", (thrown) => caught.push(thrown));
  onTestFinished(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of others) process.on("uncaughtException", listener);
  });
  const kpi = await startKpi(
    { kpiIntervalMs: 50, provisionalIntervalMs: 50 },
    {
      ...{ telemetry: world.telemetry, ledgerPath: world.ledgerPath, clockSetting: undefined, log: silent },
      isStoreOwned: true,
      onResults: () => {
        throw new Error("not taken");
      },
    },
  );
  await kpi.settle();
  await kpi.close();
  expect(String(caught[0])).toBe("Error: not taken");
});
