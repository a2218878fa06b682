/** A Modbus TCP server in front of one plant: seven unit ids behind one port, read only, with faults on command. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { type ActiveFault, createFaultSet, type FaultSpec, parseFaultSpec } from "./faults.ts";
import { createDeviceImage } from "./image.ts";
import { createFrameReader } from "./mbap.ts";
import type { CounterReset, Plant } from "./plant.ts";
import {
  type Connection,
  emptyStats,
  type ModbusServerStats,
  type ResponderContext,
  resetConnection,
  takeRequest,
} from "./responder.ts";
import { createSequence } from "./sequence.ts";
import { createServedLog, type ServedLog } from "./served-log.ts";

export type ModbusServerOptions = {
  readonly plant: Plant;
  /** Plant clock in ms. */
  readonly now: () => number;
  /** Real clock in ms; noted beside what was served, and used for nothing else. Default: the system's. */
  readonly realNow?: () => number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** What a unit id that is not there does: nothing (default), or exception 0x0B as a gateway answers for it. */
  readonly unknownUnits?: "silent" | "gatewayException";
  /** Bound of the served log. Default 50,000 reads. */
  readonly maxServedReads?: number;
  /** Further connections are closed at once. Default 256. */
  readonly maxConnections?: number;
};

export type ModbusServer = {
  readonly host: string;
  readonly port: number;
  readonly plant: Plant;
  readonly served: ServedLog;
  stats(): Readonly<ModbusServerStats>;
  /** Throws a TypeError that names every complaint, or a RangeError for a point or number that cannot be. */
  startFault(spec: FaultSpec): Promise<ActiveFault | CounterReset>;
  /** Ends one fault, or all; gives how many. Resets of counters stay: they have happened. */
  clearFaults(id?: number): Promise<number>;
  faults(): readonly ActiveFault[];
  close(): Promise<void>;
};

type Listening = { readonly listener: Server; readonly host: string; readonly connections: ReadonlySet<Connection> };

async function listen({ listener, host }: Listening, port: number): Promise<number> {
  listener.listen(port, host);
  await once(listener, "listening");
  const address = listener.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

/** Closes the port and every connection, with a reset or in good order. */
async function shut({ listener, connections }: Listening, end: (socket: Socket) => void): Promise<void> {
  const closed = listener.listening ? once(listener, "close") : undefined;
  if (closed !== undefined) listener.close();
  for (const { socket } of connections) end(socket);
  await closed;
}

function createListener(context: ResponderContext, connections: Set<Connection>): Server {
  return createServer((socket) => {
    context.stats.connectionsAccepted += 1;
    socket.on("error", () => socket.destroy());
    if (context.faults.holds("cut")) {
      socket.resetAndDestroy();
      return;
    }
    socket.setNoDelay(true);
    const client = `${socket.remoteAddress}:${socket.remotePort}`;
    const connection: Connection = { socket, client, freeAtMs: new Map() };
    connections.add(connection);
    socket.on("close", () => connections.delete(connection));
    const read = createFrameReader({
      onFrame: (frame) => takeRequest(context, connection, frame),
      onForeignProtocol: () => {
        context.stats.foreignFrames += 1;
      },
      onBrokenLength: () => {
        context.stats.brokenFrames += 1;
        socket.uncork();
        socket.destroy();
      },
    });
    socket.on("data", (chunk) => {
      // Answers to requests that came joined leave joined.
      socket.cork();
      read(chunk);
      socket.uncork();
    });
  });
}

/** Faults of the whole server: what they do beside striking requests. */
function createFaultActions(context: ResponderContext, listening: Listening, port: number) {
  const { faults, plant, images, now } = context;
  const applyFreezes = (): void => {
    for (const [unitId, image] of images) image.setFrozen(faults.holds("freeze", unitId));
  };
  return {
    async start(input: FaultSpec): Promise<ActiveFault | CounterReset> {
      const parsed = parseFaultSpec(input);
      if ("errors" in parsed) throw new TypeError(parsed.errors.join("; "));
      const { spec } = parsed;
      plant.advanceTo(now());
      if (spec.kind === "counterReset") return plant.resetCounter(spec.point);
      const fault = faults.add(spec, plant.timeMs);
      if (spec.kind === "freeze") applyFreezes();
      if (spec.kind === "cut" && spec.unitId === undefined) {
        if (spec.refuse === true) await shut(listening, resetConnection);
        else for (const { socket } of listening.connections) resetConnection(socket);
      }
      return fault;
    },
    async clear(id: number | undefined): Promise<number> {
      const removed = faults.remove(id);
      plant.advanceTo(now());
      applyFreezes();
      const refuses = ({ spec }: ActiveFault): boolean => spec.kind === "cut" && spec.refuse === true;
      if (removed.some(refuses) && !faults.list().some(refuses) && !listening.listener.listening) {
        await listen(listening, port);
      }
      return removed.length;
    },
  };
}

/** Starts the server. Rejects with the listener's error (for example EADDRINUSE). */
export async function startModbusServer(options: ModbusServerOptions): Promise<ModbusServer> {
  const { plant, now, host = "127.0.0.1" } = options;
  const context: ResponderContext = {
    plant,
    now,
    realNow: options.realNow ?? Date.now,
    images: new Map(plant.map.devices.map((map) => [map.unitId, createDeviceImage(plant, map)])),
    faults: createFaultSet(),
    served: createServedLog(options.maxServedReads ?? 50_000),
    stats: emptyStats(),
    timers: new Set(),
    unknownUnits: options.unknownUnits ?? "silent",
  };
  const { faults, served, stats, timers } = context;
  const connections = new Set<Connection>();
  const listening: Listening = { listener: createListener(context, connections), host, connections };
  listening.listener.maxConnections = options.maxConnections ?? 256;
  const port = await listen(listening, options.port);
  const actions = createFaultActions(context, listening, port);
  const inSequence = createSequence();
  return {
    host,
    port,
    plant,
    served,
    stats: () => ({ ...stats, connections: connections.size, servedDropped: served.dropped }),
    faults: () => faults.list(),
    startFault: (spec) => inSequence(() => actions.start(spec)),
    clearFaults: (id) => inSequence(() => actions.clear(id)),
    close: () =>
      inSequence(async () => {
        // A cut port that nobody cleared stays closed.
        faults.remove();
        for (const timer of timers) clearTimeout(timer);
        timers.clear();
        await shut(listening, (socket) => socket.destroy());
      }),
  };
}
