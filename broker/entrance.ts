import type { Socket } from "node:net";
import type { BrokerConfig } from "./config.ts";
import { networkOf } from "./limits.ts";

/** All connections, those of one address, handshakes under way. */
export const dropReasons = ["connections", "address", "handshakes"] as const;
export type DropReason = (typeof dropReasons)[number];

/** Counts connections, all and by address, and drops those beyond the limits. */
export function entrance(
  config: Pick<BrokerConfig, "maxConnections" | "limits">,
  onDrop: (reason: DropReason, address: string) => void,
) {
  const sockets = new Set<Socket>();
  const byAddress = new Map<string, number>();
  const past = { bytesRead: 0, bytesWritten: 0 };
  const dropped = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<DropReason, number>;

  function accept(socket: Socket, take: (socket: Socket) => boolean): void {
    // A connection may break before anyone else listens.
    socket.on("error", () => {});
    const address = socket.remoteAddress ?? "unknown";
    const network = networkOf(address);
    const ofAddress = byAddress.get(network) ?? 0;
    const beyond: DropReason | undefined =
      sockets.size >= config.maxConnections
        ? "connections"
        : ofAddress >= config.limits.connectionsPerAddress
          ? "address"
          : undefined;
    const reason = beyond ?? (take(socket) ? undefined : "handshakes");
    if (reason !== undefined) {
      dropped[reason] += 1;
      onDrop(reason, address);
      socket.destroy();
      return;
    }
    sockets.add(socket);
    byAddress.set(network, ofAddress + 1);
    socket.once("close", () => {
      sockets.delete(socket);
      const left = (byAddress.get(network) ?? 1) - 1;
      if (left > 0) byAddress.set(network, left);
      else byAddress.delete(network);
      past.bytesRead += socket.bytesRead;
      past.bytesWritten += socket.bytesWritten;
    });
  }
  const sum = (key: "bytesRead" | "bytesWritten") =>
    [...sockets].reduce((total, socket) => total + socket[key], past[key]);
  return {
    accept,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    stats: () => ({
      connections: sockets.size,
      dropped: { ...dropped },
      bytesReceived: sum("bytesRead"),
      bytesSent: sum("bytesWritten"),
    }),
  };
}
