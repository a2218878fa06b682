/**
 * A plant: three machines, a feeder meter for each and an incoming meter that is exactly their sum. Its truth depends on
 * (profile, seed, startMs, time) alone, never on how often or in what steps it was advanced.
 */
import { type RawValue, rawValue } from "./codec.ts";
import { createMachine, type Machine, stateCode, TICK_MS } from "./machine.ts";
import { PROFILE_NAMES, PROFILES, type ProfileName } from "./profiles.ts";
import { between, hash32 } from "./random.ts";
import type { DeviceName, Signal } from "./register-layout.ts";
import { type Point, type RegisterMap, registerMapOf } from "./register-map.ts";
import { describeTruth, type PlantTruth } from "./truth.ts";

const MILLI_WH_PER_KWH = 1_000_000;
const SLOT_MS = 1000;
const MAX_RESETS = 1000;

export type PlantOptions = {
  readonly profile: ProfileName;
  /** An integer; plants with different seeds have nothing in common but their layout. */
  readonly seed: number;
  /** Plant time at which the truth begins, in ms. */
  readonly startMs: number;
};

/** One restart at 0 of a counter register, as a meter exchange or a cleared PLC brings. */
export type CounterReset = { readonly point: string; readonly timeMs: number; readonly finalRaw: RawValue };

export type Plant = PlantOptions & {
  readonly map: RegisterMap;
  readonly machines: readonly Machine[];
  readonly resets: readonly CounterReset[];
  /** Plant time of the current values: the last whole tick of 100 ms. */
  readonly timeMs: number;
  /** Advances to a plant time. An earlier time changes nothing: a plant does not run backwards. */
  advanceTo(timeMs: number): void;
  /** True quantity in base units (see SIGNALS). Throws a RangeError where a device has no such quantity. */
  quantity(device: DeviceName, signal: Signal): number;
  /** The quantity that a point shows before its resolution: the true one, since the last reset of a counter. */
  counted(point: Pick<Point, "name" | "device" | "signal">): number;
  /** What the point's register holds now. */
  raw(point: Point): RawValue;
  /** Restarts a counter's register at 0; the truth goes on. Throws a RangeError if it is no counter of this plant. */
  resetCounter(pointName: string): CounterReset;
  /** Energy a meter had counted before the plant started, in mWh, and unwrapped by any modulus. */
  initialEnergyMilliWh(device: DeviceName): number;
  truth(): PlantTruth;
  /**
   * The truth at another time, found by running the plant again from its start, with its resets.
   * Throws a RangeError for a time before the start.
   */
  truthAt(timeMs: number): PlantTruth;
};

function initialEnergies(profile: ProfileName, seed: number): readonly number[] {
  const kWh = (salt: number): number => between(hash32(seed, salt), 100_000, 900_000);
  const third = PROFILES[profile].machines[2];
  // The third feeder's counter of six digits (99999.9 kWh) stands 500 to 700 s of running below its rollover: whoever starts to read it at leisure still sees it.
  const belowMilliWh = Math.floor((third.runningW * between(hash32(seed, 0x33), 500, 700)) / 3.6);
  return [kWh(0x11) * MILLI_WH_PER_KWH, kWh(0x22) * MILLI_WH_PER_KWH, 100_000 * MILLI_WH_PER_KWH - belowMilliWh];
}

type Reader = () => number;

function machineReaders(machine: Machine): Partial<Record<Signal, Reader>> {
  const { production } = machine;
  return {
    state: () => stateCode(machine.state),
    running: () => Number(machine.state === "running"),
    fault: () => Number(machine.state === "fault"),
    runningTime: () => machine.runningMs,
    total: () => production.total,
    good: () => production.good,
    scrap: () => production.scrap,
    rework: () => production.rework,
    inspected: () => production.inspected,
    passed: () => production.passed,
    temperature: () => machine.temperatureMilliC,
  };
}

/** The mains: each value follows from the second alone, so nothing has to be stepped. */
function gridReaders(seed: number, slot: () => number): Partial<Record<Signal, Reader>> {
  const drawn = (salt: number, min: number, max: number) => () => between(hash32(seed ^ salt, slot()), min, max);
  return {
    voltageL1: drawn(0x1111, 227_500, 234_500),
    voltageL2: drawn(0x2222, 227_500, 234_500),
    voltageL3: drawn(0x3333, 227_500, 234_500),
    frequency: drawn(0x5050, 49_950, 50_050),
  };
}

function meterReaders(
  machines: readonly Machine[],
  initialMilliWh: number,
  grid: Partial<Record<Signal, Reader>>,
): Partial<Record<Signal, Reader>> {
  const sum = (pick: (machine: Machine) => number) => machines.reduce((total, machine) => total + pick(machine), 0);
  const powerW = (): number => sum((machine) => machine.powerW);
  const reactiveVar = (): number => sum((machine) => machine.reactiveVar);
  const apparentVA = (): number => Math.sqrt(powerW() ** 2 + reactiveVar() ** 2);
  return {
    ...grid,
    energyImport: () => initialMilliWh + sum((machine) => machine.energyMilliWh),
    powerActive: powerW,
    powerReactive: reactiveVar,
    // Signed as many meters do: negative while capacitive.
    powerFactor: () => {
      const factor = apparentVA() === 0 ? 1000 : Math.round((1000 * powerW()) / apparentVA());
      return reactiveVar() < 0 ? -factor : factor;
    },
    current: () => Math.round((apparentVA() * 1_000_000) / (3 * (grid.voltageL1?.() ?? 230_000))),
  };
}

type PlantReaders = {
  readonly readers: ReadonlyMap<DeviceName, Partial<Record<Signal, Reader>>>;
  readonly initialEnergy: ReadonlyMap<DeviceName, number>;
};

function createReaders(
  energies: readonly number[],
  machines: readonly Machine[],
  grid: Partial<Record<Signal, Reader>>,
): PlantReaders {
  const incomingMilliWh = energies.reduce((a, b) => a + b, 0);
  const initialEnergy = new Map<DeviceName, number>([["incoming-meter", incomingMilliWh]]);
  const readers = new Map<DeviceName, Partial<Record<Signal, Reader>>>();
  readers.set("incoming-meter", meterReaders(machines, incomingMilliWh, grid));
  for (const [i, machine] of machines.entries()) {
    const feeder = `feeder-${i + 1}` as DeviceName;
    const feederMilliWh = energies[i] ?? 0;
    initialEnergy.set(feeder, feederMilliWh);
    readers.set(feeder, meterReaders([machine], feederMilliWh, grid));
    readers.set(`machine-${i + 1}` as DeviceName, machineReaders(machine));
  }
  return { readers, initialEnergy };
}

function truthAgain({ profile, seed, startMs, resets }: Plant, timeMs: number): PlantTruth {
  if (!(timeMs >= startMs)) throw new RangeError(`time ${timeMs} is before the plant's start ${startMs}`);
  const again = createPlant({ profile, seed, startMs });
  for (const reset of resets) {
    if (reset.timeMs > timeMs) break;
    again.advanceTo(reset.timeMs);
    again.resetCounter(reset.point);
  }
  again.advanceTo(timeMs);
  return again.truth();
}

/** Creates a plant at its start. Throws a TypeError or RangeError on an unknown profile, seed or time. */
export function createPlant({ profile, seed, startMs }: PlantOptions): Plant {
  const map = registerMapOf(profile);
  if (!Number.isSafeInteger(seed)) throw new RangeError(`seed must be an integer, found ${seed}`);
  if (!Number.isSafeInteger(startMs)) throw new RangeError(`startMs must be an integer of ms, found ${startMs}`);
  let ticks = 0;
  const plantSeed = hash32(seed, PROFILE_NAMES.indexOf(profile) + 1);
  const machines = PROFILES[profile].machines.map((machine, i) => createMachine(machine, i, hash32(plantSeed, i + 1)));
  const grid = gridReaders(plantSeed, () => Math.floor((ticks * TICK_MS) / SLOT_MS));
  const { readers, initialEnergy } = createReaders(initialEnergies(profile, plantSeed), machines, grid);
  const resets: CounterReset[] = [];
  const resetOffsets = new Map<string, number>();
  const plant: Plant = {
    profile,
    seed,
    startMs,
    map,
    machines,
    resets,
    get timeMs() {
      return startMs + ticks * TICK_MS;
    },
    advanceTo(timeMs) {
      const step = Math.floor((timeMs - startMs) / TICK_MS) - ticks;
      if (!(step > 0)) return;
      for (const machine of machines) machine.advance(step);
      ticks += step;
    },
    quantity(device, signal) {
      const read = readers.get(device)?.[signal];
      if (read === undefined) throw new RangeError(`${device} has no quantity ${signal}`);
      return read();
    },
    counted({ name, device, signal }) {
      return plant.quantity(device, signal) - (resetOffsets.get(name) ?? 0);
    },
    raw(point) {
      return rawValue(point, plant.counted(point));
    },
    resetCounter(pointName) {
      const point = map.points.find((candidate) => candidate.name === pointName);
      if (point?.counter !== true) throw new RangeError(`${pointName} is no counter of ${profile}`);
      if (resets.length >= MAX_RESETS) throw new RangeError(`no more than ${MAX_RESETS} resets in a plant's life`);
      const reset = { point: pointName, timeMs: plant.timeMs, finalRaw: plant.raw(point) };
      resetOffsets.set(pointName, plant.quantity(point.device, point.signal));
      resets.push(reset);
      return reset;
    },
    initialEnergyMilliWh: (device) => initialEnergy.get(device) ?? 0,
    truth: () => describeTruth(plant),
    truthAt: (timeMs) => truthAgain(plant, timeMs),
  };
  return plant;
}
