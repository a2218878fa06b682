/** What a plant truly did, in a form that tests and people compare figures with. */
import type { RawValue } from "./codec.ts";
import { MACHINE_STATES, type MachineState, type Production } from "./machine.ts";
import { type VariableValue, variableValues } from "./opcua-map.ts";
import type { CounterReset, Plant } from "./plant.ts";
import type { ProfileName } from "./profiles.ts";
import type { DeviceName } from "./register-layout.ts";

export type MeterTruth = {
  readonly kind: "meter";
  readonly device: DeviceName;
  readonly unitId: number;
  /** Unwrapped reading, unaffected by rollovers and resets: an exact decimal with six digits. */
  readonly energyKWh: string;
  readonly energySinceStartKWh: string;
  readonly powerW: number;
};

export type MachineTruth = {
  readonly kind: "machine";
  readonly device: DeviceName;
  readonly unitId: number;
  readonly state: MachineState;
  readonly stateCode: number;
  /** Counts as the PLC began with them, unwrapped. */
  readonly production: Readonly<Production>;
  readonly productionSinceStart: Readonly<Production>;
  readonly msByState: Readonly<Record<MachineState, number>>;
  readonly temperatureMilliC: number;
};

export type PlantTruth = {
  readonly simulated: true;
  readonly profile: ProfileName;
  readonly seed: number;
  readonly startMs: number;
  readonly timeMs: number;
  readonly meters: readonly MeterTruth[];
  readonly machines: readonly MachineTruth[];
  /** Raw value of every point's register now, by point name. */
  readonly registers: Readonly<Record<string, RawValue>>;
  /** Value of every OPC UA variable now, by point name; good ones, whatever fault stands before them. */
  readonly variables: Readonly<Record<string, VariableValue>>;
  readonly resets: readonly CounterReset[];
};

/** mWh as an exact decimal string of kWh. */
export function formatKWh(milliWh: number): string {
  const digits = Math.abs(milliWh).toString().padStart(7, "0");
  return `${milliWh < 0 ? "-" : ""}${digits.slice(0, -6)}.${digits.slice(-6)}`;
}

function describeMachine(plant: Plant, index: number): MachineTruth | undefined {
  const machine = plant.machines[index];
  const map = plant.map.devices.find((device) => device.device === `machine-${index + 1}`);
  if (machine === undefined || map === undefined) return undefined;
  const { production, initial } = machine;
  return {
    kind: "machine",
    device: map.device,
    unitId: map.unitId,
    state: machine.state,
    stateCode: MACHINE_STATES[machine.state],
    production: { ...production },
    productionSinceStart: {
      total: production.total - initial.production.total,
      good: production.good - initial.production.good,
      scrap: production.scrap - initial.production.scrap,
      rework: production.rework - initial.production.rework,
      inspected: production.inspected - initial.production.inspected,
      passed: production.passed - initial.production.passed,
    },
    msByState: { ...machine.msByState },
    temperatureMilliC: machine.temperatureMilliC,
  };
}

/** The truth of a plant at the time it stands at. A copy: it does not change as the plant goes on. */
export function describeTruth(plant: Plant): PlantTruth {
  const meters = plant.map.devices.filter((device) => !device.device.startsWith("machine"));
  return {
    simulated: true,
    profile: plant.profile,
    seed: plant.seed,
    startMs: plant.startMs,
    timeMs: plant.timeMs,
    meters: meters.map(({ device, unitId }) => {
      const energyMilliWh = plant.quantity(device, "energyImport");
      return {
        kind: "meter",
        device,
        unitId,
        energyKWh: formatKWh(energyMilliWh),
        energySinceStartKWh: formatKWh(energyMilliWh - plant.initialEnergyMilliWh(device)),
        powerW: plant.quantity(device, "powerActive"),
      };
    }),
    machines: plant.machines
      .map((_, index) => describeMachine(plant, index))
      .filter((machine) => machine !== undefined),
    registers: Object.fromEntries(plant.map.points.map((point) => [point.name, plant.raw(point)])),
    variables: variableValues(plant),
    resets: [...plant.resets],
  };
}
