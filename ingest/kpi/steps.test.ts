import { isDeepStrictEqual } from "node:util";
import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { expect, test } from "vitest";
import { always } from "../test-world.ts";
import { createEngine, type EngineParts } from "./engine.ts";
import { leafKeeper } from "./leaves.ts";
import { seriesIndex } from "./series-index.ts";
import { born, clock, everything, settle, startOver, store, useWorld, world } from "./test-engine.ts";
import { plantRegistry } from "./test-plant.ts";

/** A fold that takes several ticks: what becomes of it between two of them. Midnight in Shanghai. */
const t0 = Date.UTC(2026, 10, 27, 16, 0);

useWorld(t0);

const ids = ["energy.electricity", "devices.online", "oee.availability"];
const setting = (parts: Partial<EngineParts> = {}): EngineParts => ({
  ...{ ...world, versions: always(plantRegistry()), clock, provisionalIntervalMs: 0, txPerTick: 1000 },
  catalogue: indicators.filter(({ id }) => ids.includes(id)),
  ...parts,
});

const meter = { group: "f2", node: "gw-1", device: "meter-1", metric: "e" };
const importing = { datatype: DataType.Double, role: "energy.import", unit: "kWh" };

/** A reading each hour. */
const hourly = (hours: number, value: (hour: number) => number | bigint) =>
  Array.from({ length: hours }, (_, hour) => [t0 + hour * hourMs, value(hour)] as const);

test("states that are folded with a later step make the figures that one step makes", async () => {
  // Two are folded together, and the third one after them.
  const hours = 13;
  const registry = plantRegistry();
  Object.assign(registry.devices.get("f2/gw-1/press-1")?.device ?? {}, { states: { running: [1] } });
  const fold = async (rowsPerTick: number) => {
    for (const [group, device] of [
      ["f1", "press-1"],
      ["f1", "press-2"],
      ["f2", "press-1"],
    ] as const) {
      const state = { datatype: DataType.Int32, role: "machine.state", heartbeatMs: hourMs };
      const series = await born({ group, node: "gw-1", device, metric: "s" }, state);
      await store(
        series,
        hourly(hours, (hour) => hour % 2),
      );
    }
    clock.set(t0 + hours * hourMs + 20 * minuteMs);
    const catalogue = indicators.filter(({ id }) => id === "oee.availability");
    const engine = await createEngine(setting({ rowsPerTick, versions: always(registry), catalogue }));
    let ticks = 0;
    for (let caughtUp = false; !caughtUp; ticks += 1) ({ caughtUp } = await engine.tick({ thorough: true }));
    await engine.close();
    return { ticks, figures: await everything() };
  };
  const whole = await fold(Number.POSITIVE_INFINITY);
  await startOver();
  const steps = await fold(1);
  expect(steps.ticks).toBeGreaterThan(whole.ticks + 1);
  const differing = [...whole.figures].filter(([id, says]) => !isDeepStrictEqual(says, steps.figures.get(id)));
  expect(differing.map(([id, says]) => [id, says, steps.figures.get(id)])).toEqual([]);
  expect(steps.figures.size).toBe(whole.figures.size);
});

test("what failed at the end of a fold is not vouched for while it is folded again", async () => {
  let isFull = true;
  const noteDue: Ledger["noteDue"] = (hours) => {
    if (isFull) throw new Error("disk is full");
    world.ledger.noteDue(hours);
  };
  const engine = await createEngine(setting({ rowsPerTick: 1, ledger: { ...world.ledger, noteDue } }));
  // Of minutes that have ended and are not final: no other figure waits for them.
  const minutes = Array.from({ length: 8 }, (_, m) => [t0 + m * minuteMs, m] as const);
  for (const group of ["f1", "f2"]) await store(await born({ ...meter, group }, importing), minutes);
  clock.set(t0 + 10 * minuteMs);
  const ticks = async () => {
    for (;;) await engine.tick({ thorough: true });
  };
  await expect(ticks()).rejects.toThrow("disk is full");
  isFull = false;
  for (let n = 0; n < 3; n += 1) {
    await engine.tick({ thorough: true });
    expect(world.ledger.getNumber("kpi.foldedTx")).toBe(0);
  }
  await settle(engine);
  await engine.close();
  expect(world.ledger.getNumber("kpi.foldedTx")).toBe(await world.telemetry.lastTx());
});

test("the present of every series is one step, however long its readings hold", async () => {
  const rows = Array.from({ length: 20 }, (_, m) => [t0 + m * minuteMs, m] as const);
  for (const device of ["a", "b", "c"]) {
    const place = { group: "f1", node: "gw-1", device };
    await store(await born({ ...place, metric: "e" }, { ...importing, heartbeatMs: hourMs }), rows);
    await store(await born({ ...place, metric: "s" }, { role: "machine.state", heartbeatMs: hourMs }), rows);
  }
  const index = seriesIndex(world.telemetry, always(plantRegistry()));
  await index.learn();
  const changed = await world.telemetry.changedMinutes(0, 99);
  const none = { onResets: () => undefined, onTouched: () => undefined };
  const keeper = leafKeeper({ telemetry: world.telemetry, index, fromTx: 0, ...none });
  const nowMs = t0 + 20 * minuteMs;
  expect((await keeper.begin(changed, 6)(nowMs, 20 * 6)).isDone).toBe(false);
  expect((await keeper.begin(changed, 6)(nowMs, index.presentRows())).isDone).toBe(true);
});
