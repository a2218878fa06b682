import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { keepLength } from "@jilian/domain/mqtt-lengths.ts";
import { type TlsPaths, tlsFault, tlsMaterial } from "@jilian/domain/tls.ts";
import { allNodesFilter, stateTopic } from "@jilian/domain/topics.ts";
import { connect, type IClientOptions } from "mqtt";
import type { Logger } from "pino";

/** The way to and from the nodes: the broker of this process, or an MQTT connection to one elsewhere. */
export type SparkplugBus = {
  /** Hands every message of every node to the handler, in order, synchronously. Returns its removal. */
  readonly onMessage: (handler: (topic: string, payload: Uint8Array) => void) => () => void;
  readonly publish: (topic: string, payload: Uint8Array, options: { qos: 0 | 1; retain: boolean }) => Promise<void>;
  /** Says on STATE that the host is there, from now on with each connection: for when everything that nodes say is taken. */
  readonly announce?: () => Promise<void>;
  /** Calls the handler when the connection to the broker was lost; absent where none can be. */
  readonly onLost?: (handler: () => void) => void;
  /** Whether nodes are heard now; absent where that cannot change. */
  readonly isConnected?: () => boolean;
};

/** What STATE says (Sparkplug 3.0, 6.4.27). */
export function statePayload(online: boolean, timestampMs: number): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ online, timestamp: timestampMs }));
}

function isOffline(payload: Uint8Array): boolean {
  try {
    return JSON.parse(new TextDecoder().decode(payload))?.online === false;
  } catch {
    return false;
  }
}

export type MqttBusConfig = {
  host: string;
  /** 1883 when absent, 8883 with TLS. */
  port?: number | undefined;
  /** Paths absolute or relative to the working directory. The broker's certificate is always verified. */
  tls?: (TlsPaths & { serverName?: string | undefined }) | undefined;
  username: string;
  password: string;
  hostId: string;
  /** What is heard of the nodes; everything when absent. Of one node all or nothing: its births, seq and aliases belong together. */
  filters?: readonly string[] | undefined;
};

const reconnectMs = 500;
/** How long the farewell may take: a broker that does not answer must not keep the process from ending. */
const closeBoundMs = 1000;

/** Certificate options as the files are now. */
function tlsOptions(tls: NonNullable<MqttBusConfig["tls"]>): IClientOptions {
  const { serverName } = tls;
  return {
    ...tlsMaterial(tls, (path) => readFileSync(path, "utf8")),
    ...(serverName === undefined ? {} : { servername: serverName }),
    rejectUnauthorized: true,
  };
}

const wayRemedy = "start the broker; check host, port, user name and password of the host application";

/** Code and remedy of a connection that does not come about. */
function faultOf(error: unknown, tls: MqttBusConfig["tls"]): { code: string; remedy: string } {
  if (error instanceof JilianError) return { code: error.code, remedy: error.remedy };
  return (tls && tlsFault(error, Date.now())) ?? { code: "HOST_CONNECT", remedy: wayRemedy };
}

/**
 * Attaches to a broker as a Sparkplug host application: clean session, will on the STATE topic, QoS 1 (Sparkplug 3.0, 5.6). It connects
 * and reconnects by itself for ever; what nodes publish meanwhile is not lost, because it is not committed and comes again.
 * @throws JilianError TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH when the files of TLS are wrong at the start
 */
export function connectBus(
  config: MqttBusConfig,
  nowMs: () => number,
  log: Logger,
): SparkplugBus & { close: () => Promise<void> } {
  const handlers = new Set<(topic: string, payload: Uint8Array) => void>();
  const lostHandlers = new Set<() => void>();
  /** Subscribed on this connection. */
  let hears = false;
  let isHost = false;
  let closing = false;
  const state = stateTopic(config.hostId);
  let bornMs = nowMs();
  const stateOf = (isOnline: boolean) => Buffer.from(statePayload(isOnline, bornMs));
  const will = () => ({ topic: state, payload: stateOf(false), qos: 1 as const, retain: true });
  /** A clock that ran back must not make news look old: nodes go by the latest time. */
  const renewTime = (): void => {
    bornMs = Math.max(bornMs, nowMs());
  };
  const { tls } = config;
  const address = `${tls ? "mqtts" : "mqtt"}://${config.host}:${config.port ?? (tls ? 8883 : 1883)}`;
  const client = connect(address, {
    ...(tls ? tlsOptions(tls) : {}),
    username: config.username,
    password: config.password,
    clientId: `${config.username}-${config.hostId}`,
    clean: true,
    keepalive: 30,
    reconnectPeriod: reconnectMs,
    connectTimeout: 5000,
    queueQoSZero: false,
    resubscribe: false,
    will: will(),
  });
  const tellOnline = () => client.publishAsync(state, stateOf(true), { qos: 1, retain: true });
  /** Our own STATE is heard always: an old will that contradicts it has to be answered. */
  const filters = config.filters ? [...config.filters, state] : [allNodesFilter];
  client.on("message", (topic, payload, { retain }) => {
    // The will of an earlier connection can come after the birth of this one (Sparkplug 3.0, 5.6).
    if (topic === state && isHost && !closing && isOffline(payload)) tellOnline().catch(() => undefined);
    // A birth or value that a node of other make had retained is of some day, and says nothing of whether the node lives: it is asked.
    if (retain && topic !== state) return;
    for (const handler of handlers) handler(topic, payload);
  });
  let toldError = "";
  function tellError(error: unknown): void {
    const { code, remedy } = faultOf(error, tls);
    // Every attempt fails alike until the broker is there: once is enough to read. OpenSSL's messages differ by an address in memory.
    const text = code === "HOST_CONNECT" ? messageOf(error) : code;
    if (text === toldError) return;
    toldError = text;
    log.warn({ code, address, err: messageOf(error), remedy }, "ingest has no connection to the broker");
  }
  client.on("error", tellError);
  client.on("reconnect", () => {
    // Will and birth of each connection carry the time of its CONNECT (Sparkplug 3.0, 4.2.3).
    renewTime();
    client.options.will = will();
    if (!tls) return;
    try {
      // A renewed certificate is taken up with the next connection.
      Object.assign(client.options, tlsOptions(tls));
    } catch (thrown) {
      tellError(thrown);
    }
  });
  client.on("connect", async () => {
    try {
      await client.subscribeAsync(filters, { qos: 1 });
      if (isHost) await tellOnline();
      hears = true;
      toldError = "";
      log.info({ address }, "ingest is connected to the broker");
    } catch (error) {
      if (messageOf(error) !== toldError) {
        const remedy = "is this user allowed to subscribe to spBv1.0/# and to publish its STATE?";
        log.warn({ code: "HOST_ANNOUNCE", address, err: messageOf(error), remedy }, "ingest cannot hear the nodes yet");
      }
      toldError = messageOf(error);
      // Connected and deaf would last for ever: the next connection asks again.
      client.stream.destroy();
    }
  });
  client.on("close", () => {
    if (hears) for (const handler of lostHandlers) handler();
    hears = false;
  });
  return {
    isConnected: () => client.connected && hears,
    announce: async () => {
      isHost = true;
      // What fails ends with the connection; the next one tells it.
      if (client.connected && hears) void tellOnline().catch(() => client.stream.destroy());
    },
    onLost: (handler) => lostHandlers.add(handler),
    onMessage: (handler) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    publish: async (topic, payload, options) => {
      keepLength(topic, payload, options.qos);
      if (client.connected) await client.publishAsync(topic, Buffer.from(payload), options);
    },
    close: async () => {
      closing = true;
      const bound = () => delay(closeBoundMs, false, { ref: false });
      let isTold = false;
      if (client.connected) {
        renewTime();
        const farewell = client.publishAsync(state, stateOf(false), { qos: 1, retain: true });
        isTold = await Promise.race([
          farewell.then(
            () => true,
            () => false,
          ),
          bound(),
        ]);
      }
      // DISCONNECT has the broker drop the will, which tells an older time than the farewell.
      if (isTold && (await Promise.race([client.endAsync(false).then(() => true), bound()]))) return;
      client.stream?.destroy();
      await client.endAsync(true);
    },
  };
}
