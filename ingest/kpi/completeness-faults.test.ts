import { accountMetric, noCounts } from "@jilian/domain/account.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { describe, expect, test } from "vitest";
import type { EngineParts } from "./engine.ts";
import { both, changes, engineOf, every10s, figure, store, sums, t0, tell, until } from "./test-completeness.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

useWorld(t0);

describe("accounts and the counts that belong to them take effect together", () => {
  test("an outage whose backlog arrives whole makes one revision, and nothing is missing in between", async () => {
    const engine = await engineOf({ txPerTick: 100 });
    await both(t0 - minuteMs, t0 + 10 * minuteMs);
    await tell(t0 + 10 * minuteMs, t0, { queued: 60 });
    clock.set(t0 + hourMs + 16 * minuteMs);
    await settle(engine);
    const { last } = world.ledger.changeLog();
    await both(t0 + 10 * minuteMs, t0 + hourMs + minuteMs);
    await tell(t0 + hourMs, t0, { queued: 360 });
    const missing: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      await engine.tick();
      missing.push(sums()[0]?.missing ?? Number.NaN);
    }
    await settle(engine);
    expect(changes(last)).toEqual([{ status: "revised", revision: 1, completeness: 1 }]);
    expect(missing).toEqual([0, 0, 0]);
    expect(sums()).toMatchObject([{ stored: 6 }, { queued: 360, stored: 360 }, {}]);
  });

  test("a loss that is in the ledger when the engine is killed is in the figure of the next one", async () => {
    let engine = await engineOf();
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
    await tell(t0 + hourMs, t0, { queued: 360 });
    clock.set(t0 + hourMs + 16 * minuteMs);
    await settle(engine);
    await tell(t0 + hourMs + 1, t0, { queued: 480, droppedFull: 120 });
    // It folds and counts, and is killed before it publishes: the ledger refuses the results.
    const ledger = {
      ...world.ledger,
      writeResults: () => {
        throw new Error("killed");
      },
    };
    engine = await engineOf({ ledger });
    await expect(engine.tick()).rejects.toThrow("killed");
    expect(world.ledger.lossyHours(t0, t0 + hourMs)).toMatchObject([{ queued: 480, stored: 360 }]);
    // As if everything were vouched for: nothing is folded again.
    world.ledger.setNumber("kpi.foldedTx", await world.telemetry.lastTx());
    await settle(await engineOf());
    expect(figure()).toMatchObject({ status: "revised", revision: 1, completeness: 0.875 });
    expect(world.ledger.differingHours()).toEqual([]);
  });

  test("an account that is folded and not counted when the engine is killed is counted by the next one", async () => {
    const countSamples = () => Promise.reject(new Error("not now"));
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
    await tell(t0 + hourMs, t0, { queued: 480, droppedFull: 120 });
    clock.set(t0 + hourMs + 16 * minuteMs);
    const engine = await engineOf({ telemetry: { ...world.telemetry, countSamples } });
    await settle(engine);
    expect(figure()).toMatchObject({ status: "final", completeness: 1 });
    expect(world.ledger.getNumber("kpi.foldedTx")).toBe(await world.telemetry.lastTx());
    await settle(await engineOf());
    expect(figure()).toMatchObject({ status: "revised", completeness: 0.875 });
  });
});

describe("nothing waits for counts", () => {
  test("that fail: hours become final, progress is noted, and it is told once a minute", async () => {
    const failures: unknown[] = [];
    const countSamples = () => Promise.reject(new Error("no answer within 30000 ms"));
    const telemetry = { ...world.telemetry, countSamples };
    const engine = await engineOf({ telemetry, onCountFailed: (error) => failures.push(error) });
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
    clock.set(t0 + hourMs + 16 * minuteMs);
    for (let i = 0; i < 4; i += 1) await engine.tick();
    expect(figure()).toMatchObject({ status: "final", completeness: 1 });
    expect(world.ledger.getNumber("kpi.foldedTx")).toBe(await world.telemetry.lastTx());
    expect(failures).toHaveLength(1);
  });

  test("that hang: they go on by themselves, and their result counts when it comes", async () => {
    const held = Promise.withResolvers<void>();
    const countSamples: EngineParts["telemetry"]["countSamples"] = async (...asked) => {
      await held.promise;
      return await world.telemetry.countSamples(...asked);
    };
    const engine = await engineOf({ telemetry: { ...world.telemetry, countSamples }, countPatienceMs: 20 });
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
    await tell(t0 + hourMs, t0, { queued: 480, droppedFull: 120 });
    clock.set(t0 + hourMs + 16 * minuteMs);
    for (let i = 0; i < 4; i += 1) await engine.tick();
    expect(figure()).toMatchObject({ status: "final", completeness: 1 });
    expect(world.ledger.getNumber("kpi.foldedTx")).toBe(await world.telemetry.lastTx());
    // While it hangs the gateway tells more: what was counted before that is not set against it.
    await tell(t0 + hourMs + 1, t0, { queued: 600, droppedFull: 240 });
    await engine.tick();
    held.resolve();
    await settle(engine);
    expect(figure()).toMatchObject({ status: "revised", revision: 1, completeness: 0.8 });
    await engine.close();
  });

  test("an account that comes while its hour is counted is set against the next count, not against this one", async () => {
    const counted = Promise.withResolvers<void>();
    const countSamples: EngineParts["telemetry"]["countSamples"] = async (...asked) => {
      const found = await world.telemetry.countSamples(...asked);
      await counted.promise;
      return found;
    };
    const engine = await engineOf({ telemetry: { ...world.telemetry, countSamples }, countPatienceMs: 200 });
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
    await tell(t0 + hourMs, t0, { queued: 360 });
    clock.set(t0 + hourMs + 16 * minuteMs);
    await engine.tick();
    const { last } = world.ledger.changeLog();
    await store(Array.from({ length: 40 }, (_, i) => [t0 + 5 + i * 10_000, i / 10]));
    await tell(t0 + hourMs + 1, t0, { queued: 400 });
    await engine.tick();
    counted.resolve();
    // Counting rests now: what this count says is what these looks see.
    for (let i = 0; i < 5; i += 1) await engine.tick();
    await settle(engine);
    expect(changes(last).filter(({ completeness }) => completeness !== 1)).toEqual([]);
    expect(sums()[1]).toMatchObject({ queued: 400, stored: 400 });
  });

  test("progress advances with every look, whatever comes in", async () => {
    const engine = await engineOf();
    for (let i = 0; i < 5; i += 1) {
      clock.set(t0 + i * minuteMs);
      await store([[clock.now(), i]]);
      await engine.tick();
      // What the open minute holds is not vouched for.
      expect(world.ledger.getNumber("kpi.foldedTx") ?? 0).toBe(i);
    }
  });

  test("an absurd account is a finding, told seldom; honest ones beside it, and later hours, go on", async () => {
    const engine = await engineOf();
    const absurd = { ...noCounts, hourMs: t0, gapMs: {}, queued: Number.MAX_SAFE_INTEGER };
    // As another program would write it: a gateway's own encoder keeps to the bounds.
    const text = JSON.stringify({ v: 1, hour: t0, part: "0000000b", queued: absurd.queued });
    await tell(t0 + 1, t0, { queued: 7 }, "meter-2");
    await both(t0 - minuteMs, t0 + hourMs + minuteMs);
    clock.set(t0 + hourMs + 16 * minuteMs);
    for (let i = 0; i < 5; i += 1) {
      await store([[t0 + 2 + i, text]], accountMetric, "meter-2");
      await engine.tick();
    }
    await settle(engine);
    expect(figure()).toMatchObject({ status: "final", completeness: 1 });
    expect(sums("f2/gw-1/meter-2")[1]).toMatchObject({ queued: 7, stored: 360 });
    expect(world.ledger.findings(9)).toMatchObject([{ code: "ACCOUNT_INVALID", count: 1 }]);
  });
});

describe("what is counted when", () => {
  test("old hours only of the devices that wait; the open hour no more often than accounts come", async () => {
    const asked: { series: number; fromMs: number; hours: number }[] = [];
    const countSamples: EngineParts["telemetry"]["countSamples"] = async (series, fromMs, toMs) => {
      asked.push({ series: series.length, fromMs, hours: (toMs - fromMs) / hourMs });
      return await world.telemetry.countSamples(series, fromMs, toMs);
    };
    clock.set(t0 + minuteMs);
    const engine = await engineOf({ telemetry: { ...world.telemetry, countSamples } });
    await both(t0, t0 + minuteMs);
    await engine.tick();
    expect(asked.splice(0)).toEqual([{ series: 2, fromMs: t0, hours: 1 }]);
    // One late device: its hours alone, together.
    await store(every10s(t0 - 5 * hourMs, t0 - 3 * hourMs));
    await both(t0 + minuteMs, t0 + 2 * minuteMs);
    clock.set(t0 + 2 * minuteMs);
    await until(async () => {
      await engine.tick();
      return asked.length > 0;
    });
    expect(asked.splice(0)).toEqual([{ series: 1, fromMs: t0 - 5 * hourMs, hours: 2 }]);
    clock.set(t0 + 6 * minuteMs);
    await until(async () => {
      await engine.tick();
      return asked.length > 0;
    });
    expect(asked).toEqual([{ series: 2, fromMs: t0, hours: 1 }]);
  });
});
