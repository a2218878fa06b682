import type { Indicator, IndicatorVersion } from "@jilian/domain/indicators/definition.ts";
import { devicesOnline } from "@jilian/domain/indicators/devices-online.ts";
import { countFigure, devicesOf } from "@jilian/domain/indicators/parts.ts";
import { dayMs, hourMs, minuteMs, periodStart, watermarkMs } from "@jilian/domain/periods.ts";
import { afterEach, describe, expect, test } from "vitest";
import { noteDefinitions } from "./definitions.ts";
import type { Engine } from "./engine.ts";
import { engineOf, figure, store, t0 } from "./test-completeness.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

/** A definition of two versions: devices that were not online, then those in tenths of their time. */
const first: IndicatorVersion = {
  ...devicesOnline,
  id: "devices.silent",
  figure: (of) => countFigure(devicesOf(of).filter(({ onlineMs }) => onlineMs === 0).length),
};
const second: Indicator = {
  ...first,
  version: 2,
  figure: (of) => countFigure(devicesOf(of).reduce((n, { onlineMs }) => n + (onlineMs < of.elapsedMs ? 10 : 0), 0)),
  earlier: [first],
};

let engine: Engine;
useWorld(t0);
afterEach(() => engine.close());

/** Starts the engine of a release. */
async function release(indicator: Indicator): Promise<void> {
  engine = await engineOf({ catalogue: [indicator] });
}

async function upgrade(indicator: Indicator): Promise<void> {
  await engine.close();
  await release(indicator);
}

const silent = (startMs: number) => figure("devices.silent", startMs);
const ofDay = () =>
  world.ledger.readResult({
    ...{ indicator: "devices.silent", level: "factory", entity: "f2", period: "day" },
    startMs: periodStart("day", t0),
  });

describe("a period uses the version of a definition in force at its end", () => {
  test("and keeps it through late data, a restart and a recompute; what runs has the new one", async () => {
    await release(first);
    await store([[t0 + minuteMs, 1]]);
    clock.set(t0 + hourMs + watermarkMs);
    await settle(engine);
    // Of f2's three devices two said nothing.
    expect(silent(t0)).toMatchObject({ value: "2", definitionVersion: 1, status: "final", revision: 0 });
    expect(ofDay()).toMatchObject({ value: "2", definitionVersion: 1, status: "provisional" });
    const upgradedMs = clock.now() + 5 * minuteMs;
    clock.set(upgradedMs);
    await upgrade(second);
    await settle(engine);
    expect(silent(t0)).toMatchObject({ value: "2", definitionVersion: 1, revision: 0 });
    // The hour of the upgrade and the day go on under the new one.
    expect(silent(t0 + hourMs)).toMatchObject({ value: "30", definitionVersion: 2, status: "provisional" });
    expect(ofDay()).toMatchObject({ value: "30", definitionVersion: 2 });
    await store([[t0 + 2 * minuteMs, 3]], "energy", "meter-2");
    await settle(engine);
    expect(silent(t0)).toMatchObject({ value: "1", definitionVersion: 1, status: "revised", revision: 1 });
    await upgrade(second);
    world.ledger.addRecompute({ fromMs: t0 - hourMs, toMs: upgradedMs, reason: "test" }, clock.now());
    world.ledger.setNumber("kpi.foldedTx", 0);
    await settle(engine);
    expect(silent(t0)).toMatchObject({ value: "1", definitionVersion: 1, revision: 1 });
    clock.set(t0 + dayMs);
    await settle(engine);
    expect(silent(t0 + hourMs)).toMatchObject({ value: "30", definitionVersion: 2, status: "final" });
    expect(world.ledger.definitionVersions()).toEqual([
      { indicator: "devices.silent", version: 1, fromMs: 0 },
      { indicator: "devices.silent", version: 2, fromMs: upgradedMs },
    ]);
  });

  test("in a ledger of before: what made its figures was in force since ever", async () => {
    const { ledger } = world;
    await release(first);
    clock.set(t0 + minuteMs);
    await settle(engine);
    expect(ledger.figureVersions()).toEqual([{ indicator: "devices.silent", version: 1 }]);
    const noted: Parameters<typeof ledger.addDefinitionVersion>[0][] = [];
    const older = {
      ...{ transaction: ledger.transaction, figureVersions: ledger.figureVersions },
      definitionVersions: () => noted,
      addDefinitionVersion: (one: (typeof noted)[number]) => void noted.push(one),
    };
    noteDefinitions(older, [second, { ...second, id: "devices.new" }], 7000);
    expect(noted).toEqual([
      { indicator: "devices.silent", version: 1, fromMs: 0 },
      { indicator: "devices.silent", version: 2, fromMs: 7000 },
      // Of an indicator without figures no earlier version was ever used here.
      { indicator: "devices.new", version: 2, fromMs: 0 },
    ]);
    noteDefinitions(older, [second], 9000);
    expect(noted).toHaveLength(3);
    // An older release, and the newer one again.
    noteDefinitions(older, [first], 11_000);
    noteDefinitions(older, [second], 12_000);
    expect(noted.slice(3).map(({ version, fromMs }) => [version, fromMs])).toEqual([
      [1, 11_000],
      [2, 12_000],
    ]);
  });
});
