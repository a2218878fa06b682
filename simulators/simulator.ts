/** Simulated plants behind their Modbus TCP servers, started together and closed together. */
import type { ActiveFault, FaultSpec } from "./faults.ts";
import { type ModbusServer, type ModbusServerOptions, startModbusServer } from "./modbus-server.ts";
import { type CounterReset, createPlant } from "./plant.ts";
import type { ProfileName } from "./profiles.ts";
import type { RegisterMap } from "./register-map.ts";
import type { ModbusServerStats } from "./responder.ts";
import type { ServedFilter, ServedRead, ServedValue } from "./served-log.ts";
import type { PlantTruth } from "./truth.ts";

export type SimulatedPlantOptions = {
  /** Name in the control interface, unique in the simulator. Default: `<profile>-<seed>`. */
  readonly id?: string;
  readonly profile: ProfileName;
  readonly seed: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: a free port. */
  readonly port?: number;
  /** Plant time at which the truth begins. Default: `now()` at the start. */
  readonly startMs?: number;
};

export type SimulatorOptions = Pick<
  ModbusServerOptions,
  "realNow" | "unknownUnits" | "maxServedReads" | "maxConnections"
> & {
  readonly plants: readonly SimulatedPlantOptions[];
  /** Plant clock in ms, for example `Date.now` or one made by `scaledNow`. */
  readonly now: () => number;
};

export type PlantHandle = {
  readonly id: string;
  readonly profile: ProfileName;
  readonly seed: number;
  readonly startMs: number;
  readonly host: string;
  readonly port: number;
  readonly registerMap: RegisterMap;
  /** Truth at the plant clock's now. */
  truth(): PlantTruth;
  /** Truth at a plant time. Throws a RangeError before the start or after now. */
  truthAt(timeMs: number): PlantTruth;
  /** Raw values that left the server, in order: one entry for each point that a read covered whole. */
  served(filter?: ServedFilter): ServedValue[];
  /** Answered reads that left the server, in order. */
  servedReads(filter?: ServedFilter): ServedRead[];
  stats(): Readonly<ModbusServerStats>;
  startFault(spec: FaultSpec): Promise<ActiveFault | CounterReset>;
  clearFaults(id?: number): Promise<number>;
  faults(): readonly ActiveFault[];
};

export type Simulator = {
  readonly ports: readonly number[];
  readonly plants: readonly PlantHandle[];
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * A plant clock that runs `rate` times as fast as the real one, in whole ms: at the real time `startedRealMs` it shows
 * `originMs`. Simulators given the same three numbers agree on plant time, in whatever process they run.
 */
export function scaledNow(options: {
  readonly rate: number;
  readonly originMs: number;
  readonly startedRealMs: number;
  readonly realNow?: () => number;
}): () => number {
  const { rate, originMs, startedRealMs, realNow = Date.now } = options;
  if (!(rate > 0) || !Number.isFinite(rate)) throw new RangeError(`rate must be a number above 0, found ${rate}`);
  return () => Math.floor(originMs + (realNow() - startedRealMs) * rate);
}

function createHandle(id: string, server: ModbusServer, now: () => number): PlantHandle {
  const { plant, served } = server;
  return {
    id,
    profile: plant.profile,
    seed: plant.seed,
    startMs: plant.startMs,
    host: server.host,
    port: server.port,
    registerMap: plant.map,
    truth() {
      plant.advanceTo(now());
      return plant.truth();
    },
    truthAt(timeMs) {
      const nowMs = now();
      if (timeMs > nowMs) throw new RangeError(`time ${timeMs} is after the plant's now ${nowMs}`);
      return plant.truthAt(timeMs);
    },
    served: (filter) => served.values(filter),
    servedReads: (filter) => served.reads(filter),
    stats: server.stats,
    startFault: server.startFault,
    clearFaults: server.clearFaults,
    faults: server.faults,
  };
}

/** Starts all plants or none. Rejects with the first listener's error, or a RangeError for two plants of one id. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const { plants, now, ...shared } = options;
  const ids = plants.map(({ id, profile, seed }) => id ?? `${profile}-${seed}`);
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined) throw new RangeError(`two plants are called ${twice}: give one an id of its own`);
  const servers: ModbusServer[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.close()));
  };
  try {
    for (const { profile, seed, host = "127.0.0.1", port = 0, startMs = now() } of plants) {
      const plant = createPlant({ profile, seed, startMs });
      servers.push(await startModbusServer({ ...shared, plant, now, host, port }));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    ports: servers.map((server) => server.port),
    plants: servers.map((server, i) => createHandle(ids[i] ?? "", server, now)),
    close,
    [Symbol.asyncDispose]: close,
  };
}
