/** Simulated plants behind their Modbus TCP and OPC UA servers, started together and closed together. */
import { join } from "node:path";
import type { ActiveFault, FaultSpec } from "./faults.ts";
import { type ModbusServer, type ModbusServerOptions, startModbusServer } from "./modbus-server.ts";
import type { OpcuaServer, OpcuaServerOptions, PreparedOpcuaServer } from "./opcua-server.ts";
import { type CounterReset, createPlant, type Plant } from "./plant.ts";
import type { ProfileName } from "./profiles.ts";
import type { RegisterMap } from "./register-map.ts";
import { emptyStats, type ModbusServerStats } from "./responder.ts";
import type { ServedFilter, ServedRead, ServedValue } from "./served-log.ts";
import type { PlantTruth } from "./truth.ts";

export type SimulatedPlantOptions = {
  /** Name in the control interface, unique in the simulator. Default: `<profile>-<seed>`. */
  readonly id?: string;
  readonly profile: ProfileName;
  readonly seed: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Of Modbus TCP. Default 0: a free port. Null: the plant is not served over Modbus. */
  readonly port?: number | null;
  /** Of OPC UA; 0 takes a free port. Default null: the plant is not served over OPC UA. */
  readonly opcuaPort?: number | null;
  /** Plant time at which the truth begins. Default: `now()` once all servers are made. */
  readonly startMs?: number;
};

export type SimulatorOptions = Pick<
  ModbusServerOptions,
  "realNow" | "unknownUnits" | "maxServedReads" | "maxConnections"
> & {
  readonly plants: readonly SimulatedPlantOptions[];
  /** Plant clock in ms, for example `Date.now` or one made by `scaledNow`. */
  readonly now: () => number;
  /** For all OPC UA servers. Each keeps its certificates in a folder of its own below `pkiDir`, called by its plant's id. */
  readonly opcua?: Pick<
    OpcuaServerOptions,
    "pkiDir" | "user" | "anonymousOnSecured" | "acceptUnknownClients" | "scanIntervalMs" | "maxLoggedValues"
  >;
};

export type PlantHandle = {
  readonly id: string;
  readonly profile: ProfileName;
  readonly seed: number;
  readonly startMs: number;
  readonly host: string;
  /** Of Modbus TCP; null where the plant is not served over it. Then there is nothing served either, and no fault can be started. */
  readonly port: number | null;
  readonly registerMap: RegisterMap;
  /** Truth at the plant clock's now. */
  truth(): PlantTruth;
  /** Truth at a plant time. Throws a RangeError before the start or after now. */
  truthAt(timeMs: number): PlantTruth;
  /** Raw values that left the Modbus server, in order: one entry for each point that a read covered whole. */
  served(filter?: ServedFilter): ServedValue[];
  /** Answered reads that left the Modbus server, in order. */
  servedReads(filter?: ServedFilter): ServedRead[];
  stats(): Readonly<ModbusServerStats>;
  startFault(spec: FaultSpec): Promise<ActiveFault | CounterReset>;
  clearFaults(id?: number): Promise<number>;
  faults(): readonly ActiveFault[];
  /** The plant's OPC UA server, with its own logs and faults. */
  readonly opcua?: OpcuaServer;
};

export type Simulator = {
  /** Modbus ports, by plant. */
  readonly ports: readonly (number | null)[];
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

type Served = { readonly modbus: ModbusServer | undefined; readonly opcua: OpcuaServer | undefined };

function createHandle(
  { id, host = "127.0.0.1" }: SimulatedPlantOptions & { readonly id: string },
  plant: Plant,
  { modbus, opcua }: Served,
  now: () => number,
): PlantHandle {
  return {
    id,
    profile: plant.profile,
    seed: plant.seed,
    startMs: plant.startMs,
    host,
    port: modbus?.port ?? null,
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
    served: (filter) => modbus?.served.values(filter) ?? [],
    servedReads: (filter) => modbus?.served.reads(filter) ?? [],
    stats: () => modbus?.stats() ?? emptyStats(),
    async startFault(spec) {
      if (modbus === undefined) throw new RangeError(`${id} is not served over Modbus`);
      return modbus.startFault(spec);
    },
    clearFaults: async (faultId) => modbus?.clearFaults(faultId) ?? 0,
    faults: () => modbus?.faults() ?? [],
    ...(opcua === undefined ? {} : { opcua }),
  };
}

type NamedPlant = SimulatedPlantOptions & { readonly id: string };

function nameAll(plants: readonly SimulatedPlantOptions[]): readonly NamedPlant[] {
  const named = plants.map((plant) => ({ ...plant, id: plant.id ?? `${plant.profile}-${plant.seed}` }));
  const twice = named.find(({ id }, i) => named.findIndex((other) => other.id === id) !== i);
  if (twice !== undefined) throw new RangeError(`two plants are called ${twice.id}: give one an id of its own`);
  const unserved = named.find(({ port, opcuaPort }) => port === null && (opcuaPort ?? null) === null);
  if (unserved !== undefined) throw new RangeError(`${unserved.id} is served over no protocol: give it a port`);
  return named;
}

/** Makes the OPC UA servers that are asked for; the library is loaded only then. */
async function prepareOpcua(
  plants: readonly NamedPlant[],
  { now, realNow, opcua = {} }: SimulatorOptions,
  closers: (() => Promise<void>)[],
): Promise<readonly (PreparedOpcuaServer | undefined)[]> {
  const prepared: (PreparedOpcuaServer | undefined)[] = [];
  for (const { id, profile, host = "127.0.0.1", opcuaPort = null } of plants) {
    if (opcuaPort === null) {
      prepared.push(undefined);
      continue;
    }
    const { prepareOpcuaServer } = await import("./opcua-server.ts");
    const pkiDir = opcua.pkiDir === undefined ? {} : { pkiDir: join(opcua.pkiDir, id) };
    const clock = realNow === undefined ? { now } : { now, realNow };
    const server = await prepareOpcuaServer({ ...opcua, ...pkiDir, ...clock, id, profile, host, port: opcuaPort });
    closers.push(server.close);
    prepared.push(server);
  }
  return prepared;
}

/** Starts all plants or none. Rejects with the first listener's error, or a RangeError for two plants of one id. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const { plants, now, opcua: _, ...shared } = options;
  const named = nameAll(plants);
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(closers.map((closeOne) => closeOne()));
  };
  const handles: PlantHandle[] = [];
  try {
    const prepared = await prepareOpcua(named, options, closers);
    for (const [i, one] of named.entries()) {
      const { profile, seed, host = "127.0.0.1", port = 0, startMs = now() } = one;
      const plant = createPlant({ profile, seed, startMs });
      const modbus = port === null ? undefined : await startModbusServer({ ...shared, plant, now, host, port });
      if (modbus !== undefined) closers.push(modbus.close);
      const opcua = await prepared[i]?.open(plant);
      handles.push(createHandle(one, plant, { modbus, opcua }, now));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { ports: handles.map(({ port }) => port), plants: handles, close, [Symbol.asyncDispose]: close };
}
