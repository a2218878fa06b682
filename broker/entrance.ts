import type { Socket } from "node:net";
import { networkOf } from "@jilian/domain/network.ts";
import type { BrokerConfig } from "./config.ts";
import { handshakeBudget } from "./limits.ts";
import { roomFor } from "./strangers.ts";

/** All connections, those of one address, handshakes under way, how often one address begins some. */
export const dropReasons = ["connections", "address", "handshakes", "handshakeRate"] as const;
export type DropReason = (typeof dropReasons)[number];

export type Door = {
  /** Whether a TLS handshake comes first. */
  readonly isSecure: boolean;
  /** Takes a connection; tells by `know`, as soon as somebody can know, whether its client was let in. @returns false when it cannot */
  readonly take: (socket: Socket, know: (isAccepted: () => boolean) => void) => boolean;
};

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

  const handshakes = handshakeBudget(() => {
    const { handshakesAtOnce, handshakesPerSecond } = config.limits.address;
    return { atOnce: handshakesAtOnce, perSecond: handshakesPerSecond };
  });
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

  /** Lets a connection in, or finds the limit that it is beyond. */
  function enter(socket: Socket, address: string, { isSecure, take }: Door): boolean {
    const network = networkOf(address);
    // First of all: who is turned away for this pushes out nobody.
    if (isSecure && !handshakes.isLeft(network)) {
      drop("handshakeRate", address);
      return false;
    }
    const limit = beyond(network);
    if (limit !== undefined) {
      drop(limit, address);
      if (!givesWay(limit, address) || beyond(network) !== undefined) return false;
    }
    if (isSecure) handshakes.spend(network);
    if (take(socket, (isAccepted) => known.set(socket, isAccepted))) return true;
    drop("handshakes", address);
    return false;
  }

  function accept(socket: Socket, door: Door): void {
    // A connection may break before anyone else listens.
    socket.on("error", () => {});
    const address = socket.remoteAddress ?? "unknown";
    if (!enter(socket, address, door)) {
      socket.destroy();
      return;
    }
    const network = networkOf(address);
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
