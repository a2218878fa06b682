/** Between an OPC UA server and its clients: what leaves is noted, and faults of services and sessions strike. */
import type { OPCUAServer, OPCUAServerOptions, ServerSession } from "node-opcua-server";
import { StatusCodes } from "node-opcua-status-code";
import { fromWire } from "./opcua-address-space.ts";
import type { OpcuaFaultSet } from "./opcua-faults.ts";
import type { OpcuaMap, OpcuaPoint } from "./opcua-map.ts";
import type { HeldValue } from "./opcua-memory.ts";
import type { Ring } from "./ring.ts";

/** One value that left the server. `timeMs` and `realTimeMs` are those of the answer; `status` may bear the overflow bit. */
export type OpcuaServedValue = HeldValue & {
  /** Remote address and port. */
  readonly client: string;
  readonly service: "read" | "publish";
  /** `republished`: a notification that a client asked for again. */
  readonly delivery: "normal" | "republished";
};

export type WireStats = {
  requests: number;
  /** Write requests, all refused: nothing is writable. */
  writesRefused: number;
  /** Answers kept back by the fault `silent`. */
  unanswered: number;
};

export type OpcuaWire = {
  readonly stats: WireStats;
  readonly serverOptions: Pick<OPCUAServerOptions, "onCreateMonitoredItem" | "onDeleteMonitoredItem">;
  attach(server: OPCUAServer): void;
  /** Open sessions of the server attached last. */
  readonly sessions: ReadonlySet<ServerSession>;
  /** Drops all sessions with their subscriptions; gives how many there were. */
  forgetSessions(): number;
  /** Stops the subscriptions that exist now; gives what makes them go on. */
  stopSubscriptions(keepAlive: boolean): () => void;
  /** Forgets requests that wait for their turn. */
  close(): void;
};

export type WireOptions = {
  readonly map: OpcuaMap;
  readonly faults: OpcuaFaultSet;
  readonly served: Ring<OpcuaServedValue>;
  readonly now: () => number;
  readonly realNow: () => number;
};

type Message = Parameters<OPCUAServer["on_request"]>[0];
type Channel = Parameters<OPCUAServer["on_request"]>[1];
type Response = Parameters<Channel["send_response"]>[1];

/** What is read of the library's messages (OPC 10000-4, 5.11.2, 5.14.5 and 5.14.6). */
type WireValue = {
  readonly value?: { readonly value?: unknown } | null;
  readonly statusCode: { readonly name: string };
  readonly sourceTimestamp?: Date | null;
};
type Notification = {
  readonly monitoredItems?: readonly { readonly clientHandle: number; readonly value: WireValue }[] | null;
};
type NodeToRead = { readonly attributeId: number; readonly nodeId: { readonly value: unknown } };
type KnownRequest = { readonly nodesToRead?: readonly NodeToRead[] | null; readonly subscriptionId?: number };
type KnownResponse = {
  readonly results?: readonly WireValue[] | null;
  readonly subscriptionId?: number;
  readonly notificationMessage?: { readonly notificationData?: readonly (Notification | null)[] | null } | null;
};

/** AttributeId of Value (OPC 10000-6, A.1). */
const VALUE_ATTRIBUTE = 13;
/** More publishing cycles than any test lasts. */
const NEVER = 2 ** 31;
const MAX_WAITING = 4096;

function createServedNotes({ map, served, now, realNow }: WireOptions) {
  const byIdentifier = new Map<unknown, OpcuaPoint>(map.points.map((point) => [point.identifier, point]));
  const byHandle = new Map<string, OpcuaPoint>();

  function note(
    point: OpcuaPoint | undefined,
    value: WireValue,
    about: Pick<OpcuaServedValue, "client" | "service" | "delivery">,
  ): void {
    if (point === undefined) return;
    served.add({
      point: point.name,
      raw: fromWire(point.type, value.value?.value),
      status: value.statusCode.name,
      valuesTimeMs: value.sourceTimestamp?.getTime() ?? Number.NaN,
      timeMs: now(),
      realTimeMs: realNow(),
      ...about,
    });
  }

  return {
    monitored(subscriptionId: number, clientHandle: number, identifier: unknown): void {
      const point = byIdentifier.get(identifier);
      if (point !== undefined) byHandle.set(`${subscriptionId}:${clientHandle}`, point);
    },
    unmonitored(subscriptionId: number, clientHandle: number): void {
      byHandle.delete(`${subscriptionId}:${clientHandle}`);
    },
    answered(client: string, name: string, request: KnownRequest, response: KnownResponse): void {
      if (name === "ReadResponse") {
        for (const [i, value] of (response.results ?? []).entries()) {
          const node = request.nodesToRead?.[i];
          if (node?.attributeId !== VALUE_ATTRIBUTE) continue;
          note(byIdentifier.get(node.nodeId.value), value, { client, service: "read", delivery: "normal" });
        }
      } else if (name === "PublishResponse" || name === "RepublishResponse") {
        const delivery = name === "PublishResponse" ? "normal" : "republished";
        const subscriptionId = response.subscriptionId ?? request.subscriptionId;
        for (const notification of response.notificationMessage?.notificationData ?? []) {
          for (const { clientHandle, value } of notification?.monitoredItems ?? []) {
            note(byHandle.get(`${subscriptionId}:${clientHandle}`), value, { client, service: "publish", delivery });
          }
        }
      }
    },
  };
}

/** Holds each request of a channel back for a while, one after the other. */
function createBrake() {
  const timers = new Set<NodeJS.Timeout>();
  const freeAtMs = new WeakMap<Channel, number>();
  return {
    /** Gives false where too many wait. */
    later(channel: Channel, delayMs: number, action: () => void): boolean {
      if (timers.size >= MAX_WAITING) return false;
      const clockMs = performance.now();
      const dueMs = Math.max(clockMs, freeAtMs.get(channel) ?? 0) + delayMs;
      freeAtMs.set(channel, dueMs);
      const timer = setTimeout(() => {
        timers.delete(timer);
        action();
      }, dueMs - clockMs);
      timers.add(timer);
      return true;
    },
    close(): void {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
  };
}

/** Creates the wire; it serves one server at a time, and outlives its restarts. */
export function createOpcuaWire(options: WireOptions): OpcuaWire {
  const { faults } = options;
  const stats: WireStats = { requests: 0, writesRefused: 0, unanswered: 0 };
  const notes = createServedNotes(options);
  const brake = createBrake();
  const sessions = new Set<ServerSession>();
  let attached: OPCUAServer | undefined;
  const subscriptions = () => [...sessions].flatMap((session) => session.publishEngine?.subscriptions ?? []);

  function attachChannel(channel: Channel): void {
    channel.setResponseInterceptor((_type, response, { request }) => {
      const client = `${channel.remoteAddress}:${channel.remotePort}`;
      notes.answered(client, response.schema.name, request as KnownRequest, response as unknown as KnownResponse);
    });
    const send = channel.send_response.bind(channel);
    channel.send_response = (type: string, response: Response, message: Message, done) => {
      if (faults.find("silent") === undefined) {
        send(type, response, message, done);
        return;
      }
      stats.unanswered += 1;
      done?.();
    };
  }

  return {
    stats,
    sessions,
    serverOptions: {
      onCreateMonitoredItem: async (subscription, item) => {
        notes.monitored(subscription.id, item.clientHandle, item.node?.nodeId.value);
        return StatusCodes.Good;
      },
      onDeleteMonitoredItem: async (subscription, item) => {
        notes.unmonitored(subscription.id, item.clientHandle);
        return StatusCodes.Good;
      },
    },
    attach(server) {
      attached = server;
      sessions.clear();
      server.on("create_session", (session: ServerSession) => sessions.add(session));
      server.on("session_closed", (session: ServerSession) => sessions.delete(session));
      server.on("channelSecured", attachChannel);
      const take = server.on_request.bind(server);
      server.on_request = (message, channel) => {
        stats.requests += 1;
        if (message.request.schema.name === "WriteRequest") stats.writesRefused += 1;
        const slow = faults.find("slow");
        if (slow === undefined) take(message, channel);
        else if (!brake.later(channel, slow.delayMs, () => take(message, channel))) stats.unanswered += 1;
      };
    },
    forgetSessions() {
      const dropped = [...sessions];
      for (const session of dropped) attached?.engine.closeSession(session.authenticationToken, true, "Forcing");
      return dropped.length;
    },
    stopSubscriptions(keepAlive) {
      const stopped = subscriptions();
      const keepAliveCounts = stopped.map((subscription) => subscription.maxKeepAliveCount);
      for (const subscription of stopped) {
        subscription.setPublishingMode(false);
        if (!keepAlive) subscription.maxKeepAliveCount = NEVER;
      }
      return () => {
        const alive = subscriptions();
        for (const [i, subscription] of stopped.entries()) {
          if (!alive.includes(subscription)) continue;
          subscription.maxKeepAliveCount = keepAliveCounts[i] ?? subscription.maxKeepAliveCount;
          subscription.setPublishingMode(true);
        }
      };
    },
    close: brake.close,
  };
}
