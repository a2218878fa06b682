import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { openInfluxTelemetry } from "@jilian/store/influx/telemetry.ts";
import { settingOf } from "@jilian/store/influx/test-setting.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import type { SampleRow } from "@jilian/store/telemetry.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { random } from "../test-random.ts";
import { type ManualClock, manualClock, openWorld, silent, type World } from "../test-world.ts";
import { alarmKeeper } from "./alarms.ts";
import { createEngine } from "./engine.ts";
import { seriesIndex } from "./series-index.ts";
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
  untilMs = t0 + 2 * hourMs;
});
afterEach(() => world.end());

/** How long readings are made; shorter where figures are made too, which takes long. */
let untilMs = t0 + 2 * hourMs;

/** Readings by the moments at which they arrive: `steps` of them, in order, or late, shuffled, repeated, with an outage whose backlog drains. */
function arrivals(rows: readonly SampleRow[], seed: number, steps: number, isOrderly: boolean): SampleRow[][] {
  const { whole, chance, shuffled } = random(seed);
  const stepMs = (untilMs - t0) / steps;
  const batches: SampleRow[][] = Array.from({ length: steps + 1 }, () => []);
  const put = (step: number, row: SampleRow) => batches[Math.min(steps, step)]?.push(row);
  for (const row of rows) {
    const due = Math.ceil((row.sourceTimeMs - t0) / stepMs);
    const isCut = row.sourceTimeMs > t0 + 0.4 * (untilMs - t0) && row.sourceTimeMs < t0 + 0.65 * (untilMs - t0);
    const late = isOrderly ? 0 : isCut ? Math.floor(steps / 3) + whole(steps / 3) : chance(0.3) ? whole(steps / 4) : 0;
    put(due + late, row);
    if (!isOrderly && chance(0.1)) put(due + late + whole(steps / 3), row);
  }
  return isOrderly ? batches : batches.map((batch) => shuffled(batch));
}

type Running = { readonly step: () => Promise<unknown>; readonly settle: () => Promise<void> };

/** An engine, and a keeper without one, which makes no figures and is quick. */
async function engineOf(): Promise<Running> {
  const versions = followVersions(world.ledger);
  const engine = await createEngine({ ...world, versions, clock, provisionalIntervalMs: 60_000, txPerTick: 1000 });
  const settle = async () => {
    while (!(await engine.tick({ thorough: true })).caughtUp);
  };
  return { step: () => engine.tick(), settle };
}

async function keeperOf(foldedTx: number): Promise<Running & { folded: () => number }> {
  const versions = followVersions(world.ledger);
  const index = seriesIndex(world.telemetry, versions);
  const keeper = alarmKeeper({ ...world, index, versions });
  let from = foldedTx;
  await index.learn();
  const step = async () => {
    const lastTx = await world.telemetry.lastTx();
    const upToTx = Math.min(lastTx, from + 4);
    const changed = await world.telemetry.changedMinutes(from, upToTx);
    await keeper.judge(changed, { upToTx, isBehind: upToTx < lastTx }, clock.now());
    from = upToTx;
    keeper.noteProgress();
    return from < lastTx || keeper.isBusy();
  };
  const settle = async () => {
    while (await step());
  };
  return { step, settle, folded: () => from };
}

/** Lets readings arrive, with a step after each arrival; `anew` may put another in the place of what runs. @returns what runs in the end */
async function runThrough<R extends Running>(
  batches: SampleRow[][],
  seed: number,
  running: R,
  anew: (running: R) => Promise<R>,
): Promise<R> {
  const { whole } = random(seed);
  let now = running;
  for (const [i, batch] of batches.entries()) {
    clock.set(t0 + (i * (untilMs - t0)) / (batches.length - 1));
    while (batch.length > 0) await world.telemetry.write({ samples: batch.splice(0, 20 + whole(150)), commits: [] });
    now = await anew(now);
    await now.step();
  }
  clock.set(untilMs + 30 * minuteMs);
  await now.settle();
  return now;
}

/** The events of all stored readings, judged in their order from the first on. */
async function expectKept() {
  const events = await expectedEvents(world.telemetry, clock.now() - 5000);
  expect(keptEvents(world.ledger)).toEqual(plainEvents(events));
  expect([...events.values()].map((own) => own.length).filter((n) => n < 1)).toEqual([]);
  return events;
}

describe("alarms of stored readings", () => {
  test.each([
    ["in order", 1, true],
    ["late, shuffled, repeated, with restarts", 2, false],
    ["likewise, otherwise", 3, false],
  ])("are the same however they arrive: %s", async (_, seed, isOrderly) => {
    applyRules(world.ledger, rules);
    const series = await ensureSeries(world.telemetry);
    const { chance } = random(seed);
    const batches = arrivals(makeReadings(series, 7, untilMs), seed, 40, isOrderly);
    await runThrough(batches, seed, await keeperOf(0), async (now) =>
      !isOrderly && chance(0.25) ? await keeperOf(now.folded()) : now,
    );
    await expectKept();
  });

  test.skipIf(!hasInfluxd())("are the same from InfluxDB (skipped where it is not installed)", async () => {
    await using server = await startInfluxd();
    const telemetry = await openInfluxTelemetry({
      ...settingOf(server.url, "alarms", { recentSamples: 7 }),
      log: silent,
    });
    const embedded = world.telemetry;
    try {
      world.telemetry = telemetry;
      applyRules(world.ledger, rules);
      const series = await ensureSeries(telemetry);
      const batches = arrivals(makeReadings(series, 7, untilMs), 5, 10, false);
      await runThrough(batches, 5, await keeperOf(0), async (now) => now);
      await expectKept();
    } finally {
      world.telemetry = embedded;
      await telemetry.close();
    }
  });

  test("make figures that are theirs to the last digit, whatever was late", async () => {
    untilMs = t0 + 0.75 * hourMs;
    applyRules(world.ledger, rules);
    const series = await ensureSeries(world.telemetry);
    const batches = arrivals(makeReadings(series, 7, untilMs), 4, 5, false);
    const { chance } = random(4);
    await runThrough(batches, 4, await engineOf(), async (now) => (chance(0.3) ? await engineOf() : now));
    const events = await expectKept();
    const { found, expected } = alarmFigures(world.ledger, events, clock.now());
    expect(found).toEqual(expected);
    expect(Object.values(found).filter((value) => value !== null && value !== "0").length).toBeGreaterThan(10);
  });
});
