/** An OPC UA server in front of one plant: read only, one port with unsecured and secured endpoints, with faults on command. */
import { createOpcuaFaultActions, type FaultActionOptions } from "./opcua-fault-actions.ts";
import {
  type ActiveOpcuaFault,
  createOpcuaFaultSet,
  type ForgottenSessions,
  type OpcuaFaultSpec,
} from "./opcua-faults.ts";
import { createOpcuaInstances, type OpcuaUser } from "./opcua-instance.ts";
import { type OpcuaMap, opcuaMapOf } from "./opcua-map.ts";
import { createOpcuaMemory, type HeldValue } from "./opcua-memory.ts";
import { type OpcuaPki, openOpcuaPki } from "./opcua-pki.ts";
import { watchSockets } from "./opcua-sockets.ts";
import { createOpcuaWire, type OpcuaServedValue } from "./opcua-wire.ts";
import type { CounterReset, Plant } from "./plant.ts";
import type { ProfileName } from "./profiles.ts";
import { createRing, type Ring } from "./ring.ts";
import { createSequence } from "./sequence.ts";
import type { ServedFilter } from "./served-log.ts";

const MAX_LOGGED_VALUES = 200_000;

export type OpcuaServerOptions = {
  readonly profile: ProfileName;
  /** Name of the plant; stands in the server's application name and URI, and so in its certificate. */
  readonly id: string;
  /** Plant clock in ms. */
  readonly now: () => number;
  /** Real clock in ms; noted beside what was held and served, and used for nothing else. Default: the system's. */
  readonly realNow?: () => number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Folder of the server's certificates, kept from start to start. Default: a temporary one, removed at the end. */
  readonly pkiDir?: string;
  /**
   * Who may log in on every endpoint. Where there is a user, the secured endpoints (Sign, SignAndEncrypt) refuse anonymous clients; the
   * unsecured one never does.
   */
  readonly user?: OpcuaUser;
  /** Lets anonymous clients in on secured endpoints although there is a user. Default false. */
  readonly anonymousOnSecured?: boolean;
  /** Whether a client's certificate that was never met is taken. Default true: it is a simulator. */
  readonly acceptUnknownClients?: boolean;
  /** Real time from scan to scan. Default 50 ms. */
  readonly scanIntervalMs?: number;
  /** Bound of each of the two logs. Default 200,000 values. */
  readonly maxLoggedValues?: number;
};

export type OpcuaServerStats = {
  /** Open now. */
  connections: number;
  connectionsAccepted: number;
  sessions: number;
  requests: number;
  writesRefused: number;
  unanswered: number;
  restarts: number;
  /** Values ever held and served, and how many of them the logs gave up. */
  valuesHeld: number;
  heldDropped: number;
  valuesServed: number;
  servedDropped: number;
};

export type OpcuaServer = {
  readonly host: string;
  readonly port: number;
  readonly endpointUrl: string;
  /** PEM of the server's own certificate. */
  readonly certificatePath: string;
  readonly plant: Plant;
  readonly map: OpcuaMap;
  /** Every value that a variable took, in order, whether a client saw it or not. */
  held(filter?: Omit<ServedFilter, "client">): HeldValue[];
  /** Values that left the server, in order. */
  served(filter?: ServedFilter): OpcuaServedValue[];
  stats(): Readonly<OpcuaServerStats>;
  /** Throws a TypeError that names every complaint, or a RangeError for a point, a StatusCode or a moment that cannot be. */
  startFault(spec: OpcuaFaultSpec): Promise<ActiveOpcuaFault | CounterReset | ForgottenSessions>;
  /** Ends one fault, or all; gives how many. What happened once (forgotten sessions, resets) stays. */
  clearFaults(id?: number): Promise<number>;
  faults(): readonly ActiveOpcuaFault[];
  close(): Promise<void>;
};

function select<T extends { sequence: number; point: string; client?: string }>(
  ring: Ring<T>,
  { point, client, after = 0, limit = Number.POSITIVE_INFINITY }: ServedFilter,
): T[] {
  const found: T[] = [];
  for (const entry of ring.after(after)) {
    if (found.length >= limit) break;
    if ((point ?? entry.point) === entry.point && (client ?? entry.client) === entry.client) found.push(entry);
  }
  return found;
}

/** A server that is made and does not listen yet. */
export type PreparedOpcuaServer = {
  /** Listens, showing this plant, which must be of the profile that was prepared. Rejects with the listener's error (EADDRINUSE). */
  open(plant: Plant): Promise<OpcuaServer>;
  /** Ends it, opened or not. */
  close(): Promise<void>;
};

type Parts = Omit<FaultActionOptions, "plant" | "memory"> & {
  readonly options: OpcuaServerOptions;
  readonly served: Ring<OpcuaServedValue>;
  readonly pki: OpcuaPki;
  readonly release: () => Promise<void>;
};

async function openServer(parts: Parts, plant: Plant): Promise<OpcuaServer> {
  const { options, map, faults, served, wire, pki, instances, sockets, release } = parts;
  const { now, host = "127.0.0.1", realNow = Date.now, maxLoggedValues: maxValues = MAX_LOGGED_VALUES } = options;
  const memory = createOpcuaMemory({ plant, map, faults, now, realNow, maxValues });
  await instances.listen(memory);
  const scanning = setInterval(memory.scan, options.scanIntervalMs ?? 50);
  const actions = createOpcuaFaultActions({ ...parts, plant, memory });
  const inSequence = createSequence();
  return {
    host,
    port: instances.port,
    endpointUrl: instances.endpointUrl,
    certificatePath: pki.certificatePath,
    plant,
    map,
    held: (filter = {}) => select(memory.held, filter),
    served: (filter = {}) => select(served, filter),
    stats: () => ({
      connections: sockets.open,
      connectionsAccepted: sockets.accepted,
      sessions: wire.sessions.size,
      ...wire.stats,
      restarts: instances.restarts,
      valuesHeld: memory.held.added,
      heldDropped: memory.held.dropped,
      valuesServed: served.added,
      servedDropped: served.dropped,
    }),
    faults: faults.list,
    startFault: (spec) => inSequence(() => actions.start(spec)),
    clearFaults: (id) => inSequence(() => actions.clear(id)),
    close: () =>
      inSequence(async () => {
        clearInterval(scanning);
        await actions.close();
        await release();
      }),
  };
}

/**
 * Makes a server. That takes some 0.3 s, more where its certificate has to be made too: a plant whose clock runs faster than the real one
 * is better begun afterwards.
 */
export async function prepareOpcuaServer(options: OpcuaServerOptions): Promise<PreparedOpcuaServer> {
  const { profile, now, host = "127.0.0.1", realNow = Date.now } = options;
  const map = opcuaMapOf(profile);
  const faults = createOpcuaFaultSet();
  const served = createRing<OpcuaServedValue>(options.maxLoggedValues ?? MAX_LOGGED_VALUES);
  const wire = createOpcuaWire({ map, faults, served, now, realNow });
  const pki = openOpcuaPki(options.pkiDir, options.acceptUnknownClients ?? true);
  const instances = createOpcuaInstances({ ...options, host, map, wire, pki });
  const sockets = watchSockets(() => instances.port);
  const release = async (): Promise<void> => {
    await instances.stop();
    sockets.close();
    wire.close();
    pki.close();
  };
  try {
    await instances.prepare(options.port);
  } catch (error) {
    await release();
    throw error;
  }
  const parts = { options, map, faults, served, wire, pki, instances, sockets, release };
  let opened: OpcuaServer | undefined;
  return {
    async open(plant) {
      opened = await openServer(parts, plant);
      return opened;
    },
    close: () => opened?.close() ?? release(),
  };
}

/** Prepares and opens the server of a plant. Rejects with the listener's error (for example EADDRINUSE). */
export async function startOpcuaServer(
  options: Omit<OpcuaServerOptions, "profile"> & { readonly plant: Plant },
): Promise<OpcuaServer> {
  const prepared = await prepareOpcuaServer({ ...options, profile: options.plant.profile });
  try {
    return await prepared.open(options.plant);
  } catch (error) {
    await prepared.close();
    throw error;
  }
}
