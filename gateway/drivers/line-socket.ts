import { connect, type Socket } from "node:net";
import type { Logger } from "pino";
import type { TcpLine } from "./line-config.ts";
import { mediumError } from "./line-errors.ts";
import type { Medium, Opening, Port, PortEvents } from "./line-medium.ts";
import { endpointOf } from "./modbus-errors.ts";
import { onTimeout } from "./timer.ts";

/** Silence between two frames where a network cuts and joins them as it likes, ms. */
export const networkQuietMs = 20;
/** How soon the system looks whether a silent peer is still there; a route through carrier NAT dies without a word. */
const keepAliveMs = 30_000;

type Address = { readonly host: string; readonly port: number };

/** A connected socket as a port. The caller has no listeners left on it but its own for `error`. */
export function socketPort(socket: Socket, events: PortEvents): Port {
  let open = true;
  let cause: unknown;
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveMs);
  socket.on("data", (chunk: Buffer) => {
    if (open) events.onData(chunk);
  });
  socket.on("error", (thrown) => {
    cause = thrown;
  });
  // An `error` is always followed by `close`; a peer's orderly end comes as `close` alone.
  socket.on("close", () => {
    if (!open) return;
    open = false;
    events.onLost(cause);
  });
  return {
    write: (bytes) => {
      if (open) socket.write(bytes);
    },
    close: () => {
      open = false;
      socket.destroy();
    },
  };
}

/** Opens the socket, bounded by the time-out. The system's own would be minutes. */
function openSocket({ host, port }: Address, { signal, timeoutMs, events }: Opening): Promise<Port> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const finish = (thrown?: unknown) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      socket.off("connect", onConnect);
      if (thrown === undefined) socket.off("error", finish);
      // The error listener stays: a destroyed socket may still report, and nobody else listens.
      else socket.destroy();
      if (thrown === undefined) resolve(socketPort(socket, events));
      else reject(thrown);
    };
    const onConnect = () => finish();
    const onAbort = () => finish(signal.reason);
    const late = `no answer to the connect within ${timeoutMs} ms`;
    const remedy = "check address, power and cable; does a firewall drop the packets?";
    const timer = onTimeout(timeoutMs, () => {
      if (socket.connecting) finish(mediumError("LINE_OPEN_FAILED", late, remedy));
    });
    socket.on("error", finish).once("connect", onConnect);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/**
 * A converter's socket that carries the bytes of the line as they are, as the medium of a line. Opens nothing yet. A line with a backup
 * address is tried at the other one after each opening by which no byte came: it stays where the line is heard. Never open at both: two
 * converters on one line would be two masters.
 */
export function tcpMedium(line: Omit<TcpLine, "kind"> & Partial<TcpLine>, log: Logger): Medium {
  const addresses: readonly Address[] = [line, ...(line.backup ? [line.backup] : [])];
  let at = 0;
  let isHeard = true;
  /** Whether the change of address was told since the line was heard: while both are dead there is one at every attempt. */
  let isTold = false;
  const current = () => addresses[at] as Address;
  const endpoint = () => endpointOf(current().host, current().port);

  function choose(): void {
    if (!isHeard && addresses.length > 1) {
      at = (at + 1) % addresses.length;
      const level = isTold ? "debug" : "warn";
      isTold = true;
      log[level]({ line: line.id, address: endpoint() }, "nothing was heard of the line: its other address is tried");
    }
    isHeard = false;
  }

  return {
    endpoint,
    async open(opening) {
      choose();
      const { onData, onLost } = opening.events;
      const hear = (chunk: Buffer) => {
        isHeard = true;
        isTold = false;
        onData(chunk);
      };
      return await openSocket(current(), { ...opening, events: { onData: hear, onLost } });
    },
    reopensSilent: true,
    endsIdle: false,
    servesInTurn: true,
    characterMs: 0,
    quietMs: line.quietMs ?? networkQuietMs,
    turnaroundMs: line.turnaroundMs,
    interjections: [],
    close: async () => undefined,
  };
}
