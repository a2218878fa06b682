import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { StoredAlarm } from "@jilian/store/alarms.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { AlarmRule } from "@jilian/store/registry-alarms.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import type { Telemetry, Window } from "@jilian/store/telemetry.ts";
import { beforeEach, describe, expect, test } from "vitest";
import { alarmKeeper } from "./alarms.ts";
import { createEngine, type Engine } from "./engine.ts";
import { seriesIndex } from "./series-index.ts";
import { applyRules, t0 } from "./test-alarms.ts";
import { clock, settle as settled, useWorld, world } from "./test-engine.ts";

useWorld(t0);
let engine: Engine;
let rowsRead = 0;
/** How far the store was asked, UTC ms. */
let askedToMs = 0;

const hot = (over: object = {}): AlarmRule => ({
  ...{ id: "hot", name: { zh: "过热" }, priority: "high", kind: "threshold", above: 80, hysteresis: 5 },
  ...{ applies: { role: "temperature" } },
  ...(over as { above: number }),
});

async function start(): Promise<void> {
  const versions = followVersions(world.ledger);
  engine = await createEngine({ ...world, versions, clock, provisionalIntervalMs: 60_000, txPerTick: 1000 });
}

/** The store, with a count of what is read of it. */
function counted(): Telemetry {
  const count = <T extends readonly unknown[]>(rows: T): T => {
    rowsRead += rows.length;
    return rows;
  };
  const reaches = ({ toMs }: Window) => {
    askedToMs = Math.max(askedToMs, toMs);
  };
  const read: Telemetry["read"] = async (window, limit) => {
    reaches(window);
    return count(await world.telemetry.read(window, limit));
  };
  const readMany: Telemetry["readMany"] = async (windows) => {
    windows.forEach(reaches);
    return (await world.telemetry.readMany(windows)).map(count);
  };
  return { ...world.telemetry, read, readMany };
}

beforeEach(() => {
  rowsRead = 0;
  askedToMs = 0;
});

const settle = () => settled(engine);

/** Stores temperatures of a machine, by seconds after t0; null is a bad reading. */
async function store(readings: readonly (readonly [second: number, value: number | null])[]): Promise<void> {
  const definition = { name: "t", datatype: DataType.Double, role: "temperature", unit: "°C", simulated: false };
  const key = { group: "f3", node: "gw-1", device: "press-1", metric: "t", definition };
  const [series = 0] = await world.telemetry.ensureSeries([key]);
  const samples = readings.map(([second, value]) => {
    const at = t0 + second * 1000;
    const status = value === null ? Status.BadTimeout : Status.Good;
    return { series, sourceTimeMs: at, value, status, gatewayTimeMs: at, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

const every = (fromS: number, toS: number, value: number, stepS = 10) =>
  Array.from({ length: Math.ceil((toS - fromS) / stepS) }, (_, i) => [fromS + i * stepS, value] as const);

async function at(second: number): Promise<StoredAlarm[]> {
  clock.set(t0 + second * 1000);
  await engine.tick();
  return world.ledger.alarms({ fromMs: 0, toMs: 1e15, limit: 99 });
}

const seconds = (ms: number | undefined) => (ms === undefined ? undefined : (ms - t0) / 1000);
const told = (rows: readonly StoredAlarm[]) =>
  rows.map(({ state, parts, clearedMs }) => [
    state,
    ...parts.map(({ fromMs, toMs }) => `${seconds(fromMs)}-${seconds(toMs) ?? ""}`),
    seconds(clearedMs) ?? "",
  ]);
const raisedIn = (startMs: number) =>
  world.ledger.readResult({
    indicator: "alarms.raised",
    level: "factory",
    entity: "f3",
    period: "quarter_hour",
    startMs,
  });

describe("an alarm", () => {
  test("is raised in the tick after its reading, is unknown when readings stop, and is cleared when they say so", async () => {
    applyRules(world.ledger, [hot()]);
    await start();
    await store([
      [0, 70],
      [10, 85],
    ]);
    expect(told(await at(11))).toEqual([["active_unacknowledged", "10-", ""]]);
    await store([[20, 91]]);
    const [one] = await at(21);
    expect([one?.peak, one?.zh, one?.priority, one?.unit]).toEqual([91_000_000n, "过热", "high", "°C"]);
    // Believed for 30 s; 5 s more in which a reading may be on its way.
    expect(told(await at(54))).toEqual([["active_unacknowledged", "10-", ""]]);
    expect(told(await at(56))).toEqual([["unknown_unacknowledged", "10-50", ""]]);
    await store([[100, 78]]);
    expect(told(await at(101))).toEqual([["active_unacknowledged", "10-50", "100-", ""]]);
    await store([[110, 75]]);
    expect(told(await at(111))).toEqual([["returned_unacknowledged", "10-50", "100-110", 110]]);
    await settle();
    const query = { indicator: "alarms.active_time", level: "factory", entity: "f3", period: "quarter_hour" } as const;
    expect(world.ledger.readResult({ ...query, startMs: t0 - 5 * minuteMs })?.value).toBe("0.8333");
    expect(world.ledger.readResult({ ...query, entity: "f1", startMs: t0 - 5 * minuteMs })?.reason).toBe(
      "no_alarm_rule",
    );
  });

  test("waits for its delays, by readings or by the clock, also over a restart in which nothing ran", async () => {
    applyRules(world.ledger, [hot({ onDelayMs: 20_000, offDelayMs: 5000 })]);
    await start();
    await store([[0, 85]]);
    expect(await at(21)).toEqual([]);
    expect(told(await at(26))).toEqual([["active_unacknowledged", "20-", ""]]);
    await store([[27, 70]]);
    expect(told(await at(28))).toEqual([["active_unacknowledged", "20-", ""]]);
    await settle();
    await start();
    expect(told(await at(600))).toEqual([["returned_unacknowledged", "20-32", 32]]);
  });

  test("that late readings show never was is withdrawn, and kept; one that they move keeps what people said of it", async () => {
    applyRules(world.ledger, [hot({ onDelayMs: 20_000 })]);
    await start();
    await store([...every(0, 60, 85), ...every(60, 300, 70), ...every(300, 900, 85)]);
    const [, second] = await at(901);
    await settle();
    expect(raisedIn(t0 - 5 * minuteMs)?.value).toBe("2");
    world.ledger.acknowledgeAlarm(second?.id as number, "chen", "seen", clock.now());
    await store([
      [15, 70],
      [35, 70],
      [55, 70],
      [315, 70],
    ]);
    expect(told(await at(902))).toEqual([
      ["withdrawn", "20-60", 60],
      ["active_acknowledged", "340-", ""],
    ]);
    await settle();
    expect(raisedIn(t0 - 5 * minuteMs)?.value).toBe("1");
    const [first, moved] = await at(903);
    expect([first?.revision, moved?.revision, moved?.note]).toEqual([1, 1, "seen"]);
  });
});

describe("a version of the registry", () => {
  test("ends the alarms of a rule that it changes, from its date on, and leaves others alone", async () => {
    applyRules(world.ledger, [hot()]);
    await start();
    await store(every(0, 300, 90));
    await at(301);
    applyRules(world.ledger, [hot({ priority: "low" })], t0 + 302_000);
    expect(told(await at(303))).toEqual([["active_unacknowledged", "0-", ""]]);
    applyRules(world.ledger, [hot({ above: 85 })], t0 + 310_000);
    await store(every(300, 360, 90));
    expect(told(await at(361))).toEqual([
      ["returned_unacknowledged", "0-310", 310],
      ["active_unacknowledged", "310-", ""],
    ]);
    applyRules(world.ledger, [], t0 + 365_000);
    await store(every(360, 420, 90));
    expect(told(await at(421)).at(-1)).toEqual(["returned_unacknowledged", "310-365", 365]);
  });

  test("that begins in the past has the readings since then judged again, and figures with them", async () => {
    applyRules(world.ledger, [hot()]);
    await start();
    await store([...every(0, 300, 82), ...every(300, 600, 90), ...every(600, 900, 70)]);
    expect(told(await at(901))).toEqual([["returned_unacknowledged", "0-600", 600]]);
    applyRules(world.ledger, [hot({ above: 85 })], t0 + 100_000);
    await start();
    await at(902);
    await settle();
    const kept = [
      ["returned_unacknowledged", "0-100", 100],
      ["returned_unacknowledged", "300-600", 600],
    ];
    expect(told(await at(903))).toEqual(kept);
    expect(raisedIn(t0 - 5 * minuteMs)?.value).toBe("2");
    applyRules(world.ledger, [], 0);
    await at(904);
    await settle();
    expect(told(await at(905)).map(([state]) => state)).toEqual(["withdrawn", "withdrawn"]);
    expect(raisedIn(t0 - 5 * minuteMs)).toMatchObject({ value: null, reason: "no_alarm_rule" });
  });
});

/** A keeper without an engine around it, and one step of it: what was stored since the last one, to the end. */
function keeperAlone(over: { telemetry?: Telemetry; ledger?: Ledger } = {}) {
  const versions = followVersions(world.ledger);
  const index = seriesIndex(world.telemetry, versions);
  const keeper = alarmKeeper({ telemetry: world.telemetry, ledger: world.ledger, ...over, index, versions });
  let foldedTx = 0;
  const judge = async (nowMs: number, isBehind = false) => {
    const upToTx = await world.telemetry.lastTx();
    const changed = await world.telemetry.changedMinutes(foldedTx, upToTx);
    await index.learn();
    do await keeper.judge(changed.splice(0), { upToTx, isBehind }, nowMs);
    while (keeper.isBusy());
    foldedTx = upToTx;
  };
  return { keeper, judge };
}

describe("a store that fails", () => {
  test("costs another attempt, and no alarm", async () => {
    applyRules(world.ledger, [hot()]);
    let [calls, well] = [0, 0];
    const failing = <T>(work: () => T): T => {
      calls += 1;
      // Of each attempt one call more goes well than of the one before.
      if (calls <= well) return work();
      throw new Error("the store is away");
    };
    const telemetry: Telemetry = {
      ...world.telemetry,
      read: async (...asked) => failing(() => world.telemetry.read(...asked)),
      readMany: async (...asked) => failing(() => world.telemetry.readMany(...asked)),
    };
    const writeAlarms: Ledger["writeAlarms"] = (...asked) => failing(() => world.ledger.writeAlarms(...asked));
    const { judge } = keeperAlone({ telemetry, ledger: { ...world.ledger, writeAlarms } });
    const insist = async (second: number): Promise<number> => {
      for (well = 0; well < 20; well += 1) {
        calls = 0;
        if (
          await judge(t0 + second * 1000).then(
            () => true,
            () => false,
          )
        )
          return well;
      }
      throw new Error("it never succeeded");
    };
    await store([...every(0, 60, 70), ...every(60, 120, 90)]);
    expect(await insist(121)).toBeGreaterThan(1);
    await store(every(120, 180, 90));
    expect(await insist(181)).toBeGreaterThan(0);
    await store([[85, 70], ...every(180, 240, 70)]);
    expect(await insist(300)).toBeGreaterThan(2);
    expect(told(world.ledger.alarms({ fromMs: 0, toMs: 1e15, limit: 99 }))).toEqual([
      ["returned_unacknowledged", "60-85", 85],
      ["returned_unacknowledged", "90-180", 180],
    ]);
  });
});

describe("work", () => {
  test("that is not done yet takes back nothing that time has said, and says nothing more", async () => {
    applyRules(world.ledger, [hot()]);
    const { judge } = keeperAlone();
    const kept = () => told(world.ledger.alarms({ fromMs: 0, toMs: 1e15, limit: 99 }));
    await store([[0, 85]]);
    await judge(t0 + 60_000);
    expect(kept()).toEqual([["unknown_unacknowledged", "0-30", ""]]);
    await store([[-5, 70]]);
    await judge(t0 + 61_000, true);
    expect(kept()).toEqual([["unknown_unacknowledged", "0-30", ""]]);
    await store([[200, 85]]);
    await judge(t0 + 900_000, true);
    expect(kept()).toEqual([["active_unacknowledged", "0-30", "200-", ""]]);
    await judge(t0 + 901_000);
    expect(kept()).toEqual([["unknown_unacknowledged", "0-30", "200-230", ""]]);
  });

  test("of a backlog in chunks is what the backlog brings, and judging all of it again changes nothing", async () => {
    applyRules(world.ledger, [hot({ onDelayMs: 20_000 })]);
    const { keeper, judge: judgeAt } = keeperAlone({ telemetry: counted() });
    const judge = () => judgeAt(t0 + 12 * hourMs);
    const value = (second: number) => (Math.floor(second / 700) % 3 === 0 ? 90 : 70);
    const all = every(0, 12 * 3600, 0).map(([second]) => [second, value(second)] as const);
    const backlog = all.filter(([second]) => second >= 3600 && second < 11 * 3600);
    await store(all.filter((reading) => !backlog.includes(reading)));
    await judge();
    [rowsRead, askedToMs] = [0, 0];
    for (let i = 0; i < backlog.length; i += 180) {
      await store(backlog.slice(i, i + 180));
      await judge();
    }
    expect(rowsRead).toBeLessThan(2 * backlog.length);
    // After the newest reading there is nothing: to ask for it is a look at all that is stored.
    expect(askedToMs).toBeLessThanOrEqual(t0 + 12 * hourMs);
    const kept = () => world.ledger.alarms({ fromMs: 0, toMs: 1e15, limit: 99 });
    const before = kept();
    const raised = before.filter(({ state }) => state !== "withdrawn").map(({ raisedMs }) => seconds(raisedMs));
    expect(raised).toEqual(Array.from({ length: 21 }, (_, n) => n * 2100 + 20).filter((second) => second < 12 * 3600));
    for (let hour = 0; hour < 12; hour += 1) {
      keeper.again(t0 + hour * hourMs, t0 + (hour + 1) * hourMs);
      await judge();
    }
    expect(kept()).toEqual(before);
  });
});
