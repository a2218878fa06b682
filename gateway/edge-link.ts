import { readFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { keepLength } from "@jilian/domain/mqtt-lengths.ts";
import { type TlsPaths, tlsFault, tlsMaterial } from "@jilian/domain/tls.ts";
import { connect, type IClientOptions, MqttClient } from "mqtt";

export type BrokerSettings = {
  host: string;
  /** 1883 when absent, 8883 with TLS. */
  port?: number | undefined;
  /** Paths absolute or relative to the working directory. */
  tls?: (TlsPaths & { serverName?: string | undefined }) | undefined;
  username?: string;
  password?: string;
  keepaliveMs: number;
};

export type LinkOptions = {
  broker: BrokerSettings;
  clientId: string;
  will: { topic: string; payload: Uint8Array };
  /** Topic filters, subscribed at QoS 1 before the link counts as open. */
  filters: readonly string[];
  onMessage: (topic: string, payload: Uint8Array) => void;
  /** The socket takes data again. */
  onDrain: () => void;
  /** The way to the broker is open: from here on it may have the CONNECT. */
  onOpen?: () => void;
  signal: AbortSignal;
};

/** One MQTT connection with a clean session. It never reconnects: the next one is a new link. */
export type Link = {
  /** Hands a message to the socket. At QoS 1 the promise waits for PUBACK, at QoS 0 for nothing. */
  readonly publish: (topic: string, payload: Uint8Array, qos: 0 | 1) => Promise<void>;
  /** Bytes that the socket has not taken yet. */
  readonly bufferedBytes: () => number;
  /** True from the moment the socket is full until it has drained. */
  readonly isCongested: () => boolean;
  /** Resolves with the reason when the connection has ended, for whatever cause. */
  readonly closed: Promise<string>;
  /** DISCONNECT, so that no will is sent; cut off when that takes longer than the bound. */
  readonly end: (boundMs: number) => Promise<void>;
};

const connectTimeoutMs = 10_000;

/** `host:port` of a broker, the usual port where none is given. */
export function brokerAddress({ host, port, tls }: BrokerSettings): string {
  return `${host}:${port ?? (tls ? 8883 : 1883)}`;
}

function linkError(
  broker: BrokerSettings,
  message: string,
  remedy: string,
  cause?: unknown,
  code = "BROKER_UNREACHABLE",
): JilianError {
  const address = brokerAddress(broker);
  return new JilianError(message, { code, action: "connect to the MQTT broker", address, remedy, cause });
}

/** The error of a connection that did not come about: TLS has names of its own for what goes wrong (domain/tls.ts). */
function unreachable(broker: BrokerSettings, thrown: unknown): JilianError {
  const found = broker.tls && tlsFault(thrown, Date.now());
  return linkError(broker, messageOf(thrown), found?.remedy ?? remedyOf(thrown), thrown, found?.code);
}

/** CONNACK return codes 4 and 5 (MQTT 3.1.1, 3.2.2.3) are about who we are, everything else about the way there. */
function remedyOf(thrown: unknown): string {
  const code = (thrown as { code?: unknown }).code;
  return code === 4 || code === 5
    ? "check broker.username and broker.password, or that the certificate has not ended and is not revoked, and that the broker knows this gateway"
    : "check broker.host and broker.port, the network, and that the broker runs; the gateway keeps trying";
}

/** The files are read at each connection: a renewed certificate is taken up with the next one. */
function tlsOptions({ tls }: BrokerSettings): IClientOptions {
  if (!tls) return { protocol: "mqtt" };
  const { serverName } = tls;
  return {
    protocol: "mqtts",
    ...tlsMaterial(tls, (path) => readFileSync(path, "utf8")),
    ...(serverName === undefined ? {} : { servername: serverName }),
    rejectUnauthorized: true,
  };
}

function clientOptions({ broker, clientId, will }: LinkOptions): IClientOptions {
  return {
    host: broker.host,
    port: broker.port ?? (broker.tls ? 8883 : 1883),
    ...tlsOptions(broker),
    protocolVersion: 4,
    clientId,
    clean: true,
    manualConnect: true,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    // Else 65,536 buffers, one for each number of two bytes: 9 MB of a small box.
    writeCache: false,
    connectTimeout: connectTimeoutMs,
    keepalive: Math.max(1, Math.round(broker.keepaliveMs / 1000)),
    // Published data would postpone every ping, and then nothing tells that the other side is gone.
    reschedulePings: false,
    will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: false },
    ...(broker.username === undefined ? {} : { username: broker.username }),
    ...(broker.password === undefined ? {} : { password: broker.password }),
  };
}

function subscribe(client: MqttClient, broker: BrokerSettings, filters: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    client.subscribe([...filters], { qos: 1 }, (error, granted = []) => {
      const refused = granted.filter(({ qos }) => qos > 2).map(({ topic }) => topic);
      if (error) reject(error);
      else if (refused.length === 0) resolve();
      else reject(linkError(broker, `subscription refused: ${refused.join(", ")}`, "allow them in the broker's rules"));
    });
  });
}

function linkOf(client: MqttClient, closed: Promise<string>): Link {
  return {
    closed,
    publish: (topic, payload, qos) =>
      new Promise((resolve, reject) => {
        keepLength(topic, payload, qos);
        if (qos === 0) {
          // What a broken connection swallows is still in the outbox; its end is told by `closed`.
          client.publish(topic, Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength), { qos }, () => {});
          resolve();
        } else {
          client.publish(topic, Buffer.from(payload), { qos }, (error) => (error ? reject(error) : resolve()));
        }
      }),
    bufferedBytes: () => client.stream.writableLength,
    isCongested: () => client.stream.writableNeedDrain,
    end: async (boundMs) => {
      const cut = setTimeout(() => client.stream.destroy(), boundMs);
      client.end(false);
      await closed;
      clearTimeout(cut);
    },
  };
}

/** Over TCP by ourselves: the library's `connect` loads TLS and a name resolver in any case, 3.5 MB. */
function clientOf(options: LinkOptions): MqttClient {
  const settings = clientOptions(options);
  if (options.broker.tls) return connect(settings);
  const { host = "", port = 1883 } = settings;
  return new MqttClient(() => connectTcp({ host, port }), settings);
}

/**
 * Connects, subscribes and gives the link; every handler is in place before the first packet.
 * @throws JilianError BROKER_UNREACHABLE when that fails or takes longer than 10 s, or when aborted; TLS_* when TLS is what failed
 */
export async function openLink(options: LinkOptions): Promise<Link> {
  const { broker, filters, onMessage, onDrain, onOpen, signal } = options;
  const client = clientOf(options);
  let reason: unknown = "the broker closed the connection";
  const ended = Promise.withResolvers<string>();
  const ready = Promise.withResolvers<void>();
  client.on("error", (error) => {
    reason = error;
  });
  client.on("close", () => {
    ended.resolve(messageOf(reason));
    ready.reject(reason);
  });
  client.on("message", (topic, payload) => onMessage(topic, payload));
  client.on("connect", () => subscribe(client, broker, filters).then(ready.resolve, ready.reject));
  const abort = (why: string) => {
    reason = why;
    client.stream.destroy();
  };
  const onAbort = () => abort("closed");
  const timer = setTimeout(() => abort(`no answer within ${connectTimeoutMs} ms`), connectTimeoutMs);
  client.connect();
  client.stream.on("drain", onDrain);
  if (onOpen) client.stream.once(broker.tls ? "secureConnect" : "connect", onOpen);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await ready.promise;
    return linkOf(client, ended.promise);
  } catch (thrown) {
    client.end(true);
    await ended.promise;
    throw thrown instanceof JilianError ? thrown : unreachable(broker, thrown);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
