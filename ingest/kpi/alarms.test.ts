import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import type { SampleRow } from "@jilian/store/telemetry.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { random } from "../test-random.ts";
import { type ManualClock, manualClock, openWorld, type World } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";
import {
  alarmFigures,
  applyRules,
  ensureSeries,
  expectedEvents,
  keptEvents,
  makeReadings,
  plainEvents,
  rules,
  t0,
} from "./test-alarms.ts";

let world: World;
let clock: ManualClock;
beforeEach(async () => {
  world = await openWorld();
  clock = manualClock(t0);
});
afterEach(() => world.end());

const engineOf = (txPerTick = 4): Promise<Engine> =>
  createEngine({ ...world, versions: followVersions(world.ledger), clock, provisionalIntervalMs: 60_000, txPerTick });

async function settle(engine: Engine): Promise<void> {
  while (!(await engine.tick({ thorough: true })).caughtUp);
}

const untilMs = t0 + 2 * hourMs;

/** Readings by the moments at which they arrive. */
function arrivals(rows: readonly SampleRow[], seed: number, isOrderly: boolean): SampleRow[][] {
  const { whole, chance, shuffled } = random(seed);
  const steps = 24;
  const stepMs = (untilMs - t0) / steps;
  const batches: SampleRow[][] = Array.from({ length: steps + 1 }, () => []);
  for (const row of rows) {
    const due = Math.min(steps, Math.ceil((row.sourceTimeMs - t0) / stepMs));
    // An outage of an hour, whose backlog drains beside live readings.
    const isCut = !isOrderly && row.sourceTimeMs > t0 + hourMs && row.sourceTimeMs < t0 + 1.5 * hourMs;
    const late = isOrderly ? 0 : isCut ? 4 + whole(8) : chance(0.3) ? whole(6) : 0;
    batches[Math.min(steps, due + late)]?.push(row);
    if (!isOrderly && chance(0.1)) batches[Math.min(steps, due + late + whole(9))]?.push(row);
  }
  return isOrderly ? batches : batches.map((batch) => shuffled(batch));
}

describe("alarms of stored readings", () => {
  test.each([
    ["in order", 1, true],
    ["late, shuffled, repeated, with restarts", 2, false],
  ])("are the same however they arrive: %s", async (_, seed, isOrderly) => {
    applyRules(world.ledger, rules);
    const series = await ensureSeries(world.telemetry);
    const { whole, chance } = random(seed);
    let engine = await engineOf();
    for (const [i, batch] of arrivals(makeReadings(series, 7, untilMs), seed, isOrderly).entries()) {
      clock.set(t0 + i * 5 * minuteMs);
      while (batch.length > 0) await world.telemetry.write({ samples: batch.splice(0, 20 + whole(150)), commits: [] });
      if (!isOrderly && chance(0.25)) engine = await engineOf();
      await engine.tick();
    }
    clock.set(untilMs + 30 * minuteMs);
    await settle(engine);
    const nowMs = clock.now() - 5000;
    const events = await expectedEvents(world.telemetry, nowMs);
    expect(keptEvents(world.ledger)).toEqual(plainEvents(events));
    expect([...events.values()].map((own) => own.length).filter((n) => n < 3)).toEqual([]);
    const { found, expected } = alarmFigures(world.ledger, events, clock.now());
    expect(found).toEqual(expected);
    expect(Object.values(found).filter((value) => value !== null && value !== "0").length).toBeGreaterThan(20);
  });
});
