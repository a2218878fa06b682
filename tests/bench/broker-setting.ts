/** What the processes of `npm run bench:broker` agree upon. */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { topicOf } from "@jilian/domain/topics.ts";
import mqttPacket, { type IConnectPacket } from "mqtt-packet";

export const group = "bench";
const numbered = (name: string) => Array.from({ length: 20 }, (_, i) => `${name}-${String(i).padStart(2, "0")}`);
export const publishers = numbered("gw");
/** Accounts of clients that are only there; each has as many clients as one account may have by default. */
export const idleAccounts = numbered("idle");
export const clientsPerAccount = 100;
export const hearerName = "ingest";
export const secretOf = (name: string): string => `secret of ${name}`;
/** Nobody pings while something is measured. */
export const keepaliveS = 3600;
/** Messages of one write of a publisher; a hearer tells by one byte that it has heard as many, and not for each. */
export const batchMessages = 20;
const toldTogether = 8;
/** Batches of each publisher that may be under way to the hearer: what is measured waits in no queue without end. */
export const batchesUnderWay = 4;

export type BrokerName = "jilian" | "mosquitto";

/** A topic of a gateway's own; all are equally long. */
export const topicAt = (node: string, i: number): string =>
  topicOf({ group, type: "DDATA", node, device: `device-${i % 10}` });

/** CONNECT with name and password, clean session. */
export function connectBytes(clientId: string, name: string, secret: string, will?: IConnectPacket["will"]): Buffer {
  return mqttPacket.generate({
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 4,
    clean: true,
    keepalive: keepaliveS,
    clientId,
    username: name,
    password: Buffer.from(secret),
    ...(will ? { will } : {}),
  });
}

/** CONNECT of a gateway, its NDEATH as will. Our user names hold the group; a pattern of mosquitto's can hold one level alone. */
export function gatewayConnect(node: string, broker: BrokerName): Buffer {
  const name = broker === "jilian" ? `${group}/${node}` : node;
  const will = { topic: topicOf({ group, type: "NDEATH", node }), payload: "death", qos: 1, retain: false } as const;
  return connectBytes(name, name, secretOf(node), will);
}

/** PUBLISH packets of one batch, with message ids from `firstId` on with QoS 1. */
export function batchBytes(node: string, payloadBytes: number, qos: 0 | 1, firstId: number): Buffer {
  const payload = Buffer.alloc(payloadBytes, "measured value ");
  const packets = Array.from({ length: batchMessages }, (_, i) => {
    const message = { cmd: "publish", topic: topicAt(node, i), payload, qos, dup: false, retain: false } as const;
    return mqttPacket.generate(qos === 1 ? { ...message, messageId: firstId + i } : message);
  });
  return Buffer.concat(packets);
}

export function subscribeBytes(filter: string, qos: 0 | 1): Buffer {
  return mqttPacket.generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: filter, qos }] });
}

/** A connection whose CONNECT was accepted. @throws Error when it was refused */
export async function accepted(port: number, connect: Buffer): Promise<Socket> {
  const socket = connectTcp(port, "127.0.0.1");
  socket.setNoDelay(true);
  await once(socket, "connect");
  socket.write(connect);
  const [connack] = (await once(socket, "data")) as [Buffer];
  if (connack.toString("hex") !== "20020000") throw new Error(`a broker refused a client: ${connack.toString("hex")}`);
  return socket;
}

/** Tells the publishers of what was heard, so that they send more. */
export async function creditor(port: number): Promise<(heard: number) => void> {
  const socket = connectTcp(port, "127.0.0.1");
  socket.setNoDelay(true);
  await once(socket, "connect");
  let told = 0;
  return (heard) => {
    const batches = Math.floor((heard - told) / batchMessages);
    if (batches < toldTogether) return;
    told += batches * batchMessages;
    socket.write(Buffer.alloc(batches));
  };
}

/** Answers questions of the process that started this one. */
export function answer(answers: Record<string, () => unknown>): void {
  process.on("message", (asked) => process.send?.(answers[String(asked)]?.()));
  process.on("disconnect", () => process.exit(0));
}
