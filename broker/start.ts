import { type EventEmitter, once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { Aedes, type Client } from "aedes";
import type { Logger } from "pino";
import { attachBus, type Bus } from "./bus.ts";
import type { BrokerConfig } from "./config.ts";
import { addressOf, type BrokerFault, createGate, type Gate, type Note } from "./gate.ts";
import { deferBackPressure, limitPackets } from "./limits.ts";

export type BrokerStats = {
  /** Clients connected and accepted. */
  clients: number;
  /** Messages taken from clients and from the bus. */
  messages: number;
  refusedConnects: number;
  refusedPublishes: number;
  refusedSubscribes: number;
  /** Connections ended because a packet was too large. */
  oversize: number;
  /** Connections ended because the client did not read what was sent to it. */
  slowClients: number;
  /** Connections beyond `maxConnections`, closed at once. */
  dropped: number;
  /** Faults that `onFault` was not told because too many came at once; they are in the log. */
  faultsNotReported: number;
};

export type Broker = {
  readonly port: number;
  readonly bus: Bus;
  readonly stats: () => BrokerStats;
  /** Ends every connection and frees the port. The wills of the clients go out to the bus before it ends. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type BrokerDeps = {
  ledger: Pick<Ledger, "authenticate">;
  log: Logger;
  /** Called at most 5 times a second. */
  onFault?: (fault: BrokerFault) => void;
};

const drainTimeoutMs = 2000;
const maxFaultsPerSecond = 5;

type Counters = Omit<BrokerStats, "clients">;

function newCounters(): Counters {
  return {
    messages: 0,
    refusedConnects: 0,
    refusedPublishes: 0,
    refusedSubscribes: 0,
    oversize: 0,
    slowClients: 0,
    dropped: 0,
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

async function listen(server: Server, { host, port }: BrokerConfig): Promise<number> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new JilianError(`the broker cannot listen on ${host}:${port}: ${messageOf(cause)}`, {
      code: "BROKER_LISTEN_FAILED",
      action: "start the broker",
      remedy: "stop what uses this port, or change broker.host or broker.port",
      address: `${host}:${port}`,
      cause,
    });
  }
  return (server.address() as AddressInfo).port;
}

async function end(server: Server, aedes: Aedes, sockets: ReadonlySet<Socket>): Promise<void> {
  const freed = server.listening ? once(server, "close") : undefined;
  server.close();
  await new Promise<void>((resolve) => aedes.close(resolve));
  // Those that had not been accepted are unknown to Aedes.
  for (const socket of sockets) socket.destroy();
  await freed;
}

/** Guards a new connection and hands it to Aedes. */
function receive(
  aedes: Aedes,
  gate: Gate,
  socket: Socket,
  maxPayloadBytes: number,
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
  deferBackPressure(socket, () =>
    note("slowClients", { code: "BROKER_SLOW_CLIENT", subject: who(), detail: "does not read what is sent to it" }),
  );
}

/**
 * Starts the broker: Aedes on TCP with identities from the ledger, access rules (access.ts) and limits (limits.ts). Sessions, retained
 * messages and queues are in memory only: durability comes from the commit notices end to end (CONTRACTS 2).
 * @throws JilianError BROKER_LISTEN_FAILED
 */
export async function startBroker(config: BrokerConfig, deps: BrokerDeps): Promise<Broker> {
  const { log } = deps;
  const counters = newCounters();
  const report = reporter(deps, counters);
  const note: Note = (counter, { code, reason }, { subject, address, detail }) => {
    counters[counter] += 1;
    log.warn({ code, subject, address, detail }, `refused: ${reason}`);
    report({ code, subject, detail: detail ? `${reason} (${detail})` : reason });
  };
  const gate = createGate(config, { ledger: deps.ledger, log, note });
  const aedes = await Aedes.createBroker({
    ...gate.hooks,
    connectTimeout: config.connectTimeoutMs,
    drainTimeout: drainTimeoutMs,
    concurrency: 100,
    maxTopicLevels: 8,
  });
  const bus = attachBus(aedes, log);
  logEvents(aedes, gate, log, counters, report);

  const sockets = new Set<Socket>();
  const cut = (counter: "oversize" | "slowClients", fault: BrokerFault) => {
    counters[counter] += 1;
    log.warn(fault, "client disconnected");
    report(fault);
  };
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    receive(aedes, gate, socket, config.maxPayloadBytes, cut);
  });
  server.maxConnections = config.maxConnections;
  server.on("drop", () => {
    counters.dropped += 1;
  });

  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= end(server, aedes, sockets);
    return closing;
  };
  try {
    const port = await listen(server, config);
    server.on("error", (err) => log.error({ err, code: "BROKER_FAILED" }, messageOf(err)));
    log.info({ host: config.host, port }, "broker listens");
    const stats = () => ({ clients: aedes.connectedClients, ...counters });
    return { port, bus, stats, close, [Symbol.asyncDispose]: close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}
