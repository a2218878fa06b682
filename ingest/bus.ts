import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "@jilian/domain/errors.ts";
import { allNodesFilter, stateTopic } from "@jilian/domain/topics.ts";
import { connect } from "mqtt";
import type { Logger } from "pino";

/** The way to and from the nodes: the broker of this process, or an MQTT connection to one elsewhere. */
export type SparkplugBus = {
  /** Hands every message of every node to the handler, in order, synchronously. Returns its removal. */
  readonly onMessage: (handler: (topic: string, payload: Uint8Array) => void) => () => void;
  readonly publish: (topic: string, payload: Uint8Array, options: { qos: 0 | 1; retain: boolean }) => Promise<void>;
  /** Calls the handler when the connection to the broker was lost; absent where none can be. */
  readonly onLost?: (handler: () => void) => void;
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

export type MqttBusConfig = { host: string; port: number; username: string; password: string; hostId: string };

const reconnectMs = 500;
/** How long the farewell may take: a broker that does not answer must not keep the process from ending. */
const closeBoundMs = 1000;

/**
 * Attaches to a broker as a Sparkplug host application: clean session, will on the STATE topic, QoS 1 (Sparkplug 3.0, 5.6). It connects
 * and reconnects by itself for ever; what nodes publish meanwhile is not lost, because it is not committed and comes again.
 */
export function connectBus(
  config: MqttBusConfig,
  nowMs: () => number,
  log: Logger,
): SparkplugBus & { close: () => Promise<void> } {
  const handlers = new Set<(topic: string, payload: Uint8Array) => void>();
  const lostHandlers = new Set<() => void>();
  let announced = false;
  let closing = false;
  const state = stateTopic(config.hostId);
  const bornMs = nowMs();
  const offline = Buffer.from(statePayload(false, bornMs));
  const online = Buffer.from(statePayload(true, bornMs));
  const address = `mqtt://${config.host}:${config.port}`;
  const client = connect(address, {
    username: config.username,
    password: config.password,
    clientId: `${config.username}-${config.hostId}`,
    clean: true,
    keepalive: 30,
    reconnectPeriod: reconnectMs,
    connectTimeout: 5000,
    queueQoSZero: false,
    resubscribe: false,
    will: { topic: state, payload: offline, qos: 1, retain: true },
  });
  const announce = () => client.publishAsync(state, online, { qos: 1, retain: true });
  client.on("message", (topic, payload) => {
    // The will of an earlier connection can come after the birth of this one (Sparkplug 3.0, 5.6).
    if (topic === state && !closing && isOffline(payload)) announce().catch(() => undefined);
    for (const handler of handlers) handler(topic, payload);
  });
  let toldError = "";
  client.on("error", (error) => {
    // Every attempt fails alike until the broker is there: once is enough to read.
    if (messageOf(error) === toldError) return;
    toldError = messageOf(error);
    const remedy = "start the broker; check host, port, user name and password of the host application";
    log.warn(
      { code: "HOST_CONNECT", address, err: messageOf(error), remedy },
      "ingest has no connection to the broker",
    );
  });
  client.on("connect", async () => {
    try {
      await client.subscribeAsync(allNodesFilter, { qos: 1 });
      await announce();
      announced = true;
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
    if (announced) for (const handler of lostHandlers) handler();
    announced = false;
  });
  return {
    onLost: (handler) => lostHandlers.add(handler),
    onMessage: (handler) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    publish: async (topic, payload, options) => {
      if (client.connected) await client.publishAsync(topic, Buffer.from(payload), options);
    },
    close: async () => {
      closing = true;
      if (client.connected) {
        const farewell = client.publishAsync(state, offline, { qos: 1, retain: true }).catch(() => undefined);
        await Promise.race([farewell, delay(closeBoundMs, undefined, { ref: false })]);
      }
      await client.endAsync(true);
    },
  };
}
