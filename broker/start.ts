import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import { keepEveryLength } from "@jilian/domain/mqtt-lengths.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { Aedes, type Client } from "aedes";
import type { Logger } from "pino";
import { attachBus, type Bus } from "./bus.ts";
import { certificateCheck } from "./certificates.ts";
import type { BrokerConfig } from "./config.ts";
import { addressOf, type BrokerFault, createGate, type Gate, type Note } from "./gate.ts";
import { deferBackPressure, limitPackets } from "./limits.ts";
import { type ListenerStats, openListeners } from "./listeners.ts";
import { type AccessLedger, watchRevocations } from "./revocation.ts";

export type BrokerStats = ListenerStats & {
  /** Clients connected and accepted. */
  clients: number;
  /** Messages taken from clients and from the bus. */
  messages: number;
  /** Messages handed to clients, each for each of its subscribers. */
  delivered: number;
  refusedConnects: number;
  refusedPublishes: number;
  refusedSubscribes: number;
  /** All of these by the code of the reason (access.ts, gate.ts). */
  refusedByCode: ReadonlyMap<string, number>;
  /** Connections ended because a packet was too large. */
  oversize: number;
  /** Connections ended because the client did not read what was sent to it. */
  slowClients: number;
  /** Gateways that pushed out a live connection of their own name. */
  takeovers: number;
  /** Connections ended because a certificate or a password had been withdrawn. */
  withdrawn: number;
  /** Faults that `onFault` was not told because too many came at once; they are in the log. */
  faultsNotReported: number;
};

export type Broker = {
  /** The port without TLS, or the one with it where there is no other. */
  readonly port: number;
  readonly tlsPort: number | undefined;
  readonly bus: Bus;
  readonly stats: () => BrokerStats;
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
  /** Called at most 5 times a second. */
  onFault?: (fault: BrokerFault) => void;
  /** How often the files of TLS are looked at for renewed ones. */
  tlsPollMs?: number;
  /** How many writes may wait for a client that does not read; for tests, which cannot fill 200,000 in short time. */
  endWrites?: number | undefined;
};

const drainTimeoutMs = 2000;
const maxFaultsPerSecond = 5;

type Counters = Omit<BrokerStats, "clients" | "refusedByCode" | keyof ListenerStats>;

function newCounters(): Counters {
  return {
    messages: 0,
    delivered: 0,
    refusedConnects: 0,
    refusedPublishes: 0,
    refusedSubscribes: 0,
    oversize: 0,
    slowClients: 0,
    takeovers: 0,
    withdrawn: 0,
    faultsNotReported: 0,
  };
}

/** Passes faults on, a few a second at most. */
function reporter(deps: BrokerDeps, counters: Counters): (fault: BrokerFault) => void {
  let second = 0;
  let told = 0;
  return (fault) => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      second = now;
      told = 0;
    }
    told += 1;
    if (told > maxFaultsPerSecond) {
      counters.faultsNotReported += 1;
      return;
    }
    try {
      deps.onFault?.(fault);
    } catch (err) {
      deps.log.error({ err }, `cannot report a fault: ${messageOf(err)}`);
    }
  };
}

function logEvents(aedes: Aedes, gate: Gate, log: Logger, counters: Counters, report: (fault: BrokerFault) => void) {
  const slow = new WeakSet<Client>();
  aedes.on("publish", (packet) => {
    if (!packet.topic.startsWith("$")) counters.messages += 1;
  });
  aedes.on("client", (client) => {
    log.info(
      { client: client.id, kind: gate.principalOf(client)?.kind, address: addressOf(client) },
      "client connected",
    );
  });
  aedes.on("clientDisconnect", (client) => log.info({ client: client.id }, "client disconnected"));
  aedes.on("clientError", (client, err) => {
    if (err.message === "drain timeout") {
      // Aedes tells it once for each message that waited.
      if (slow.has(client)) return;
      slow.add(client);
      counters.slowClients += 1;
      const fault = { code: "BROKER_SLOW_CLIENT", subject: client.id, detail: `read nothing for ${drainTimeoutMs} ms` };
      log.warn({ ...fault, address: addressOf(client) }, "client disconnected: it does not read what is sent to it");
      report(fault);
      return;
    }
    // Refusals were logged as warnings where they were decided; the rest is a client's broken connection.
    log.debug({ client: client.id, code: codeOf(err) }, messageOf(err));
  });
  aedes.on("connectionError", (client, err) => log.debug({ address: addressOf(client) }, messageOf(err)));
  // Its own types leave out this event.
  (aedes as EventEmitter).on("error", (err) => log.error({ err, code: "BROKER_FAILED" }, messageOf(err)));
}

/** Guards a new connection and hands it to Aedes. */
function receive(
  aedes: Aedes,
  gate: Gate,
  socket: Socket,
  { maxPayloadBytes, endWrites }: { maxPayloadBytes: number; endWrites: number | undefined },
  note: (counter: "oversize" | "slowClients", fault: BrokerFault) => void,
): void {
  const client = aedes.handle(socket);
  const who = () => client.id ?? addressOf(client);
  limitPackets(socket, {
    maxPayloadBytes,
    isAccepted: () => gate.principalOf(client) !== undefined,
    onExcess: (lengthBytes) =>
      note("oversize", { code: "BROKER_PAYLOAD_TOO_LARGE", subject: who(), detail: `packet of ${lengthBytes} bytes` }),
  });
  const onUnread = () =>
    note("slowClients", { code: "BROKER_SLOW_CLIENT", subject: who(), detail: "does not read what is sent to it" });
  deferBackPressure(socket, onUnread, endWrites);
}

/**
 * Starts the broker: Aedes on TCP, TLS or both, with identities from the ledger, access rules (access.ts) and limits (limits.ts). Sessions, retained
 * messages and queues are in memory only: durability comes from the commit notices end to end (CONTRACTS 2).
 * @throws JilianError BROKER_LISTEN_FAILED, TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH
 */
export async function startBroker(config: BrokerConfig, deps: BrokerDeps): Promise<Broker> {
  const { log } = deps;
  const counters = newCounters();
  const report = reporter(deps, counters);
  const refusedByCode = new Map<string, number>();
  const note: Note = (counter, { code, reason }, { subject, address, detail }) => {
    counters[counter] += 1;
    refusedByCode.set(code, (refusedByCode.get(code) ?? 0) + 1);
    log.warn({ code, subject, address, detail }, `refused: ${reason}`);
    report({ code, subject, detail: detail ? `${reason} (${detail})` : reason });
  };
  const connected = new Set<string>();
  const gate = createGate(config, {
    ledger: deps.ledger,
    log,
    note,
    certificates: deps.authority === undefined ? undefined : certificateCheck(deps.authority, deps.ledger),
    isConnected: (clientId) => connected.has(clientId),
    onTakeover: () => {
      counters.takeovers += 1;
    },
  });
  keepEveryLength();
  const aedes = await Aedes.createBroker({
    ...gate.hooks,
    authorizeForward: (_client, packet) => {
      counters.delivered += 1;
      return packet;
    },
    connectTimeout: config.connectTimeoutMs,
    drainTimeout: drainTimeoutMs,
    concurrency: 100,
    maxTopicLevels: 8,
  });
  aedes.on("client", ({ id }) => connected.add(id));
  aedes.on("clientDisconnect", ({ id }) => connected.delete(id));
  const bus = attachBus(aedes, log);
  logEvents(aedes, gate, log, counters, report);
  const cut = (counter: "oversize" | "slowClients" | "withdrawn", fault: BrokerFault) => {
    counters[counter] += 1;
    log.warn(fault, "client disconnected");
    report(fault);
  };
  const watch = watchRevocations(aedes, {
    ...{ ledger: deps.ledger, log, holdingOf: gate.holdingOf, everyMs: deps.revocationPollMs },
    onCut: (fault) => cut("withdrawn", fault),
  });
  const closeAedes = () => new Promise<void>((resolve) => aedes.close(resolve));
  const { tlsPollMs, endWrites, authority } = deps;
  const limits = { maxPayloadBytes: config.maxPayloadBytes, endWrites };
  const listeners = await openListeners(config, {
    log,
    onClient: (socket) => receive(aedes, gate, socket, limits, cut),
    authority,
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
  return {
    port: (listeners.port ?? listeners.tlsPort) as number,
    tlsPort: listeners.tlsPort,
    bus,
    stats: () => ({ clients: aedes.connectedClients, ...counters, refusedByCode, ...listeners.stats() }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
