import type { Socket } from "node:net";
import { networkOf } from "@jilian/domain/network.ts";
import type { BrokerConfig } from "./config.ts";
import { roomFor } from "./strangers.ts";

/** All connections, those of one address, handshakes under way. */
export const dropReasons = ["connections", "address", "handshakes"] as const;
export type DropReason = (typeof dropReasons)[number];

/** Takes a connection; tells by `know`, as soon as somebody can know, whether its client was let in. @returns false when it cannot */
export type Take = (socket: Socket, know: (isAccepted: () => boolean) => void) => boolean;

/**
 * Counts connections, all and by address, and drops those beyond the limits: of those whose client was not let in the oldest of the
 * address that has most of them, where that is fair, otherwise the newcomer.
 */
export function entrance(
  config: Pick<BrokerConfig, "maxConnections" | "limits">,
  onDrop: (reason: DropReason, address: string) => void,
) {
  const sockets = new Set<Socket>();
  const byAddress = new Map<string, number>();
  const networks = new WeakMap<Socket, string>();
  const past = { bytesRead: 0, bytesWritten: 0 };
  const dropped = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<DropReason, number>;

  const known = new WeakMap<Socket, () => boolean>();
  const strangers = roomFor<Socket>((socket) => {
    remove(socket);
    socket.destroy();
  });

  function remove(socket: Socket): void {
    strangers.leave(socket);
    if (!sockets.delete(socket)) return;
    const network = networks.get(socket) as string;
    const left = (byAddress.get(network) ?? 1) - 1;
    if (left > 0) byAddress.set(network, left);
    else byAddress.delete(network);
    past.bytesRead += socket.bytesRead;
    past.bytesWritten += socket.bytesWritten;
  }
  function beyond(network: string): DropReason | undefined {
    if (sockets.size >= config.maxConnections) return "connections";
    return (byAddress.get(network) ?? 0) >= config.limits.connectionsPerAddress ? "address" : undefined;
  }
  /** Whether another one goes in place of a newcomer. */
  function givesWay(reason: DropReason, address: string): boolean {
    for (const socket of strangers.all()) if (known.get(socket)?.()) strangers.leave(socket);
    return strangers.makeRoom(address, reason === "address");
  }
  function drop(reason: DropReason, address: string): void {
    dropped[reason] += 1;
    onDrop(reason, address);
  }

  function accept(socket: Socket, take: Take): void {
    // A connection may break before anyone else listens.
    socket.on("error", () => {});
    const address = socket.remoteAddress ?? "unknown";
    const network = networkOf(address);
    const limit = beyond(network);
    if (limit !== undefined) drop(limit, address);
    const isFull = limit !== undefined && !(givesWay(limit, address) && beyond(network) === undefined);
    const isTaken = !isFull && take(socket, (isAccepted) => known.set(socket, isAccepted));
    if (!isTaken) {
      if (!isFull) drop("handshakes", address);
      socket.destroy();
      return;
    }
    sockets.add(socket);
    networks.set(socket, network);
    strangers.enter(socket, address);
    byAddress.set(network, (byAddress.get(network) ?? 0) + 1);
    socket.once("close", () => remove(socket));
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
