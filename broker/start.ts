import { keepEveryLength } from "@jilian/domain/mqtt-lengths.ts";
import { networkOf } from "@jilian/domain/network.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { Aedes, type Client } from "aedes";
import type { Logger } from "pino";
import { queueForNobody } from "./absent.ts";
import type { EnterpriseOf } from "./access.ts";
import { keepBirths } from "./aware.ts";
import { attachBus, type Bus } from "./bus.ts";
import { certificateCheck } from "./certificates.ts";
import type { BrokerConfig } from "./config.ts";
import { createEmitter } from "./emitter.ts";
import { addressOf, type BrokerFault, createGate, removedGateway } from "./gate.ts";
import { type Backlog, createBacklog, limitPackets, lineBudget } from "./limits.ts";
import { openListeners } from "./listeners.ts";
import { drainOf } from "./pace.ts";
import { type PacketParser, readPublishesQuickly } from "./quick-publish.ts";
import { retainByLevel } from "./retained.ts";
import { type AccessLedger, watchRevocations } from "./revocation.ts";
import { createSessions, type Sessions } from "./sessions.ts";
import { type BrokerStats, newCounters } from "./stats.ts";
import { dropTeller, logEvents, refusalTeller, reporter, type Told, tellEnd } from "./tell.ts";
import { throttle } from "./throttle.ts";
import type { Connection } from "./websocket.ts";

export type Broker = {
  /** The port without TLS, or the one with it where there is no other. */
  readonly port: number;
  readonly tlsPort: number | undefined;
  readonly webSocketPort: number | undefined;
  readonly bus: Bus;
  readonly stats: () => BrokerStats;
  /**
   * Takes up other limits for all clients, and a renewed certificate for new ones, without ending a connection.
   * @returns keys whose change needs a new start, as JSON pointers below `broker`
   */
  readonly reload: (config: BrokerConfig) => string[];
  /** Ends every connection and frees the ports. The wills of the clients go out to the bus before it ends. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type BrokerDeps = {
  ledger: Pick<Ledger, "authenticate"> & AccessLedger;
  /** Certificate of the platform's authority, PEM: then a certificate that it signed is an identity, over TLS. */
  authority?: string | undefined;
  /** How often the ledger is asked for withdrawn access; 1 s if absent. */
  revocationPollMs?: number;
  log: Logger;
  /** Whose a factory is; without it none is anybody's, and viewers hear nothing. */
  enterpriseOf?: EnterpriseOf;
  /**
   * Whether a gateway, `factory/gateway`, was registered and is not any more: it is cut off. One that never was registered may tell what
   * it likes under its own name, as all may without this.
   */
  isRemoved?: (gateway: string) => boolean;
  /** UTC ms; the time of the machine if absent. */
  now?: () => number;
  /** Called at most 5 times a second. */
  onFault?: (fault: BrokerFault) => void;
  /** How often the files of TLS are looked at for renewed ones. */
  tlsPollMs?: number;
  /** How many writes may wait for a client that does not read; for tests, which cannot fill 200,000 in short time. */
  endWrites?: number | undefined;
  /** How long a client to whom kept messages are handed out may take nothing; see pace.ts. */
  stallMs?: number | undefined;
};

/** How often one client's throttling is told. */
const throttleTellMs = 60_000;

type Guards = {
  aedes: Aedes;
  config: BrokerConfig;
  sessions: Sessions;
  backlog: Backlog;
  told: Told;
};

const tellSlow = (told: Told, subject: string) =>
  tellEnd(told, "slow", { code: "BROKER_SLOW_CLIENT", subject, detail: "does not read what is sent to it" });

/** Waits until a client's connection takes more; one that takes nothing is ended. */
function drainOrEnd({ conn, id }: Client, told: Told, backlog: Backlog, stallMs?: number): Promise<void> | undefined {
  const draining = drainOf(
    conn,
    () => {
      tellSlow(told, id);
      conn.destroy();
    },
    stallMs,
  );
  // Each holds little, but there may be many that read nothing.
  if (draining) backlog.bound();
  return draining;
}

/** Guards a new connection and hands it to Aedes. */
function receive(socket: Connection, { aedes, config, sessions, backlog, told }: Guards) {
  const client = aedes.handle(socket);
  const isAccepted = () => sessions.of(client) !== undefined;
  const who = () => (isAccepted() ? client.id : networkOf(addressOf(client)));
  const { log, counters, report } = told;
  let toldMs = Number.NEGATIVE_INFINITY;
  // Its types leave this out.
  readPublishesQuickly((client as unknown as { _parser: PacketParser })._parser, isAccepted);

  function onPause(meter: number): void {
    const scope = meter === 0 ? "client" : "enterprise";
    counters.throttled[scope] += 1;
    if (performance.now() - toldMs < throttleTellMs) return;
    toldMs = performance.now();
    const detail = `sends more than its ${scope === "client" ? "share" : "enterprise's share"}: it is read more slowly`;
    const fault = { code: "BROKER_THROTTLED", subject: who(), detail };
    log.warn({ ...fault, address: addressOf(client) }, "client throttled");
    report(fault);
  }
  const spend = throttle(socket, () => sessions.of(client)?.meters ?? [], onPause);
  limitPackets(socket, {
    most: () => ({ payloadBytes: config.maxPayloadBytes, topicBytes: config.limits.topicBytes }),
    isAccepted,
    onExcess: (lengthBytes) =>
      tellEnd(told, "oversize", {
        code: "BROKER_PAYLOAD_TOO_LARGE",
        subject: who(),
        detail: `packet of ${lengthBytes} bytes`,
      }),
    onChunk: spend,
  });
  backlog.guard(
    socket,
    () => tellSlow(told, who()),
    () => sessions.of(client)?.owner ?? "nobody",
  );
  return { isAccepted };
}

function birthKeeper(aedes: Aedes, config: BrokerConfig, { log, counters, report }: Told, enterpriseOf: EnterpriseOf) {
  const most = () => ({ gatewayBytes: config.limits.birthBytesPerGateway, totalBytes: config.limits.birthBytes });
  const onDropped = (node: string) => {
    counters.birthsDropped += 1;
    const fault = { code: "BROKER_BIRTH_NOT_KEPT", subject: node, detail: "beyond broker.limits.birthBytes" };
    log.debug(fault, "a birth is not kept for later subscribers");
    report(fault);
  };
  const ownerOf = (factory: string) => enterpriseOf(factory) ?? `factory ${factory}`;
  const births = keepBirths(aedes, most, onDropped, ownerOf);
  aedes.on("publish", (packet, client) => {
    if (client) births.note(packet.topic, packet.payload as Buffer);
  });
  return births;
}

/** Takes up what may change while the broker runs; the others are named. */
function takeUp(live: BrokerConfig, next: BrokerConfig): string[] {
  const { maxPayloadBytes, maxConnections, keepaliveMaxMs, limits, ...rest } = next;
  Object.assign(live, { maxPayloadBytes, maxConnections, keepaliveMaxMs });
  Object.assign(live.limits, limits);
  const keys = ["host", "port", "tls", "connectTimeoutMs"] as const;
  return keys.filter((key) => JSON.stringify(rest[key]) !== JSON.stringify(live[key])).map((key) => `/${key}`);
}

/**
 * Starts the broker: Aedes on TCP, TLS, WebSocket over TLS, with identities from the ledger, access rules (access.ts) and limits
 * (limits.ts, throttle.ts). Sessions, retained messages and queues are in memory only: durability comes from the commit notices end to
 * end (CONTRACTS 2).
 * @throws JilianError BROKER_LISTEN_FAILED, TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH
 */
export async function startBroker(given: BrokerConfig, deps: BrokerDeps): Promise<Broker> {
  const { log, enterpriseOf = () => undefined, isRemoved = () => false, now = Date.now } = deps;
  const config = { ...given, limits: { ...given.limits } };
  const counters = newCounters();
  const told = { log, counters, report: reporter(deps, counters), lines: lineBudget() };
  const refusedByCode = new Map<string, number>();
  const sessions = createSessions(() => config.limits, enterpriseOf);
  const connected = new Set<string>();
  const emitter = createEmitter();
  const gate = createGate(config, {
    subscribing: emitter.ownedBy,
    ...{ ledger: deps.ledger, log, sessions, enterpriseOf, isRemoved, now },
    note: refusalTeller(told, refusedByCode),
    certificates: deps.authority === undefined ? undefined : certificateCheck(deps.authority, deps.ledger),
    isConnected: (clientId) => connected.has(clientId),
    onTakeover: () => {
      counters.takeovers += 1;
    },
    onDelivered: () => {
      counters.delivered += 1;
    },
  });
  keepEveryLength();
  // Levels of topics are bounded by the gate, which counts and tells it; what is beyond 100 Aedes itself cannot take.
  const aedes = await Aedes.createBroker({
    ...gate.hooks,
    mq: emitter,
    connectTimeout: config.connectTimeoutMs,
    concurrency: 100,
    maxTopicLevels: 100,
  });
  queueForNobody(aedes);
  aedes.on("client", ({ id }) => connected.add(id));
  aedes.on("clientDisconnect", ({ id }) => connected.delete(id));
  const bus = attachBus(aedes, log);
  logEvents(aedes, gate, told);
  const births = birthKeeper(aedes, config, told, enterpriseOf);
  const most = () => ({ clientBytes: config.limits.client.queueBytes, totalBytes: config.limits.queueBytes });
  const backlog = createBacklog(most, deps.endWrites);
  retainByLevel(aedes, {
    qosOf: emitter.qosOf,
    drainOf: (client) => drainOrEnd(client, told, backlog, deps.stallMs),
  });
  const guards = { aedes, config, sessions, told, backlog };
  const watch = watchRevocations(aedes, {
    ...{ ledger: deps.ledger, log, holdingOf: gate.holdingOf, everyMs: deps.revocationPollMs },
    displaced: (client, { principal: { kind, name } }) => {
      if (kind === "gateway" && isRemoved(name)) return removedGateway;
      return sessions.hasMoved(client) ? "its factory is another enterprise's now: it may come again" : undefined;
    },
    onCut: (fault) => tellEnd(told, "withdrawn", fault),
  });
  const closeAedes = () => new Promise<void>((resolve) => aedes.close(resolve));
  const { tlsPollMs, authority } = deps;
  const listeners = await openListeners(config, {
    ...{ log, onClient: (socket: Connection) => receive(socket, guards), onDrop: dropTeller(told), authority },
    ...(tlsPollMs === undefined ? {} : { tlsPollMs }),
  }).catch(async (thrown: unknown) => {
    watch[Symbol.dispose]();
    await closeAedes();
    throw thrown;
  });
  let closing: Promise<void> | undefined;
  async function end(): Promise<void> {
    listeners.stop();
    watch[Symbol.dispose]();
    await closeAedes();
    // Those that had not been accepted are unknown to Aedes.
    await listeners.cut();
  }
  const close = () => {
    closing ??= end();
    return closing;
  };
  const kinds = ["gateway", "host", "viewer", "operator", "api"] as const;
  return {
    port: (listeners.port ?? listeners.tlsPort) as number,
    tlsPort: listeners.tlsPort,
    webSocketPort: listeners.webSocketPort,
    bus,
    reload: (next) => {
      listeners.renew();
      return takeUp(config, next);
    },
    stats: () => ({
      clients: aedes.connectedClients,
      clientsByKind: Object.fromEntries(
        kinds.map((kind) => [kind, sessions.countOf(kind)]),
      ) as BrokerStats["clientsByKind"],
      ...counters,
      birthBytes: births.bytes(),
      waitingBytes: backlog.bytes(),
      refusedByCode,
      ...listeners.stats(),
    }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
