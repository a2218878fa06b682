import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { dayMs, hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { AlarmRule } from "@jilian/store/registry-alarms.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { beforeEach, expect, test } from "vitest";
import { createEngine, type Engine } from "./engine.ts";
import { applyRules, t0 } from "./test-alarms.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

const hot: AlarmRule = {
  ...{ id: "hot", name: { zh: "过热" }, priority: "high", kind: "threshold", above: 80, hysteresis: 5 },
  applies: { role: "temperature" },
};

useWorld(t0);
beforeEach(() => applyRules(world.ledger, [hot]));

const catalogue = indicators.filter(({ id }) => id === "alarms.raised");
const engineOf = (ledger: Ledger = world.ledger): Promise<Engine> =>
  createEngine({
    ...{ ...world, ledger, versions: followVersions(world.ledger), clock, catalogue },
    ...{ provisionalIntervalMs: 0, txPerTick: 1000 },
  });

/** Stores temperatures of a machine. */
async function store(readings: readonly (readonly [atMs: number, value: number])[]): Promise<void> {
  const definition = { name: "t", datatype: DataType.Double, role: "temperature", unit: "°C", simulated: false };
  const key = { group: "f3", node: "gw-1", device: "press-1", metric: "t", definition };
  const [series = 0] = await world.telemetry.ensureSeries([key]);
  const samples = readings.map(([sourceTimeMs, value]) => {
    const times = { sourceTimeMs, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
    return { series, value, status: 0, ...times };
  });
  await world.telemetry.write({ samples, commits: [] });
}

const alarms = () =>
  world.ledger
    .alarms({ fromMs: 0, toMs: 1e15, limit: 99 })
    .map(({ state, raisedMs, clearedMs }) => [state, (raisedMs - t0) / 1000, ((clearedMs ?? 0) - t0) / 1000]);

test("a recompute's judging goes on after an end between two ticks", async () => {
  await store(Array.from({ length: 120 }, (_, i) => [t0 + i * 10_000, i >= 10 && i < 60 ? 90 : 70]));
  clock.set(t0 + 2 * hourMs);
  await settle(await engineOf());
  const right = [["returned_unacknowledged", 100, 600]];
  expect(alarms()).toEqual(right);
  // What the ledger says is not what the readings say: a recompute is to put that right.
  const [row] = world.ledger.alarms({ fromMs: 0, toMs: 1e15, limit: 1 });
  if (!row) throw new Error("no alarm");
  world.ledger.writeAlarms([{ id: row.id, track: row, facts: row, event: undefined }], clock.now());
  expect(alarms()).toEqual([["withdrawn", 100, 600]]);
  world.ledger.addRecompute({ fromMs: t0, toMs: t0 + 5 * minuteMs, reason: "command" }, clock.now());
  const killed = await engineOf();
  while (world.ledger.nextRecompute()) await killed.tick();
  // The recompute has ended; its only hour was to be judged by the tick that never comes.
  const next = await engineOf();
  await settle(next);
  // What was withdrawn stays so; the readings make an alarm anew.
  expect(alarms()).toEqual([["withdrawn", 100, 600], ...right]);
  expect(world.ledger.alarmsAgain(), "nothing is left to be judged").toEqual([]);
});

test("periods far apart have their alarms asked for apart", async () => {
  const asked: number[] = [];
  const alarmsOver: Ledger["alarmsOver"] = (fromMs, toMs) => {
    asked.push(toMs - fromMs);
    return world.ledger.alarmsOver(fromMs, toMs);
  };
  clock.set(t0 + 20 * dayMs);
  const engine = await engineOf({ ...world.ledger, alarmsOver });
  await store([
    [t0 + hourMs, 90],
    [t0 + 20 * dayMs - 1000, 90],
  ]);
  await settle(engine);
  // Of days and shorter ones on the one hand, months and longer ones on the other.
  expect(asked.filter((lengthMs) => lengthMs <= 2 * dayMs).length).toBeGreaterThan(4);
  expect(asked.filter((lengthMs) => lengthMs > 2 * dayMs && lengthMs < 28 * dayMs)).toEqual([]);
});
