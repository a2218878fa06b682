import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";
import { closedWhileIdle } from "./contract.ts";

/** Whom a connection talks to. */
export type Target = {
  readonly device: string;
  /** Where it is, for people: `192.168.1.5:502`, `line bus (/dev/ttyS0)`. */
  readonly endpoint: string;
  readonly unitId: number;
  /** Of a connect and of each request. */
  readonly timeoutMs: number;
};

/** A unit behind Modbus TCP. */
export type TcpTarget = Target & { readonly host: string; readonly port: number };

export function endpointOf(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Where a read goes, for people: `192.168.1.5:502 unit 3 holding 100-124`. */
export function rangeText(target: Target, table: string, address: number, quantity: number): string {
  const last = quantity > 1 ? `-${address + quantity - 1}` : "";
  return `${target.endpoint} unit ${target.unitId} ${table} ${address}${last}`;
}

/** System error codes of a connect, in the words of whoever stands in front of the cabinet. */
const connectFaults: Readonly<Record<string, readonly [code: string, message: string, remedy: string]>> = {
  ECONNREFUSED: ["MODBUS_CONNECT_REFUSED", "connection refused", "is the PLC powered and Modbus TCP enabled?"],
  EHOSTUNREACH: ["MODBUS_HOST_UNREACHABLE", "no route to the host", "check cable, switch, VLAN and subnet mask"],
  ENETUNREACH: ["MODBUS_HOST_UNREACHABLE", "no route to the network", "check this box's address and default gateway"],
  EHOSTDOWN: ["MODBUS_HOST_UNREACHABLE", "the host is down", "is the PLC powered and its cable plugged in?"],
  ENOTFOUND: ["MODBUS_HOST_UNKNOWN", "the host name is unknown", "write its IP address, or correct the name"],
  EAI_AGAIN: ["MODBUS_HOST_UNKNOWN", "no name server answered", "write its IP address, or repair name resolution"],
  ECONNRESET: [
    "MODBUS_CONNECT_RESET",
    "connection reset",
    "are all Modbus TCP client slots of the device taken, or does a firewall stand between?",
  ],
};

export function connectError(target: Target, cause: unknown): JilianError {
  const known = connectFaults[codeOf(cause)] ?? ["MODBUS_CONNECT_FAILED", messageOf(cause), "check host and port"];
  const [code, message, remedy] = known;
  const { device } = target;
  const status = Status.BadNotConnected;
  return new JilianError(message, {
    code,
    action: "connect",
    remedy,
    device,
    address: target.endpoint,
    status,
    cause,
  });
}

export function connectTimeout(target: Target): JilianError {
  return new JilianError(`no answer to the connect within ${target.timeoutMs} ms`, {
    code: "MODBUS_CONNECT_TIMEOUT",
    action: "connect",
    remedy: "check address, power and cable; does a firewall drop the packets?",
    device: target.device,
    address: target.endpoint,
    status: Status.BadNotConnected,
  });
}

export function requestTimeout(target: Target, address: string): JilianError {
  return new JilianError(`no answer within ${target.timeoutMs} ms`, {
    code: "MODBUS_TIMEOUT",
    action: "read",
    remedy: `does unit ${target.unitId} exist behind this address, and is timeoutMs long enough for it?`,
    device: target.device,
    address,
    status: Status.BadTimeout,
  });
}

/** The connection ended by itself: mid-request, or while nothing was asked. */
export function connectionEnded(target: Target, idle: boolean, cause: unknown): JilianError {
  const why = cause === undefined ? "the device closed it" : messageOf(cause);
  return new JilianError(`connection lost ${idle ? "between two reads" : "during a read"}: ${why}`, {
    code: idle ? closedWhileIdle : "MODBUS_CONNECTION_LOST",
    action: "read",
    remedy: "check power and cable; is the device's limit of Modbus TCP clients or its idle time-out reached?",
    device: target.device,
    address: `${target.endpoint} unit ${target.unitId}`,
    status: Status.BadCommunicationError,
    cause,
  });
}

/** What came is not an answer to what was asked: from here on nothing on this connection can be trusted. */
export function frameError(target: Target, message: string): JilianError {
  return new JilianError(message, {
    code: "MODBUS_FRAME_INVALID",
    action: "read",
    remedy: "is it a Modbus TCP server, not RTU over TCP, and does nothing else answer at this address?",
    device: target.device,
    address: `${target.endpoint} unit ${target.unitId}`,
    status: Status.BadDecodingError,
  });
}

export function stopped(target: Target): JilianError {
  return new JilianError("stopped", {
    code: "MODBUS_STOPPED",
    action: "read",
    remedy: "none: the gateway ends or the device was closed",
    device: target.device,
    address: target.endpoint,
    status: Status.BadNotConnected,
  });
}

/** Exception codes (MODBUS Application Protocol V1.1b3, 7): words, and the status that the tags of a refused read carry. */
const exceptions: Readonly<Record<number, readonly [words: string, status: number]>> = {
  1: ["illegal function: the device does not have this table", Status.BadConfigurationError],
  2: ["illegal data address", Status.BadNodeIdUnknown],
  3: ["illegal data value", Status.BadNodeIdUnknown],
  4: ["server device failure", Status.BadDeviceFailure],
  5: ["acknowledge: the answer would come later", Status.BadCommunicationError],
  6: ["server device busy", Status.BadCommunicationError],
  8: ["memory parity error", Status.BadDeviceFailure],
  10: ["gateway path unavailable", Status.BadNoCommunication],
  11: ["gateway target device failed to respond", Status.BadNoCommunication],
};

export function exceptionText(exception: number): string {
  return `exception ${exception}, ${exceptions[exception]?.[0] ?? "unknown"}`;
}

export function exceptionStatus(exception: number): number {
  return exceptions[exception]?.[1] ?? Status.BadCommunicationError;
}

/** The device answers, but refuses every read. */
export function nothingReadable(target: Target, exception: number): JilianError {
  return new JilianError(`the device refuses every read: ${exceptionText(exception)}`, {
    code: "MODBUS_NOTHING_READABLE",
    action: "read",
    remedy: "compare unitId, tables and addresses with the device's manual (addresses here count from 0)",
    device: target.device,
    address: `${target.endpoint} unit ${target.unitId}`,
    status: exceptionStatus(exception),
  });
}
