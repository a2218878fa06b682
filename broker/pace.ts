import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { secureSocketOf } from "./websocket.ts";

/** How long a connection that is full may take nothing at all. */
const defaultStallMs = 30_000;

/** What Node.js leaves out of its types; its own time-out of sockets asks for the same. TLS has the handle of its connection in its own. */
type Handle = { writeQueueSize?: number; _parent?: Handle };

/**
 * How far a connection has got with what was written to it; another value means that it has taken something. A large piece is under way
 * for long: what of it the operating system has taken is known to the handle alone.
 */
function progressOf(connection: Duplex): string {
  const socket = secureSocketOf(connection) as Socket & { _handle?: Handle | null };
  const { writeQueueSize = 0 } = socket._handle?._parent ?? socket._handle ?? {};
  return `${socket.bytesWritten - socket.writableLength} ${writeQueueSize}`;
}

/**
 * Waits for connections that are full. What is handed out at the pace of who reads never meets the bounds on what may wait (limits.ts):
 * one that reads nothing is told by time.
 * @param onStalled told of a connection that has taken nothing for `stallMs` to twice as long; it is to end it
 * @returns resolves when the connection takes more, or is closed; undefined where it takes more now
 */
export function drainOf(
  connection: Duplex,
  onStalled: () => void,
  stallMs: number = defaultStallMs,
): Promise<void> | undefined {
  if (!connection.writableNeedDrain || connection.destroyed) return undefined;
  return new Promise((resolve) => {
    let before = progressOf(connection);
    const timer = setInterval(() => {
      const now = progressOf(connection);
      if (now === before) onStalled();
      before = now;
    }, stallMs);
    const done = () => {
      clearInterval(timer);
      connection.off("drain", done);
      connection.off("close", done);
      resolve();
    };
    connection.on("drain", done);
    connection.on("close", done);
  });
}
