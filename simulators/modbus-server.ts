/** A Modbus TCP server in front of one plant: seven unit ids behind one port, read only, with faults on command. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { type ActiveFault, createFaultSet, type FaultSpec, type LastingFaultSpec, parseFaultSpec } from "./faults.ts";
import { createDeviceImage, type DeviceImage } from "./image.ts";
import { buildFrame, createFrameReader, type Frame } from "./mbap.ts";
import { type Answer, answerPdu, EXCEPTION, exceptionPdu, isWriteFunction, parseRead } from "./pdu.ts";
import type { CounterReset, Plant } from "./plant.ts";
import { createServedLog, type Delivery, type ServedLog } from "./served-log.ts";

export type ModbusServerOptions = {
  readonly plant: Plant;
  /** Plant clock in ms. */
  readonly now: () => number;
  /** Real clock in ms; noted beside what was served, and used for nothing else. */
  readonly realNow?: () => number;
  readonly host?: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** What a unit id that is not there does: nothing (default), or exception 0x0B as a gateway answers for it. */
  readonly unknownUnits?: "silent" | "gatewayException";
  /** Bound of the served log. Default 50,000 reads. */
  readonly maxServedReads?: number;
  /** Further connections are refused. Default 256. */
  readonly maxConnections?: number;
};

export type ModbusServerStats = {
  connections: number;
  connectionsAccepted: number;
  requests: number;
  /** Reads answered with data: the number of records ever added to the served log. */
  readsAnswered: number;
  exceptions: number;
  /** Requests of a write function, all refused. */
  writesRefused: number;
  /** Requests left unanswered: silent units, unknown units, too many delayed answers waiting. */
  unanswered: number;
  /** Answers that found their socket closed. */
  unsent: number;
  /** Frames left out for a protocol id other than 0. */
  foreignFrames: number;
  /** Connections closed because of an impossible length field. */
  brokenFrames: number;
  /** Connections closed because the client did not read its answers. */
  overflows: number;
};

export type ModbusServer = {
  readonly host: string;
  readonly port: number;
  readonly plant: Plant;
  readonly served: ServedLog;
  stats(): Readonly<ModbusServerStats>;
  /** Throws a TypeError that names every complaint, or a RangeError for a point or count that cannot be. */
  startFault(spec: FaultSpec): Promise<ActiveFault | CounterReset>;
  /** Ends one fault, or all; gives how many. Resets stay: they have happened. */
  clearFaults(id?: number): Promise<number>;
  faults(): readonly ActiveFault[];
  close(): Promise<void>;
};

/** An answer is dropped beyond this many that wait for their delay. */
const MAX_DELAYED = 4096;
const MAX_UNREAD_BYTES = 1 << 20;

type Connection = {
  readonly socket: Socket;
  readonly client: string;
  /** When a slow unit is free for its next answer, by unit id, on the monotonic clock. */
  readonly freeAtMs: Map<number, number>;
};

/** Starts the server. Rejects with the listener's error (for example EADDRINUSE). */
export async function startModbusServer(options: ModbusServerOptions): Promise<ModbusServer> {
  const { plant, now, realNow = Date.now, host = "127.0.0.1", unknownUnits = "silent" } = options;
  const images = new Map(plant.map.devices.map((map) => [map.unitId, createDeviceImage(plant, map)]));
  const served = createServedLog(options.maxServedReads ?? 50_000);
  const faults = createFaultSet();
  const connections = new Set<Connection>();
  const timers = new Set<NodeJS.Timeout>();
  const stats: ModbusServerStats = {
    connections: 0,
    connectionsAccepted: 0,
    requests: 0,
    readsAnswered: 0,
    exceptions: 0,
    writesRefused: 0,
    unanswered: 0,
    unsent: 0,
    foreignFrames: 0,
    brokenFrames: 0,
    overflows: 0,
  };

  function send(connection: Connection, frame: Frame, answer: Answer, timeMs: number, delivery: Delivery): void {
    const { socket, client } = connection;
    if (!socket.writable) {
      stats.unsent += 1;
      return;
    }
    const { transactionId, unitId } = frame;
    const named = delivery === "wrongTransactionId" ? (transactionId + 1) & 0xffff : transactionId;
    const bytes = buildFrame(named, unitId, answer.pdu);
    const truncated = faults.strike("truncated", unitId);
    if (truncated !== undefined) {
      socket.end(bytes.subarray(0, Math.min(truncated.bytes ?? bytes.length >> 1, bytes.length - 1)));
      return;
    }
    socket.write(bytes);
    const image = images.get(unitId);
    if (answer.read === undefined || image === undefined) stats.exceptions += Number(answer.pdu.readUInt8(0) > 0x7f);
    else {
      stats.readsAnswered += 1;
      served.add(image, answer.read, { timeMs, realTimeMs: realNow(), client, delivery });
    }
    if (socket.writableLength > MAX_UNREAD_BYTES) {
      stats.overflows += 1;
      socket.destroy();
    }
  }

  function answer(frame: Frame, image: DeviceImage, timeMs: number): Answer {
    plant.advanceTo(timeMs);
    const read = parseRead(frame.pdu);
    const fault = faults.strike("exception", frame.unitId, read);
    if (fault !== undefined) return { pdu: exceptionPdu(frame.pdu.readUInt8(0), fault.code) };
    return answerPdu(frame.pdu, image);
  }

  function later(delayMs: number, action: () => void): void {
    if (timers.size >= MAX_DELAYED) {
      stats.unanswered += 1;
      return;
    }
    const timer = setTimeout(() => {
      timers.delete(timer);
      action();
    }, delayMs);
    timers.add(timer);
  }

  function onFrame(connection: Connection, frame: Frame): void {
    const { unitId, pdu } = frame;
    stats.requests += 1;
    if (isWriteFunction(pdu.readUInt8(0))) stats.writesRefused += 1;
    if (faults.strike("cut", unitId) !== undefined) {
      connection.socket.resetAndDestroy();
      return;
    }
    const image = images.get(unitId);
    const refused = image === undefined && unknownUnits === "gatewayException";
    if (faults.strike("silent", unitId) !== undefined || (image === undefined && !refused)) {
      stats.unanswered += 1;
      return;
    }
    if (image === undefined) {
      const exception = exceptionPdu(pdu.readUInt8(0), EXCEPTION.gatewayPath);
      send(connection, frame, { pdu: exception }, now(), "normal");
      return;
    }
    answerInTime(connection, frame, image);
  }

  function answerInTime(connection: Connection, frame: Frame, image: DeviceImage): void {
    const { unitId } = frame;
    const wrong = faults.strike("wrongTransactionId", unitId);
    const late = wrong === undefined ? faults.strike("lateReply", unitId) : undefined;
    const slow = faults.strike("slow", unitId);
    if (wrong !== undefined || late !== undefined) {
      const timeMs = now();
      const taken = answer(frame, image, timeMs);
      const delayMs = wrong?.delayMs ?? late?.delayMs ?? 0;
      later(delayMs, () => send(connection, frame, taken, timeMs, wrong === undefined ? "late" : "wrongTransactionId"));
      return;
    }
    if (slow === undefined) {
      const timeMs = now();
      send(connection, frame, answer(frame, image, timeMs), timeMs, "normal");
      return;
    }
    const clockMs = performance.now();
    const freeAtMs = Math.max(clockMs, connection.freeAtMs.get(unitId) ?? 0) + slow.delayMs;
    connection.freeAtMs.set(unitId, freeAtMs);
    // The socket's bytes are gone by then: the frame keeps its own.
    const kept = { ...frame, pdu: Buffer.from(frame.pdu) };
    later(freeAtMs - clockMs, () => {
      const timeMs = now();
      send(connection, kept, answer(kept, image, timeMs), timeMs, "normal");
    });
  }

  function onConnection(socket: Socket): void {
    stats.connectionsAccepted += 1;
    socket.on("error", () => socket.destroy());
    if (faults.holds("cut")) {
      socket.resetAndDestroy();
      return;
    }
    socket.setNoDelay(true);
    const connection = { socket, client: `${socket.remoteAddress}:${socket.remotePort}`, freeAtMs: new Map() };
    connections.add(connection);
    socket.on("close", () => connections.delete(connection));
    const read = createFrameReader({
      onFrame: (frame) => onFrame(connection, frame),
      onForeignProtocol: () => {
        stats.foreignFrames += 1;
      },
      onBrokenLength: () => {
        stats.brokenFrames += 1;
        socket.destroy();
      },
    });
    socket.on("data", (chunk) => {
      // Answers to requests that came joined leave joined.
      socket.cork();
      read(chunk);
      socket.uncork();
    });
  }

  const listener = createServer(onConnection);
  listener.maxConnections = options.maxConnections ?? 256;

  async function listen(port: number): Promise<number> {
    listener.listen(port, host);
    await once(listener, "listening");
    const address = listener.address();
    return typeof address === "object" && address !== null ? address.port : port;
  }

  async function shut(reset: boolean): Promise<void> {
    const closed = listener.listening ? once(listener, "close") : undefined;
    if (closed !== undefined) listener.close();
    for (const { socket } of connections) reset ? socket.resetAndDestroy() : socket.destroy();
    await closed;
  }

  function applyFreezes(): void {
    for (const [unitId, image] of images) image.setFrozen(faults.holds("freeze", unitId));
  }

  async function begin(spec: LastingFaultSpec): Promise<ActiveFault> {
    const fault = faults.add(spec, plant.timeMs);
    if (spec.kind === "freeze") applyFreezes();
    if (spec.kind === "cut" && spec.unitId === undefined) {
      if (spec.refuse === true) await shut(true);
      else for (const { socket } of connections) socket.resetAndDestroy();
    }
    return fault;
  }

  const port = await listen(options.port);
  return {
    host,
    port,
    plant,
    served,
    stats: () => ({ ...stats, connections: connections.size }),
    faults: faults.list,
    async startFault(input) {
      const parsed = parseFaultSpec(input);
      if ("errors" in parsed) throw new TypeError(parsed.errors.join("; "));
      plant.advanceTo(now());
      return parsed.spec.kind === "counterReset" ? plant.resetCounter(parsed.spec.point) : begin(parsed.spec);
    },
    async clearFaults(id) {
      const removed = faults.remove(id);
      plant.advanceTo(now());
      applyFreezes();
      const refuses = faults.list().some(({ spec }) => spec.kind === "cut" && spec.refuse === true);
      if (!refuses && !listener.listening) await listen(port);
      return removed.length;
    },
    async close() {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
      await shut(false);
    },
  };
}
