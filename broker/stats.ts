import type { Principal } from "@jilian/store/ledger.ts";
import type { ListenerStats } from "./listeners.ts";

/** Why connections were ended: a packet too large, a client that does not read, an account withdrawn, bytes that are not MQTT, silence. */
export const endReasons = ["oversize", "slow", "withdrawn", "malformed", "silent"] as const;
export type EndReason = (typeof endReasons)[number];

export type BrokerStats = ListenerStats & {
  /** Clients connected and accepted. */
  clients: number;
  clientsByKind: Readonly<Record<Principal["kind"], number>>;
  /** Messages taken from clients and from the bus. */
  messages: number;
  /** Messages handed to clients, each for each of its subscribers. */
  delivered: number;
  refusedConnects: number;
  refusedPublishes: number;
  refusedSubscribes: number;
  /** All of these by the code of the reason (access.ts, gate.ts). */
  refusedByCode: ReadonlyMap<string, number>;
  ended: Readonly<Record<EndReason, number>>;
  /** Pauses in reading from a client, because it or its enterprise sent more than its share. */
  throttled: Readonly<Record<"client" | "enterprise", number>>;
  /** Gateways that pushed out a live connection of their own name. */
  takeovers: number;
  /** Births kept for later subscribers, and those that had no room. */
  birthBytes: number;
  birthsDropped: number;
  /** Bytes that wait for clients whose connections take no more for now. */
  waitingBytes: number;
  /** Faults that `onFault` was not told because too many came at once; they are in the log. */
  faultsNotReported: number;
  /** Lines that the log did not get because too many came about one matter. */
  linesNotLogged: number;
};

export type Counters = Omit<
  BrokerStats,
  "clients" | "clientsByKind" | "birthBytes" | "waitingBytes" | "refusedByCode" | keyof ListenerStats
> & {
  ended: Record<EndReason, number>;
  throttled: Record<"client" | "enterprise", number>;
};

export function newCounters(): Counters {
  return {
    ...{ messages: 0, delivered: 0, takeovers: 0, birthsDropped: 0, faultsNotReported: 0, linesNotLogged: 0 },
    ...{ refusedConnects: 0, refusedPublishes: 0, refusedSubscribes: 0 },
    ended: { oversize: 0, slow: 0, withdrawn: 0, malformed: 0, silent: 0 },
    throttled: { client: 0, enterprise: 0 },
  };
}
