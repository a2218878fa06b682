import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { AlarmRule } from "@jilian/store/registry-alarms.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import type { Series } from "@jilian/store/telemetry.ts";
import { expect, test } from "vitest";
import { lookBack } from "./alarm-look.ts";
import { alarmBook, tracksOf } from "./alarm-tracks.ts";
import { applyRules, t0 } from "./test-alarms.ts";
import { clock, useWorld, world } from "./test-engine.ts";

useWorld(t0);

const hot: AlarmRule = {
  ...{ id: "hot", name: { zh: "过热" }, priority: "high", kind: "threshold", above: 80 },
  ...{ applies: { role: "temperature" } },
};

/** Stores temperatures of a machine in one transaction, by seconds after t0. */
async function store(readings: readonly (readonly [second: number, value: number])[]): Promise<Series> {
  const definition = { name: "t", datatype: DataType.Double, role: "temperature", unit: "°C", simulated: false };
  const key = { group: "f3", node: "gw-1", device: "press-1", metric: "t", definition };
  const [series = 0] = await world.telemetry.ensureSeries([key]);
  const samples = readings.map(([second, value]) => {
    const at = t0 + second * 1000;
    const times = { sourceTimeMs: at, gatewayTimeMs: at, ingestTimeMs: clock.now() };
    return { series, value, status: Status.Good, ...times };
  });
  await world.telemetry.write({ samples, commits: [] });
  return (await world.telemetry.series()).find(({ id }) => id === series) as Series;
}

test("a look back that takes several ticks ends, though readings come meanwhile that are far beyond those it was begun for", async () => {
  applyRules(world.ledger, [hot]);
  const series = await store(Array.from({ length: 9000 }, (_, i) => [i / 20, i === 200 ? 90 : 70] as const));
  const [track] = tracksOf(series, alarmBook(followVersions(world.ledger)()));
  if (!track) throw new Error("no track");
  const fresh = [{ firstMs: t0, lastMs: t0 + 449_950 }];
  const look = lookBack(track, fresh, { isWhole: false, endMs: t0 + 449_950 });
  const { telemetry, ledger } = world;
  const parts = (upToTx: number, newest: number) => ({
    ...{ telemetry, ledger, upToTx, newestMs: async () => t0 + newest * 1000, horizonMs: t0 + hourMs },
  });
  expect(await look.step(parts(1, 449.95), { rows: 50 })).toBeUndefined();
  await store([
    [3000, 70],
    [3001, 85],
    [3002, 70],
  ]);
  const found = await look.step(parts(2, 3002), { rows: 10_000 });
  expect(found?.events.map(({ parts: own }) => (Number(own[0]?.fromMs) - t0) / 1000)).toEqual([10, 3001]);
  expect(found?.state.atMs).toBe(t0 + 3_002_000);
});
