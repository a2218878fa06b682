/** The TCP connections of a port of this process, whoever serves them: to reset them as a failing network does. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";

export type SocketWatch = {
  readonly open: number;
  readonly accepted: number;
  /** Resets all connections; with `cut` also those to come, until it is taken back. */
  reset(): void;
  setCut(cut: boolean): void;
  close(): void;
};

/** Watches a listening port by Node's own channel, for a server may keep its sockets to itself. */
export function watchSockets(port: () => number): SocketWatch {
  const sockets = new Set<Socket>();
  let accepted = 0;
  let isCut = false;
  const onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    if (socket.localPort !== port()) return;
    accepted += 1;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    if (isCut) socket.resetAndDestroy();
  };
  subscribe("net.server.socket", onSocket);
  const reset = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    get open() {
      return sockets.size;
    },
    get accepted() {
      return accepted;
    },
    reset,
    setCut(cut) {
      isCut = cut;
      if (cut) reset();
    },
    close() {
      unsubscribe("net.server.socket", onSocket);
    },
  };
}
