/** From a request's frame to the bytes that leave: which fault strikes, what is answered, when, and what is logged. */
import type { Socket } from "node:net";
import type { FaultSet } from "./faults.ts";
import type { DeviceImage } from "./image.ts";
import { buildFrame, type Frame } from "./mbap.ts";
import { type Answer, answerPdu, EXCEPTION, exceptionPdu, isWriteFunction, parseRead } from "./pdu.ts";
import type { Plant } from "./plant.ts";
import type { Delivery, ServedLog } from "./served-log.ts";

export type ModbusServerStats = {
  /** Open now. */
  connections: number;
  connectionsAccepted: number;
  requests: number;
  /** Reads answered with data: the number of records ever added to the served log. */
  readsAnswered: number;
  /** Records of the served log given up because it was full. */
  servedDropped: number;
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

export function emptyStats(): ModbusServerStats {
  return {
    connections: 0,
    connectionsAccepted: 0,
    requests: 0,
    readsAnswered: 0,
    servedDropped: 0,
    exceptions: 0,
    writesRefused: 0,
    unanswered: 0,
    unsent: 0,
    foreignFrames: 0,
    brokenFrames: 0,
    overflows: 0,
  };
}

export type Connection = {
  readonly socket: Socket;
  readonly client: string;
  /** When a slow unit is free for its next answer, by unit id, on the monotonic clock. */
  readonly freeAtMs: Map<number, number>;
};

/** What answering needs; owned by the server. */
export type ResponderContext = {
  readonly plant: Plant;
  readonly images: ReadonlyMap<number, DeviceImage>;
  readonly faults: FaultSet;
  readonly served: ServedLog;
  readonly stats: ModbusServerStats;
  /** Answers that wait for their delay. */
  readonly timers: Set<NodeJS.Timeout>;
  readonly unknownUnits: "silent" | "gatewayException";
  readonly now: () => number;
  readonly realNow: () => number;
};

const MAX_DELAYED = 4096;
const MAX_UNREAD_BYTES = 1 << 20;

/** Resets a connection at once, after what was already answered. */
export function resetConnection(socket: Socket): void {
  socket.uncork();
  socket.resetAndDestroy();
}

function send(
  context: ResponderContext,
  { socket, client }: Connection,
  { transactionId, unitId }: Frame,
  answer: Answer,
  timeMs: number,
  delivery: Delivery,
): void {
  const { stats, served, realNow } = context;
  if (!socket.writable) {
    stats.unsent += 1;
    return;
  }
  const named = delivery === "wrongTransactionId" ? (transactionId + 1) & 0xffff : transactionId;
  const bytes = buildFrame(named, unitId, answer.pdu);
  const truncated = context.faults.strike("truncated", unitId);
  if (truncated !== undefined) {
    socket.end(bytes.subarray(0, Math.min(truncated.bytes ?? bytes.length >> 1, bytes.length - 1)));
    return;
  }
  socket.write(bytes);
  const image = context.images.get(unitId);
  if (answer.read !== undefined && image !== undefined) {
    stats.readsAnswered += 1;
    served.add(image, answer.read, { timeMs, realTimeMs: realNow(), client, delivery });
  } else if (answer.pdu.readUInt8(0) > 0x7f) stats.exceptions += 1;
  if (socket.writableLength > MAX_UNREAD_BYTES) {
    stats.overflows += 1;
    socket.destroy();
  }
}

function answer({ plant, faults }: ResponderContext, frame: Frame, image: DeviceImage, timeMs: number): Answer {
  plant.advanceTo(timeMs);
  const fault = faults.strike("exception", frame.unitId, parseRead(frame.pdu));
  if (fault !== undefined) return { pdu: exceptionPdu(frame.pdu.readUInt8(0), fault.code) };
  return answerPdu(frame.pdu, image);
}

function later({ timers, stats }: ResponderContext, delayMs: number, action: () => void): void {
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

function respond(context: ResponderContext, connection: Connection, frame: Frame, image: DeviceImage): void {
  const { faults, now } = context;
  const { unitId } = frame;
  const wrong = faults.strike("wrongTransactionId", unitId);
  const late = wrong ?? faults.strike("lateReply", unitId);
  if (late !== undefined) {
    const timeMs = now();
    const taken = answer(context, frame, image, timeMs);
    const delivery = wrong === undefined ? "late" : "wrongTransactionId";
    later(context, late.delayMs ?? 0, () => send(context, connection, frame, taken, timeMs, delivery));
    return;
  }
  const answerNow = (request: Frame): void => {
    const timeMs = now();
    send(context, connection, request, answer(context, request, image, timeMs), timeMs, "normal");
  };
  const slow = faults.strike("slow", unitId);
  if (slow === undefined) {
    answerNow(frame);
    return;
  }
  const clockMs = performance.now();
  const freeAtMs = Math.max(clockMs, connection.freeAtMs.get(unitId) ?? 0) + slow.delayMs;
  connection.freeAtMs.set(unitId, freeAtMs);
  later(context, freeAtMs - clockMs, () => answerNow(frame));
}

/** Takes one request. Whatever is answered, at once or later, goes to the connection it came from. */
export function takeRequest(context: ResponderContext, connection: Connection, frame: Frame): void {
  const { faults, stats } = context;
  const functionCode = frame.pdu.readUInt8(0);
  stats.requests += 1;
  if (isWriteFunction(functionCode)) stats.writesRefused += 1;
  if (faults.strike("cut", frame.unitId) !== undefined) {
    resetConnection(connection.socket);
    return;
  }
  const image = context.images.get(frame.unitId);
  const refused = image === undefined && context.unknownUnits === "gatewayException";
  if (faults.strike("silent", frame.unitId) !== undefined || (image === undefined && !refused)) {
    stats.unanswered += 1;
  } else if (image === undefined) {
    const exception = exceptionPdu(functionCode, EXCEPTION.gatewayPath);
    send(context, connection, frame, { pdu: exception }, context.now(), "normal");
  } else respond(context, connection, frame, image);
}
