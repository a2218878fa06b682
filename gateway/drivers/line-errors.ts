import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";

/** Of which line an error speaks, and to which device. */
export type LineParty = { readonly line: string; readonly endpoint: string; readonly device: string };

/** Makes an error for one device: what ends a line's exchanges ends those of several devices, each with an error of its own. */
export type LineFault = (party: LineParty) => JilianError;

const addressOf = ({ line, endpoint }: LineParty) => `line ${line} (${endpoint})`;

type Told = { code: string; message: string; action: string; remedy: string; status: number; cause?: unknown };

function fault({ message, ...detail }: Told): LineFault {
  return (party) => new JilianError(message, { ...detail, device: party.device, address: addressOf(party) });
}

/** System errors of an opening, in the words of whoever stands in front of the cabinet. */
const openFaults: Readonly<Record<string, readonly [message: string, remedy: string]>> = {
  ENOENT: ["there is no such port", "is the adapter plugged in? `ls /dev/serial/by-id` shows those that are"],
  ENXIO: [
    "there is no device behind this port",
    "choose a port that exists: `ls /dev/serial/by-id`, `dmesg | grep tty`",
  ],
  ENODEV: [
    "there is no device behind this port",
    "choose a port that exists: `ls /dev/serial/by-id`, `dmesg | grep tty`",
  ],
  EIO: ["the port does not work", "pull the adapter and plug it in again; replace it if that does not help"],
  EACCES: ["this user may not open the port", "add the user to the group of the port, usually dialout"],
  EPERM: [
    "this program may not open the port",
    "add the user to group dialout; does the service's unit allow the device?",
  ],
  EBUSY: ["another program has the port", "end it: two masters on one line disturb each other"],
  ECONNREFUSED: ["connection refused", "is the converter a TCP server in transparent mode, and on this port?"],
  ECONNRESET: ["connection reset", "does another program hold the only connection of the converter?"],
  EHOSTUNREACH: ["no route to the host", "check cable, switch, VLAN and subnet mask"],
  ENETUNREACH: ["no route to the network", "check this box's address and default gateway"],
  ENOTFOUND: ["the host name is unknown", "write its IP address, or correct the name"],
  EADDRINUSE: ["another program listens on this port", "choose another port for the line, or end that program"],
  EADDRNOTAVAIL: ["this box does not have the address", "correct host, or leave it out to listen on all"],
};

/** Why a medium cannot be opened, where the system has no words for it; {@link lineUnopened} adds line and device. */
export function mediumError(code: string, message: string, remedy: string): JilianError {
  return new JilianError(message, { code, action: "open the line", remedy });
}

/** Codes of errors after which nothing was asked. */
export const neverAsked: ReadonlySet<unknown> = new Set(["LINE_OPEN_FAILED", "LINE_BOX_AWAY"]);

/** The line could not be opened. @param cause error of the system, or a {@link mediumError} */
export function lineUnopened(cause: unknown): LineFault {
  const status = Status.BadNotConnected;
  if (cause instanceof JilianError) {
    const { code, message, action, remedy } = cause;
    return fault({ code, message, action, remedy, status });
  }
  const known = openFaults[codeOf(cause)];
  const [message, remedy] = known ?? [messageOf(cause), "check what the configuration says of the line"];
  return fault({ code: "LINE_OPEN_FAILED", message, action: "open the line", remedy, status, cause });
}

export function lineLost(cause: unknown): LineFault {
  const why = cause === undefined ? "its other side is gone" : messageOf(cause);
  return fault({
    code: "LINE_LOST",
    message: `lost during an exchange: ${why}`,
    action: "read",
    remedy: "check plug, cable and power of the adapter, converter or box",
    status: Status.BadCommunicationError,
    cause,
  });
}

/** Nothing came, or nothing but our own request. */
export function lineTimeout(timeoutMs: number): LineFault {
  return fault({
    code: "LINE_TIMEOUT",
    message: `no answer within ${timeoutMs} ms`,
    action: "read",
    remedy: "is the device powered and its address right? A/B wires, baud rate, terminator? Is timeoutMs long enough?",
    status: Status.BadTimeout,
  });
}

/** Bytes came, none of which are an answer. How many is another number each time, and this text is told once: they are in the line's counts. */
export function lineGarbled(timeoutMs: number): LineFault {
  return fault({
    code: "LINE_GARBLED",
    message: `bytes came within ${timeoutMs} ms, and no answer among them`,
    action: "read",
    remedy: "compare baud rate, parity and stop bits; do two devices have one address, or is there a second master?",
    status: Status.BadDecodingError,
  });
}

export const lineStopped: LineFault = fault({
  code: "LINE_STOPPED",
  message: "stopped",
  action: "read",
  remedy: "none: the gateway ends or the device was closed",
  status: Status.BadNotConnected,
});
