import { describe, expect, it } from "vitest";
import { createPlant, type Plant } from "./plant.ts";
import { PROFILE_NAMES } from "./profiles.ts";
import { createRandom } from "./random.ts";
import type { Point } from "./register-map.ts";

const START_MS = Date.UTC(2026, 0, 5);
const HOUR_MS = 3_600_000;

const start = (profile: (typeof PROFILE_NAMES)[number] = "copper-casting", seed = 7): Plant =>
  createPlant({ profile, seed, startMs: START_MS });

function pointOf(plant: Plant, name: string): Point {
  const point = plant.map.points.find((candidate) => candidate.name === name);
  if (point === undefined) throw new Error(`no point ${name}`);
  return point;
}

describe.each(PROFILE_NAMES)("plant %s", (profile) => {
  it("has a truth that does not depend on how it was advanced", () => {
    const atOnce = start(profile);
    atOnce.advanceTo(START_MS + 2 * HOUR_MS);
    const bySteps = start(profile);
    const random = createRandom(1);
    for (let timeMs = START_MS; timeMs < START_MS + 2 * HOUR_MS; timeMs += random() % 5000) {
      bySteps.advanceTo(timeMs);
      bySteps.advanceTo(timeMs - 3000);
      bySteps.truth();
    }
    bySteps.advanceTo(START_MS + 2 * HOUR_MS);
    expect(bySteps.truth()).toEqual(atOnce.truth());
    expect(start(profile).truthAt(START_MS + 2 * HOUR_MS)).toEqual(atOnce.truth());
  });

  it("has feeders that sum exactly to the incoming meter, and total = good + scrap", () => {
    const plant = start(profile);
    for (let minute = 1; minute <= 240; minute++) {
      plant.advanceTo(START_MS + minute * 61_700);
      const feeders = (["feeder-1", "feeder-2", "feeder-3"] as const).map((name) =>
        plant.quantity(name, "energyImport"),
      );
      expect(feeders.reduce((a, b) => a + b, 0)).toBe(plant.quantity("incoming-meter", "energyImport"));
      for (const { production, initial, runningMs } of plant.machines) {
        expect(production.good + production.scrap).toBe(production.total);
        expect(production.passed).toBeLessThanOrEqual(production.inspected);
        expect(production.inspected).toBeLessThanOrEqual(production.total);
        expect(runningMs).toBeGreaterThan(initial.runningMs);
      }
    }
  });

  it("has energy that is the integral of power", () => {
    const plant = start(profile);
    let wattTicks = 0;
    for (let tick = 0; tick < 36_000; tick++) {
      plant.advanceTo(START_MS + tick * 100);
      // The power that a register shows at a tick's end was drawn during that tick, so it is summed behind it.
      if (tick > 0) wattTicks += plant.quantity("incoming-meter", "powerActive");
    }
    const [incoming] = plant.truth().meters;
    // W x 0.1 s in kWh is a 36 millionth.
    expect(incoming?.energySinceStartKWh).toBe((wattTicks / 36_000_000).toFixed(6));
    expect(wattTicks).toBeGreaterThan(0);
  });

  it("runs most of the time, rests, is set up, and rarely fails", () => {
    const plant = start(profile);
    plant.advanceTo(START_MS + 96 * HOUR_MS);
    for (const { msByState } of plant.machines) {
      expect(msByState.running / HOUR_MS).toBeGreaterThan(70);
      for (const state of ["idle", "setUp", "fault", "off"] as const) expect(msByState[state]).toBeGreaterThan(0);
      expect(msByState.fault / HOUR_MS).toBeLessThan(5);
      expect(Object.values(msByState).reduce((a, b) => a + b, 0)).toBe(96 * HOUR_MS);
    }
  });

  it("makes a piece every two seconds at least while it runs, and draws tens to hundreds of kW", () => {
    const plant = start(profile);
    const before = plant.machines.map(({ production }) => production.total);
    plant.advanceTo(START_MS + 60_000);
    for (const [i, machine] of plant.machines.entries()) {
      expect(machine.production.total - (before[i] ?? 0)).toBeGreaterThanOrEqual(30);
      expect(machine.powerW).toBeGreaterThan(30_000);
      expect(machine.powerW).toBeLessThan(999_000);
    }
  });

  it.each(["feeder-3/energy-import", "machine-1/inspection-inspected"])(
    "rolls %s over within a quarter of an hour",
    (name) => {
      const plant = start(profile);
      const point = pointOf(plant, name);
      const modulus = point.modulus ?? 0n;
      let last = plant.raw(point) as bigint;
      let rollovers = 0;
      let counted = 0n;
      const first = plant.quantity(point.device, point.signal);
      for (let second = 1; second <= 900; second++) {
        plant.advanceTo(START_MS + second * 1000);
        const raw = plant.raw(point) as bigint;
        expect(raw).toBeLessThan(modulus);
        if (raw < last) rollovers += 1;
        counted += (raw - last + modulus) % modulus;
        last = raw;
      }
      expect(rollovers).toBe(1);
      const units = point.signal === "energyImport" ? 100_000 : 1;
      const grown = plant.quantity(point.device, point.signal) / units;
      expect(Number(counted)).toBe(Math.floor(grown) - Math.floor(first / units));
    },
  );
});

describe("plant", () => {
  it("differs with the seed and the profile", () => {
    const totals = [start("copper-casting", 1), start("copper-casting", 2), start("copper-rolling", 1)].map((plant) => {
      plant.advanceTo(START_MS + HOUR_MS);
      return plant.truth().meters[0]?.energySinceStartKWh;
    });
    expect(new Set(totals).size).toBe(3);
  });

  it("shows registers between ticks as they stood at the last one", () => {
    const plant = start();
    plant.advanceTo(START_MS + 99.9);
    expect(plant.timeMs).toBe(START_MS);
    plant.advanceTo(START_MS + 1299);
    expect(plant.timeMs).toBe(START_MS + 1200);
  });

  it("restarts a counter's register at 0 while the truth goes on, and says so at any later time", () => {
    const plant = start();
    const point = pointOf(plant, "machine-2/production-total");
    plant.advanceTo(START_MS + 60_000);
    const before = plant.raw(point);
    expect(plant.resetCounter(point.name)).toEqual({ point: point.name, timeMs: START_MS + 60_000, finalRaw: before });
    expect(plant.raw(point)).toBe(0n);
    const total = plant.quantity("machine-2", "total");
    plant.advanceTo(START_MS + 120_000);
    expect(plant.raw(point)).toBe(BigInt(plant.quantity("machine-2", "total") - total));
    expect(plant.truth().resets).toHaveLength(1);
    expect(plant.truthAt(plant.timeMs)).toEqual(plant.truth());
    expect(plant.truthAt(START_MS + 30_000).resets).toEqual([]);
    expect(() => plant.resetCounter("machine-2/temperature")).toThrow(/no counter/);
  });

  it("refuses a seed or start that is no integer, an unknown profile, and times before its start", () => {
    expect(() => createPlant({ profile: "copper-casting", seed: 1.5, startMs: 0 })).toThrow(/seed/);
    expect(() => createPlant({ profile: "copper-casting", seed: 1, startMs: Number.NaN })).toThrow(/startMs/);
    expect(() => createPlant({ profile: "zinc" as "copper-casting", seed: 1, startMs: 0 })).toThrow(/zinc/);
    expect(() => start().truthAt(START_MS - 1)).toThrow(/before/);
  });

  it("advances twelve hours in well under a second", () => {
    const plant = start();
    const beganMs = performance.now();
    plant.advanceTo(START_MS + 12 * HOUR_MS);
    expect(performance.now() - beganMs).toBeLessThan(1000);
  });
});
