import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { certificatesOf, type TlsMaterial, validityFault } from "@jilian/domain/tls.ts";
import { followTls } from "@jilian/domain/tls-follow.ts";
import type { Logger } from "pino";
import { type BrokerConfig, type BrokerTlsConfig, isLoopback, plainPort } from "./config.ts";
import { type Door, type DropReason, entrance } from "./entrance.ts";
import { roomFor } from "./strangers.ts";
import { type Connection, type WebSocketSide, webSocketSide } from "./websocket.ts";

/** How often the files are looked at for a renewed certificate. */
const defaultTlsPollMs = 5000;
const dayMs = 86_400_000;
const soonMs = 14 * dayMs;

export type ListenerStats = {
  /** Connections now, those in a handshake included. */
  connections: number;
  /** Connections closed at once, by which limit they were beyond. */
  dropped: Readonly<Record<DropReason, number>>;
  tlsHandshakes: number;
  /** Handshakes that failed or were not finished in time. */
  tlsFailures: number;
  /** Upgrades to WebSocket that succeeded, and that did not. */
  webSockets: number;
  webSocketFailures: number;
  /** End of the certificate in use, UTC ms; undefined without TLS. */
  certificateEndsMs: number | undefined;
  bytesReceived: number;
  bytesSent: number;
};

export type Listeners = {
  readonly port: number | undefined;
  readonly tlsPort: number | undefined;
  readonly webSocketPort: number | undefined;
  readonly stats: () => ListenerStats;
  /** Looks at the files of TLS now instead of within 5 s. */
  readonly renew: () => void;
  /** Takes no more connections. Those there are stay until `cut`. */
  readonly stop: () => void;
  readonly cut: () => Promise<void>;
};

export type ListenerDeps = {
  log: Logger;
  /** Takes a connection; tells later whether its client was let in. */
  onClient: (socket: Connection) => { isAccepted: () => boolean };
  onDrop: (reason: DropReason, address: string) => void;
  /** Authority whose certificates are identities, PEM: clients are asked for one, and may come without. */
  authority?: string | undefined;
  tlsPollMs?: number;
};

async function listen(server: Server, host: string, port: number, key: string): Promise<number> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new JilianError(`the broker cannot listen on ${host}:${port}: ${messageOf(cause)}`, {
      code: "BROKER_LISTEN_FAILED",
      action: "start the broker",
      remedy: `stop what uses this port, or change broker.host or ${key}`,
      address: `${host}:${port}`,
      cause,
    });
  }
  return (server.address() as AddressInfo).port;
}

const read = (path: string): string => readFileSync(path, "utf8");

/** Certificate and key of the broker, taken up anew when their files change. */
function renewable(tls: BrokerTlsConfig, log: Logger) {
  const files = followTls(tls, read, (fault, text) => log.warn(fault, text));
  let endsMs = 0;

  function look(what: string): void {
    const [own] = certificatesOf(files.current().cert as string, tls.certFile);
    if (!own) return;
    endsMs = own.validToDate.getTime();
    const address = tls.certFile;
    const fault = validityFault(own, Date.now());
    if (fault)
      log.error(
        { code: fault.code, address, remedy: fault.remedy },
        `no client will trust the broker: ${fault.reason}`,
      );
    else if (endsMs - Date.now() < soonMs)
      log.warn({ code: "TLS_EXPIRES_SOON", address, endsMs }, "the broker's certificate ends soon: renew it");
    log.info({ address, subject: own.subject.replaceAll("\n", ", "), ends: own.validToDate.toISOString() }, what);
  }
  look("certificate of the broker");

  return {
    current: files.current,
    endsMs: () => endsMs,
    renew: (take: (material: TlsMaterial) => void, isAsked: boolean): void => {
      if (files.renew(take, isAsked)) look("renewed certificate of the broker: new connections have it");
    },
  };
}

/** Tells failed handshakes without letting a scanner fill the log. */
function handshakeTeller(log: Logger): (thrown: unknown, address: string) => void {
  let toldMs = Number.NEGATIVE_INFINITY;
  let heldBack = 0;
  return (thrown, address) => {
    heldBack += 1;
    if (performance.now() - toldMs < 1000) return;
    toldMs = performance.now();
    const remedy =
      "does this client speak TLS, and has it a certificate that broker.tls.caFile knows, where that is set?";
    log.warn(
      { code: "TLS_HANDSHAKE", address, cause: codeOf(thrown), heldBack: heldBack - 1, remedy },
      `no TLS: ${messageOf(thrown)}`,
    );
    heldBack = 0;
  };
}

type Handshakes = {
  /**
   * Begins a handshake on a raw connection; false when too many are under way. Each costs the thread that carries everything about a
   * millisecond and holds 50 kB; a thousand gateways that come back after a power cut back off and try again.
   */
  readonly begin: (raw: Socket, take: (socket: TLSSocket) => void) => boolean;
  readonly count: () => { done: number; failed: number };
  readonly certificateEndsMs: () => number;
  readonly renew: () => void;
  readonly close: () => void;
};

/** The TLS side of a listener: raw connections go in, connections with a finished handshake come out. */
function handshakes(
  tls: BrokerTlsConfig,
  { connectTimeoutMs: timeoutMs, limits }: Pick<BrokerConfig, "connectTimeoutMs" | "limits">,
  deps: ListenerDeps,
): Handshakes {
  const { log } = deps;
  const tell = handshakeTeller(log);
  const certificate = renewable(tls, log);
  const common = { minVersion: tls.minVersion };
  const trusting = (material: TlsMaterial) =>
    deps.authority === undefined ? material : { ...material, ca: [material.ca ?? [], deps.authority].flat() };
  const pending = new Map<string, { raw: Socket; take: (socket: TLSSocket) => void }>();
  const counts = { done: 0, failed: 0 };
  // With an authority named in the configuration nobody comes in without a certificate; otherwise the gate decides.
  const asks = tls.caFile !== undefined || deps.authority !== undefined;
  const verify = asks ? { requestCert: true, rejectUnauthorized: tls.caFile !== undefined } : {};
  const server: TlsServer = createTlsServer({
    ...common,
    ...verify,
    ...trusting(certificate.current()),
    handshakeTimeout: timeoutMs,
  });
  const room = roomFor<Socket>((raw) => raw.destroy());
  // Behind one address two clients may have the same port towards two of ours.
  const idOf = (socket: Socket) => `${socket.remoteAddress} ${socket.remotePort} ${socket.localPort}`;
  server.on("secureConnection", (socket: TLSSocket) => {
    const id = idOf(socket);
    const own = pending.get(id);
    pending.delete(id);
    counts.done += 1;
    if (own) room.leave(own.raw);
    if (own) own.take(socket);
    else socket.destroy();
  });
  server.on("tlsClientError", (thrown, socket: TLSSocket) => {
    counts.failed += 1;
    tell(thrown, socket.remoteAddress ?? "unknown");
    socket.destroy();
  });
  const renew = (isAsked: boolean) =>
    certificate.renew((material) => server.setSecureContext({ ...common, ...trusting(material) }), isAsked);
  const timer = setInterval(() => renew(false), deps.tlsPollMs ?? defaultTlsPollMs);
  timer.unref();
  return {
    begin: (raw, take) => {
      const address = raw.remoteAddress ?? "unknown";
      if (room.size() >= limits.handshakes && !room.makeRoom(address)) return false;
      const id = idOf(raw);
      const own = { raw, take };
      pending.set(id, own);
      room.enter(raw, address);
      raw.once("close", () => {
        room.leave(raw);
        if (pending.get(id) === own) pending.delete(id);
      });
      server.emit("connection", raw);
      return true;
    },
    count: () => ({ ...counts }),
    certificateEndsMs: certificate.endsMs,
    renew: () => renew(true),
    close: () => {
      clearInterval(timer);
      for (const { raw } of pending.values()) raw.destroy();
    },
  };
}

/** The WebSocket side of a broker that has one. */
function webSockets(config: BrokerConfig, { log, onClient }: ListenerDeps): WebSocketSide | undefined {
  if (config.tls?.webSocketPort === undefined) return undefined;
  return webSocketSide({
    timeoutMs: config.connectTimeoutMs,
    maxPending: () => config.limits.handshakes,
    // The head of a packet beside its payload.
    maxFrameBytes: () => config.maxPayloadBytes + config.limits.topicBytes + 16,
    onClient,
    onFailure: (why, address) => log.debug({ address }, `no WebSocket: ${why}`),
  });
}

function warnExposed(host: string, port: number, log: Logger): void {
  const remedy = "set broker.tls and leave broker.port out, or listen on 127.0.0.1 or inside a VPN only";
  log.warn(
    { code: "BROKER_PLAIN_EXPOSED", address: `${host}:${port}`, remedy },
    "THE BROKER LISTENS WITHOUT TLS on an address that others reach: passwords and readings travel in clear text",
  );
}

/**
 * Opens the ports of the broker: without TLS, with it, and with WebSocket in it. Bounds hold over all of them: connections, handshakes
 * under way, their time.
 * @throws JilianError BROKER_LISTEN_FAILED, TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH
 */
export async function openListeners(config: BrokerConfig, deps: ListenerDeps): Promise<Listeners> {
  const { log } = deps;
  const { accept, cut: cutAll, stats } = entrance(config, deps.onDrop);
  const secure = config.tls && handshakes(config.tls, config, deps);
  const overWeb = webSockets(config, deps);

  const serverOf = (isSecure: boolean, take: Door["take"]) =>
    createServer({ noDelay: true, keepAlive: true }, (socket) => accept(socket, { isSecure, take }));
  const plain =
    plainPort(config) === undefined
      ? undefined
      : serverOf(false, (socket, know) => {
          know(deps.onClient(socket).isAccepted);
          return true;
        });
  const tlsServer =
    secure && serverOf(true, (raw, know) => secure.begin(raw, (socket) => know(deps.onClient(socket).isAccepted)));
  const webServer =
    secure && overWeb && serverOf(true, (raw, know) => secure.begin(raw, (socket) => overWeb.take(socket, know)));
  const servers = [plain, tlsServer, webServer].filter((server) => server !== undefined);

  const freed: Promise<unknown>[] = [];
  const stop = (): void => {
    for (const server of servers) {
      if (server.listening) freed.push(once(server, "close"));
      server.close();
    }
    secure?.close();
  };
  const cut = async (): Promise<void> => {
    stop();
    cutAll();
    await Promise.all(freed);
  };
  try {
    const port = plain && (await listen(plain, config.host, plainPort(config) as number, "broker.port"));
    const { host: tlsHost = config.host, port: wanted = 0, webSocketPort: wantedWeb = 0 } = config.tls ?? {};
    const tlsPort = tlsServer && (await listen(tlsServer, tlsHost, wanted, "broker.tls.port"));
    const webSocketPort = webServer && (await listen(webServer, tlsHost, wantedWeb, "broker.tls.webSocketPort"));
    for (const server of servers)
      server.on("error", (err) => log.error({ err, code: "BROKER_FAILED" }, messageOf(err)));
    log.info({ host: config.host, port, tlsHost: config.tls && tlsHost, tlsPort, webSocketPort }, "broker listens");
    if (port !== undefined && !isLoopback(config.host)) warnExposed(config.host, port, log);
    return {
      port,
      tlsPort,
      webSocketPort,
      stop,
      cut,
      renew: () => secure?.renew(),
      stats: () => ({
        ...stats(),
        tlsHandshakes: secure?.count().done ?? 0,
        tlsFailures: secure?.count().failed ?? 0,
        webSockets: overWeb?.count().done ?? 0,
        webSocketFailures: overWeb?.count().failed ?? 0,
        certificateEndsMs: secure?.certificateEndsMs(),
      }),
    };
  } catch (thrown) {
    await cut();
    throw thrown;
  }
}
