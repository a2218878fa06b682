import { accountMetric, encodeAccount, noCounts } from "@jilian/domain/account.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { Level, Result } from "@jilian/domain/result.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { expect, test } from "vitest";
import { createEngine, type Engine } from "./engine.ts";
import { applyRules, rules } from "./test-alarms.ts";
import { born, clock, every10s, settle, store, useWorld, world } from "./test-engine.ts";

/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
useWorld(t0);

/** The sites of ended periods whose figures ticks compute until all is up to date, by kind of period. */
async function computed(engine: Engine): Promise<Map<string, Set<string>>> {
  const results: Result[] = [];
  for (let caughtUp = false; !caughtUp; ) {
    const tick = await engine.tick({ thorough: true });
    results.push(...tick.results.filter(({ endMs }) => endMs <= clock.now()));
    ({ caughtUp } = tick);
  }
  const byPeriod = Map.groupBy(results, ({ period }) => period);
  return new Map(
    [...byPeriod].map(([period, own]) => [period, new Set(own.map(({ level, entity }) => `${level} ${entity}`))]),
  );
}

// Of forty enterprises the figures of all were made again for an alarm of one machine (bench:kpi, a late hour of a factory).
test("a late hour of one factory, with an alarm and readings that were lost, has nobody else's figures computed again", async () => {
  applyRules(world.ledger, rules);
  const temperature = { group: "f3", node: "gw-1", device: "press-1", metric: "t" };
  const hot = await born(temperature, { datatype: DataType.Float, role: "temperature", unit: "°C" });
  const accounts = await born({ ...temperature, metric: accountMetric }, { datatype: DataType.String });
  const others = await born(
    { group: "f2", node: "gw-1", device: "meter-1", metric: "energy" },
    { role: "energy.import", unit: "kWh" },
  );
  const versions = followVersions(world.ledger);
  const engine = await createEngine({ ...world, versions, clock, provisionalIntervalMs: 0, txPerTick: 100 });
  await store(others, every10s(t0, t0 + hourMs, 1));
  await store(hot, [[t0 + hourMs, 20]]);
  clock.set(t0 + hourMs + 5 * minuteMs);
  await settle(engine);

  await store(hot, [...every10s(t0 + minuteMs, t0 + hourMs - minuteMs, 0, 3), [t0 + hourMs - minuteMs + 1, 20]]);
  const account = encodeAccount({ ...noCounts, hourMs: t0, part: "0000000a", gapMs: {}, scheduled: 400, queued: 400 });
  const stored = { sourceTimeMs: t0 + hourMs + 1000, value: account, status: 0 };
  await world.telemetry.write({
    samples: [{ series: accounts, ...stored, gatewayTimeMs: t0 + hourMs, ingestTimeMs: clock.now() }],
    commits: [],
  });
  const found = await computed(engine);
  const sites = new Set(["factory f3", "enterprise e2", "cluster jinlv"]);
  expect(found.get("minute")).toEqual(sites);
  expect(found.get("quarter_hour")).toEqual(sites);
  expect(found.get("hour")).toEqual(sites);
  const alarms = world.ledger.alarms({ fromMs: 0, toMs: 1e15, limit: 9 });
  expect(alarms.map(({ rule }) => rule).sort()).toEqual(["cold", "heating"]);
  const figure = (indicator: string, entity: string) =>
    world.ledger.readResults({
      ...{ indicator, level: "factory", entity, period: "hour" },
      fromMs: t0,
      toMs: t0 + 1,
      limit: 1,
    })[0];
  expect(figure("alarms.raised", "f3")).toMatchObject({ value: "2" });
  expect(figure("data.completeness", "f3")?.value).not.toBe(null);
});

test("an alarm that time tells of after its quarter hour has ended counts for its factory, and nobody else is computed again", async () => {
  applyRules(world.ledger, rules);
  const place = { group: "f1", node: "gw-1", device: "press-1", metric: "state" };
  const state = await born(place, { datatype: DataType.Int32, role: "machine.state", heartbeatMs: minuteMs });
  const versions = followVersions(world.ledger);
  const engine = await createEngine({ ...world, versions, clock, provisionalIntervalMs: 0, txPerTick: 100 });
  const endMs = t0 + 15 * minuteMs;
  await store(state, [
    [t0, 1],
    [endMs - 12_000, 4],
  ]);
  clock.set(endMs);
  await settle(engine);
  const raised = (level: Level, entity: string) =>
    world.ledger.readResults({
      ...{ indicator: "alarms.raised", level, entity, period: "quarter_hour" },
      ...{ fromMs: t0, toMs: t0 + 1, limit: 1 },
    })[0]?.value;
  expect(raised("factory", "f1")).toBe("0");
  // The rule waits for 10 s, and what a reading may still say for 5 s more.
  clock.set(endMs + 6000);
  const found = await computed(engine);
  expect([raised("factory", "f1"), raised("enterprise", "e1"), raised("cluster", "jinlv")]).toEqual(["1", "1", "1"]);
  expect(found.get("quarter_hour")).toEqual(new Set(["factory f1", "enterprise e1", "cluster jinlv"]));
});

test("a backlog has what runs computed once, when it is done, and not with each of its steps", async () => {
  applyRules(world.ledger, []);
  const meter = await born(
    { group: "f2", node: "gw-1", device: "meter-1", metric: "energy" },
    { role: "energy.import", unit: "kWh" },
  );
  const versions = followVersions(world.ledger);
  const engine = await createEngine({ ...world, versions, clock, provisionalIntervalMs: 3_600_000, txPerTick: 1 });
  for (let i = 0; i < 20; i += 1)
    await store(meter, every10s(t0 + i * minuteMs, t0 + (i + 1) * minuteMs - 10_000, 1, i));
  clock.set(t0 + 21 * minuteMs);
  const looked: number[] = [];
  for (let [tick, caughtUp] = [0, false]; !caughtUp; tick += 1) {
    const made = await engine.tick({ thorough: true });
    ({ caughtUp } = made);
    if (made.results.some(({ period }) => period === "hour")) looked.push(tick);
  }
  // The first tick is due at its pace; then, the backlog of twenty transactions over, one that makes figures final, and the last.
  expect(looked).toEqual([0, 19, 20]);
});
