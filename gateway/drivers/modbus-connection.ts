import { EventEmitter } from "node:events";
import { connect, type Socket } from "node:net";
import type { JilianError } from "@jilian/domain/errors.ts";
import type { ModbusTag } from "./modbus-config.ts";
import {
  connectError,
  connectionEnded,
  connectTimeout,
  frameError,
  rangeText,
  requestTimeout,
  stopped,
  type Target,
  type TcpTarget,
} from "./modbus-errors.ts";
import { answerFault, buildFrame, crc16, createFrameReader, type Frame } from "./modbus-frame.ts";
import { onTimeout } from "./timer.ts";

/** The bytes that were asked for, or the exception code of a device that refused. */
export type Answer = { readonly bytes: Buffer } | { readonly exception: number };

/**
 * A connection to one unit: a socket of its own, or its share in one (modbus-port.ts) or in a line. It works until its first fault (time-out,
 * lost socket, frame that does not fit) and never after it: a late answer then has nobody to be mistaken for.
 */
export type ModbusConnection = {
  /**
   * @param isProbe whether the unit was silent before: where it shares its connection it then has less time (line-probe.ts)
   * @throws JilianError when the connection is or gets broken
   */
  readonly read: (table: ModbusTag["table"], address: number, quantity: number, isProbe?: boolean) => Promise<Answer>;
  /** The basic identification objects (vendor, product code, revision) by id; none when the device refuses. */
  readonly identify: () => Promise<Readonly<Record<number, string>>>;
  /** Ends the connection at once; requests under way fail with the error. */
  readonly fail: (error: JilianError) => void;
};

/** modbus-serial keys its requests by a counter of its own; ours on the wire has 16 bits and an unpredictable start. */
const libraryIds = 256;

type Pending = { readonly libraryId: number; readonly request: Frame };
type LibraryError = Error & { readonly modbusCode?: number };

/** Opens the socket, bounded by the time-out. The system's own would be minutes. */
function openSocket(target: TcpTarget, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(stopped(target));
      return;
    }
    const socket = connect({ host: target.host, port: target.port, noDelay: true });
    let settled = false;
    const finish = (error?: JilianError) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      socket.off("connect", finish);
      if (error === undefined) {
        socket.off("error", onError);
        resolve(socket);
        return;
      }
      // The error listener stays: a destroyed socket may still report, and nobody else listens.
      socket.destroy();
      reject(error);
    };
    const onError = (cause: Error) => finish(connectError(target, cause));
    const onAbort = () => finish(stopped(target));
    const timer = onTimeout(target.timeoutMs, () => finish(connectTimeout(target)));
    socket.on("error", onError).once("connect", finish);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * What modbus-serial writes to and reads from: a port of ours in place of its TcpPort, which knows no time-out, swallows the death of a
 * socket, lets unasked answers through and counts requests to 256. Only frames that fit a request under way reach the library.
 */
function createPort(socket: Socket, target: Target, onFault: (error: JilianError) => void) {
  const pending = new Map<number, Pending>();
  const read = createFrameReader();
  let transactionId = Math.floor(Math.random() * 0x10000);

  const port = Object.assign(new EventEmitter(), {
    _transactionIdRead: 0,
    _transactionIdWrite: 0,
    isOpen: true,
    open: (done: () => void) => done(),
    /** @param bytes unit id, PDU, CRC: a frame of Modbus RTU */
    write: (bytes: Buffer) => {
      const libraryId = port._transactionIdWrite;
      port._transactionIdWrite = (libraryId + 1) % libraryIds;
      transactionId = (transactionId + 1) & 0xffff;
      const request = { transactionId, unitId: bytes.readUInt8(0), pdu: bytes.subarray(1, -2) };
      pending.set(transactionId, { libraryId, request });
      socket.write(buildFrame(request));
    },
  });

  function pass(frame: Frame): string | undefined {
    const asked = pending.get(frame.transactionId);
    if (asked === undefined) return "answer with a transaction id that no request under way has";
    const fault = answerFault(asked.request, frame);
    if (fault !== undefined) return fault;
    pending.delete(frame.transactionId);
    const bytes = Buffer.allocUnsafe(frame.pdu.length + 3);
    bytes.writeUInt8(frame.unitId, 0);
    frame.pdu.copy(bytes, 1);
    // "More follows" of an identification is cleared: the library's own follow-up can throw out of a socket's event.
    if (frame.pdu[0] === 0x2b) bytes.writeUInt8(0, 5);
    bytes.writeUInt16LE(crc16(bytes.subarray(0, -2)), bytes.length - 2);
    port._transactionIdRead = asked.libraryId;
    port.emit("data", bytes);
    return undefined;
  }

  socket.on("data", (chunk: Buffer) => {
    const frames = read(chunk);
    if (typeof frames === "string") {
      onFault(frameError(target, frames));
      return;
    }
    for (const frame of frames) {
      const fault = pass(frame);
      if (fault === undefined) continue;
      onFault(frameError(target, fault));
      return;
    }
  });
  return port;
}

/**
 * Connects to one unit, over a connection that it has for itself and on which several requests may be under way.
 * @throws JilianError MODBUS_CONNECT_*, MODBUS_HOST_*, MODBUS_STOPPED
 */
export async function openConnection(target: TcpTarget, signal: AbortSignal): Promise<ModbusConnection> {
  // Loaded at the first connect: a gateway without Modbus devices does not pay its 18 MB.
  const { default: library } = await import("modbus-serial");
  const socket = await openSocket(target, signal);
  const waiting = new Set<(error: JilianError) => void>();
  let broken: JilianError | undefined;
  let cause: unknown;

  function fail(error: JilianError): void {
    if (broken !== undefined) return;
    broken = error;
    port.isOpen = false;
    socket.destroy();
    for (const reject of waiting) reject(error);
  }

  const port = createPort(socket, target, fail);
  socket.on("error", (thrown) => {
    cause = thrown;
  });
  // An `error` is always followed by `close`; a peer's orderly end comes as `close` alone.
  socket.on("close", () => fail(connectionEnded(target, waiting.size === 0, cause)));
  const client = new library.default(port);
  client.open();
  client.setID(target.unitId);

  /** One request under its own timer; settles once, whatever the library's promise does later. */
  function request<T>(address: string, send: () => Promise<T>): Promise<T | { exception: number }> {
    return new Promise((resolve, reject) => {
      if (broken !== undefined) {
        reject(broken);
        return;
      }
      const timer = onTimeout(target.timeoutMs, () => {
        if (waiting.has(refuse)) fail(requestTimeout(target, address));
      });
      const settle = () => {
        clearTimeout(timer);
        waiting.delete(refuse);
      };
      const refuse = (error: JilianError) => {
        settle();
        reject(error);
      };
      waiting.add(refuse);
      send().then(
        (result) => {
          settle();
          resolve(result);
        },
        (thrown: LibraryError) => {
          if (thrown.modbusCode === undefined) fail(frameError(target, thrown.message));
          else {
            settle();
            resolve({ exception: thrown.modbusCode });
          }
        },
      );
    });
  }

  return {
    fail,
    async read(table, address, quantity) {
      const result = await request<{ buffer: Buffer }>(rangeText(target, table, address, quantity), () => {
        if (table === "holding") return client.readHoldingRegisters(address, quantity);
        if (table === "input") return client.readInputRegisters(address, quantity);
        return table === "coil" ? client.readCoils(address, quantity) : client.readDiscreteInputs(address, quantity);
      });
      return "exception" in result ? result : { bytes: result.buffer };
    },
    async identify() {
      const result = await request(`${rangeText(target, "identification", 0, 1)}`, () =>
        client.readDeviceIdentification(1, 0),
      );
      return "exception" in result ? {} : { ...result.data };
    },
  };
}
