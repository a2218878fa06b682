import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { certificatesOf, type TlsMaterial, tlsMaterial, validityFault } from "@jilian/domain/tls.ts";
import type { Logger } from "pino";
import { type BrokerConfig, type BrokerTlsConfig, isLoopback, plainPort } from "./config.ts";

/**
 * TLS handshakes under way at once. Each costs the thread that carries everything about a millisecond and holds 50 kB; a thousand
 * gateways that come back after a power cut back off and try again.
 */
const maxHandshakes = 256;
/** How often the files are looked at for a renewed certificate. */
const defaultTlsPollMs = 5000;
const dayMs = 86_400_000;
const soonMs = 14 * dayMs;

export type ListenerStats = {
  /** Connections now, those in a handshake included. */
  connections: number;
  /** Connections beyond `maxConnections`, or in a handshake beyond what is allowed, closed at once. */
  dropped: number;
  tlsHandshakes: number;
  /** Handshakes that failed or were not finished in time. */
  tlsFailures: number;
  /** End of the certificate in use, UTC ms; undefined without TLS. */
  certificateEndsMs: number | undefined;
  bytesReceived: number;
  bytesSent: number;
};

export type Listeners = {
  readonly port: number | undefined;
  readonly tlsPort: number | undefined;
  readonly stats: () => ListenerStats;
  /** Takes no more connections. Those there are stay until `cut`. */
  readonly stop: () => void;
  readonly cut: () => Promise<void>;
};

export type ListenerDeps = {
  log: Logger;
  onClient: (socket: Socket) => void;
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
  let material = tlsMaterial(tls, read);
  let endsMs = 0;
  let toldFault = "";

  function look(what: string): void {
    const [own] = certificatesOf(material.cert as string, tls.certFile);
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

  /** The files as they are now, when they have changed and belong together; a fault is told once and what is in use stays. */
  function renewed(): TlsMaterial | undefined {
    try {
      const now = tlsMaterial(tls, read);
      toldFault = "";
      if (now.cert === material.cert && now.key === material.key && now.ca === material.ca) return undefined;
      material = now;
      return now;
    } catch (thrown) {
      const told = `${codeOf(thrown)} ${messageOf(thrown)}`;
      const detail = thrown instanceof JilianError ? { address: thrown.address, remedy: thrown.remedy } : {};
      // Certificate and key are two files: between the first and the second they do not match.
      if (told !== toldFault)
        log.warn({ code: codeOf(thrown), ...detail }, `the renewed certificate is not taken up: ${messageOf(thrown)}`);
      toldFault = told;
      return undefined;
    }
  }
  return {
    current: () => material,
    endsMs: () => endsMs,
    renew: (take: (material: TlsMaterial) => void): void => {
      const now = renewed();
      if (!now) return;
      take(now);
      look("renewed certificate of the broker: new connections have it");
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
  /** Begins a handshake on a raw connection; false when too many are under way. */
  readonly begin: (raw: Socket) => boolean;
  readonly count: () => { done: number; failed: number };
  readonly certificateEndsMs: () => number;
  readonly close: () => void;
};

/** The TLS side of a listener: raw connections go in, connections with a finished handshake come out. */
function handshakes(tls: BrokerTlsConfig, timeoutMs: number, deps: ListenerDeps): Handshakes {
  const { log } = deps;
  const tell = handshakeTeller(log);
  const certificate = renewable(tls, log);
  const common = { minVersion: tls.minVersion };
  const trusting = (material: TlsMaterial) =>
    deps.authority === undefined ? material : { ...material, ca: [material.ca ?? [], deps.authority].flat() };
  const pending = new Map<string, Socket>();
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
  const idOf = (socket: Socket) => `${socket.remoteAddress} ${socket.remotePort}`;
  server.on("secureConnection", (socket: TLSSocket) => {
    pending.delete(idOf(socket));
    counts.done += 1;
    deps.onClient(socket);
  });
  server.on("tlsClientError", (thrown, socket: TLSSocket) => {
    counts.failed += 1;
    tell(thrown, socket.remoteAddress ?? "unknown");
    socket.destroy();
  });
  const timer = setInterval(() => {
    certificate.renew((material) => server.setSecureContext({ ...common, ...trusting(material) }));
  }, deps.tlsPollMs ?? defaultTlsPollMs);
  timer.unref();
  return {
    begin: (raw) => {
      if (pending.size >= maxHandshakes) return false;
      const id = idOf(raw);
      pending.set(id, raw);
      raw.once("close", () => pending.delete(id));
      server.emit("connection", raw);
      return true;
    },
    count: () => ({ ...counts }),
    certificateEndsMs: certificate.endsMs,
    close: () => {
      clearInterval(timer);
      for (const raw of pending.values()) raw.destroy();
    },
  };
}

/**
 * Opens the ports of the broker: without TLS, with it, or both. Bounds hold over both: connections, handshakes under way, their time.
 * @throws JilianError BROKER_LISTEN_FAILED, TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH
 */
export async function openListeners(config: BrokerConfig, deps: ListenerDeps): Promise<Listeners> {
  const { log } = deps;
  const sockets = new Set<Socket>();
  const past = { bytesReceived: 0, bytesSent: 0 };
  let dropped = 0;
  const secure = config.tls && handshakes(config.tls, config.connectTimeoutMs, deps);

  function accept(socket: Socket, take: (socket: Socket) => boolean): void {
    // A connection may break before anyone else listens.
    socket.on("error", () => {});
    if (sockets.size >= config.maxConnections || !take(socket)) {
      dropped += 1;
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      past.bytesReceived += socket.bytesRead;
      past.bytesSent += socket.bytesWritten;
    });
  }

  function takePlain(socket: Socket): boolean {
    deps.onClient(socket);
    return true;
  }
  const serverOf = (take: (socket: Socket) => boolean) =>
    createServer({ noDelay: true, keepAlive: true }, (socket) => accept(socket, take));
  const plain = plainPort(config) === undefined ? undefined : serverOf(takePlain);
  const tlsServer = secure && serverOf(secure.begin);
  const servers = [plain, tlsServer].filter((server) => server !== undefined);

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
    for (const socket of sockets) socket.destroy();
    await Promise.all(freed);
  };
  try {
    const port = plain && (await listen(plain, config.host, plainPort(config) as number, "broker.port"));
    const tlsHost = config.tls?.host ?? config.host;
    const tlsPort = config.tls && tlsServer && (await listen(tlsServer, tlsHost, config.tls.port, "broker.tls.port"));
    for (const server of servers)
      server.on("error", (err) => log.error({ err, code: "BROKER_FAILED" }, messageOf(err)));
    log.info({ host: config.host, port, tlsHost: config.tls && tlsHost, tlsPort }, "broker listens");
    if (port !== undefined && !isLoopback(config.host)) {
      const remedy = "set broker.tls and leave broker.port out, or listen on 127.0.0.1 or inside a VPN only";
      log.warn(
        { code: "BROKER_PLAIN_EXPOSED", address: `${config.host}:${port}`, remedy },
        "THE BROKER LISTENS WITHOUT TLS on an address that others reach: passwords and readings travel in clear text",
      );
    }
    const sum = (key: "bytesRead" | "bytesWritten") => [...sockets].reduce((total, socket) => total + socket[key], 0);
    return {
      port,
      tlsPort,
      stop,
      cut,
      stats: () => ({
        connections: sockets.size,
        dropped,
        tlsHandshakes: secure?.count().done ?? 0,
        tlsFailures: secure?.count().failed ?? 0,
        certificateEndsMs: secure?.certificateEndsMs(),
        bytesReceived: past.bytesReceived + sum("bytesRead"),
        bytesSent: past.bytesSent + sum("bytesWritten"),
      }),
    };
  } catch (thrown) {
    await cut();
    throw thrown;
  }
}
