import { accountMetric } from "@jilian/domain/account.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { describe, expect, test } from "vitest";
import { account, both, engineOf, every10s, figure, meter, store, sums, t0, tell } from "./test-completeness.ts";
import { clock, settle, startOver, useWorld, world } from "./test-engine.ts";

useWorld(t0);

describe("the ledger", () => {
  test("polled, suppressed, queued, dropped and stored of each hour, whatever the order of arrival and the restarts", {
    timeout: 60_000,
  }, async () => {
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
    await startOver();
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
  test("is the time that readings cover, at most the share that is stored; the value stays", async () => {
    const engine = await engineOf();
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
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
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
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

  test("an account after an hour is final revises the rates that count its polls and nothing else, to what is made anew", async () => {
    const engine = await engineOf();
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
    const read = { queued: 360, polled: 360, answered: 360 };
    await tell(t0 + hourMs, t0, { ...read, scheduled: 360 });
    clock.set(t0 + hourMs + 16 * minuteMs);
    await settle(engine);
    expect(figure("data.collection_rate")).toMatchObject({ value: "1", status: "final", revision: 0 });
    const { last } = world.ledger.changeLog();
    // Its gateway had been down for a while, and tells it late: nothing is missing, but polls were due.
    await tell(t0 + hourMs + 1, t0, { ...read, scheduled: 500 });
    await settle(engine);
    const rate = { value: "0.72", status: "revised", revision: 1 };
    expect(figure("data.collection_rate")).toMatchObject(rate);
    const changed = world.ledger.changesAfter(last, 999).filter((r) => r.startMs === t0 && r.period === "hour");
    expect(new Set(changed.map(({ indicator }) => indicator))).toEqual(
      new Set(["data.collection_rate", "devices.effective"]),
    );
    await engine.close();
    world.ledger.setNumber("kpi.foldedTx", 0);
    await settle(await engineOf());
    expect(figure("data.collection_rate")).toMatchObject(rate);
  });
});
