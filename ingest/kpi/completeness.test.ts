import { type Account, accountMetric, encodeAccount, noCounts } from "@jilian/domain/account.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { LoggedResult } from "@jilian/store/ledger.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ManualClock, manualClock, openWorld, testRegistry, type World } from "../test-world.ts";
import { createEngine, type Engine } from "./engine.ts";

/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const meter = "f2/gw-1/meter-1";

let world: World;
let clock: ManualClock;
beforeEach(async () => {
  world = await openWorld();
  clock = manualClock(t0);
});
afterEach(() => world.end());

const engineOf = (): Promise<Engine> =>
  createEngine({ ...world, registry: testRegistry(false), clock, provisionalIntervalMs: 0, txPerTick: 3 });

async function settle(engine: Engine): Promise<void> {
  while (!(await engine.tick({ thorough: true })).caughtUp);
}

async function seriesOf(metric: string, device = "meter-1"): Promise<number> {
  const definition =
    metric === accountMetric
      ? { name: metric, datatype: DataType.String, simulated: false }
      : { name: metric, datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false };
  const [series = 0] = await world.telemetry.ensureSeries([{ group: "f2", node: "gw-1", device, metric, definition }]);
  return series;
}

/** Stores samples of a metric in one transaction. */
async function store(rows: readonly (readonly [number, number | string])[], metric = "energy", device?: string) {
  const series = await seriesOf(metric, device);
  const samples = rows.map(([sourceTimeMs, value]) => {
    return { series, sourceTimeMs, value, status: 0, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
  });
  await world.telemetry.write({ samples, commits: [] });
}

function account(hour: number, counts: Partial<Account>): string {
  return encodeAccount({ ...noCounts, hourMs: hour, part: "0000000a", gapMs: {}, ...counts });
}
const tell = (atMs: number, hour: number, counts: Partial<Account>, device?: string) =>
  store([[atMs, account(hour, counts)]], accountMetric, device);

/** 0.1 kWh every ten seconds. */
const every10s = (fromMs: number, toMs: number) =>
  Array.from(
    { length: (toMs - fromMs) / 10_000 },
    (_, i) => [fromMs + i * 10_000, (fromMs - t0) / 100_000 + i / 10] as const,
  );

const sums = (device = meter) =>
  world.ledger.completeness({
    members: [{ device, entity: device }],
    period: "hour",
    fromMs: t0 - 24 * hourMs,
    toMs: t0 + 24 * hourMs,
  });

function figure(indicator = "energy.electricity", startMs = t0): LoggedResult {
  const found = world.ledger.readResult({ indicator, level: "factory", entity: "f2", period: "hour", startMs });
  return found ?? expect.fail(`no ${indicator}`);
}

describe("the ledger", () => {
  test("polled, suppressed, queued, dropped and stored of each hour, whatever the order of arrival and the restarts", async () => {
    const counts = { scheduled: 400, answered: 390, polled: 390, suppressed: 20, queued: 370, droppedFull: 8 };
    const parts: (() => Promise<void>)[] = [
      () => store(every10s(t0, t0 + 20 * minuteMs)),
      () => tell(t0 + 30 * minuteMs, t0, { queued: 100, scheduled: 120 }),
      () => store(every10s(t0 + 20 * minuteMs, t0 + 60 * minuteMs)),
      () => tell(t0 + hourMs, t0, counts),
      () => store(every10s(t0 + hourMs, t0 + hourMs + 5 * minuteMs)),
      () => store([[t0 + 1, 0]]),
      // Late, and of another hour than its own source time.
      () => tell(t0 + hourMs + 1, t0 - hourMs, { scheduled: 7, gapMs: { GATEWAY_DOWN: 7000 } }),
      () => store(every10s(t0 + 10 * minuteMs, t0 + 30 * minuteMs)),
    ];
    clock.set(t0 + hourMs + 10 * minuteMs);
    const expected = [
      { startMs: t0 - hourMs, accounted: 1, scheduled: 7, stored: 0, gapMs: { GATEWAY_DOWN: 7000 } },
      { startMs: t0, accounted: 1, ...counts, stored: 361, missing: 1, uncounted: 0, accountMs: t0 + hourMs },
      { startMs: t0 + hourMs, accounted: 0, queued: 0, stored: 30, missing: 0 },
    ];
    let engine = await engineOf();
    for (const part of parts) {
      await part();
      await settle(engine);
    }
    expect(sums()).toMatchObject(expected);
    const whole = sums();
    await world.end();
    world = await openWorld();
    engine = await engineOf();
    for (const part of [...parts].reverse()) {
      await part();
      await engine.tick();
      await engine.close();
      engine = await engineOf();
    }
    await settle(engine);
    expect(sums()).toEqual(whole);
  });

  test("what is stored before the engine has a ledger of it counts as well, and an account that cannot be read is a finding", async () => {
    await store(every10s(t0, t0 + minuteMs));
    await store(
      [
        [t0 + 5, "{}"],
        [t0 + 6, account(t0, { queued: 6 })],
        [t0 + 7, "no account"],
      ],
      accountMetric,
    );
    clock.set(t0 + 2 * minuteMs);
    await settle(await engineOf());
    expect(sums()).toMatchObject([{ startMs: t0, queued: 6, stored: 6, missing: 0, uncounted: 0 }]);
    expect(world.ledger.findings(9)).toMatchObject([{ code: "ACCOUNT_INVALID", subject: meter }]);
  });

  test("an account keeps no device online and counts as no reading", async () => {
    await tell(t0 + 1000, t0, { scheduled: 1 }, "meter-2");
    await tell(t0 + 2000, t0, { scheduled: 2 });
    await store([[t0 + 3000, 1]]);
    clock.set(t0 + 2 * minuteMs);
    await settle(await engineOf());
    expect(figure("devices.online").value).toBe("1");
    expect(sums("f2/gw-1/meter-2")).toMatchObject([{ scheduled: 1, stored: 0 }]);
    expect(sums()).toMatchObject([{ stored: 1 }]);
  });
});

describe("completeness of figures", () => {
  /** The second meter gives all the time as well, so that the factory's figure has both. */
  async function hourOfBoth(): Promise<void> {
    await store(every10s(t0 - minuteMs, t0 + hourMs + minuteMs));
    await store(every10s(t0 - minuteMs, t0 + hourMs + minuteMs), "energy", "meter-2");
  }

  test("is the time that readings cover, at most the share that is stored; the value stays", async () => {
    const engine = await engineOf();
    await hourOfBoth();
    await tell(t0 + hourMs, t0, { queued: 360 });
    clock.set(t0 + hourMs + 2 * minuteMs);
    await settle(engine);
    const before = figure();
    expect(before).toMatchObject({ completeness: 1, status: "provisional" });
    await tell(t0 + hourMs + 1, t0, { queued: 480, droppedFull: 120 });
    await settle(engine);
    // Three quarters of one of two meters.
    expect(figure()).toMatchObject({ completeness: 0.875, value: before.value });
    expect(figure("carbon.electricity").completeness).toBe(0.875);
    const day = { indicator: "energy.electricity", level: "factory", entity: "f2", period: "day" } as const;
    const ofDay = world.ledger.readResult({ ...day, startMs: t0 - 10 * hourMs });
    // Of ten hours and two minutes a little more than one is covered, less a quarter of an hour of one of two meters.
    expect(ofDay?.completeness).toBeLessThan(0.11);
  });

  test("of what is final changes only when something is missing or was dropped, and is a revision then", async () => {
    const engine = await engineOf();
    await hourOfBoth();
    await tell(t0 + hourMs, t0, { queued: 300, scheduled: 360 });
    clock.set(t0 + hourMs + 16 * minuteMs);
    await settle(engine);
    expect(figure()).toMatchObject({ status: "final", revision: 0, completeness: 1 });
    const { last } = world.ledger.changeLog();
    await tell(t0 + hourMs + 1, t0, { queued: 360, scheduled: 3600, answered: 5, gapMs: { MODBUS_TIMEOUT: 9 } });
    await tell(t0 + hourMs + 2, t0, { queued: 360, scheduled: 3601 });
    await settle(engine);
    expect(
      world.ledger.changesAfter(last, 99).filter(({ startMs, period }) => startMs === t0 && period === "hour"),
    ).toEqual([]);
    await tell(t0 + hourMs + 3, t0, { queued: 400 });
    await settle(engine);
    expect(figure()).toMatchObject({ status: "revised", revision: 1, completeness: 0.95 });
    // What was on its way has come: late readings between those that are there.
    await store(Array.from({ length: 40 }, (_, i) => [t0 + 5 + i * 10_000, i / 10]));
    await settle(engine);
    expect(figure()).toMatchObject({ status: "revised", revision: 2, completeness: 1 });
  });
});
