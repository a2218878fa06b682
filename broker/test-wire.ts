/** MQTT 3.1.1 packets by hand, for tests that do what no client library would: stall, flood, announce what never comes. */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

/** Fixed header: type and flags, then the length in groups of 7 bits (2.2.3). */
export function header(first: number, lengthBytes: number): Buffer {
  const bytes = [first];
  let rest = lengthBytes;
  do {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(bytes);
}

function packet(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([header(first, body.length), body]);
}

/** CONNECT with name and password, clean session, keep-alive 60 s, no will. */
export function connectPacket(clientId: string, name: string, password: string): Buffer {
  const start = Buffer.from([4, 0xc2, 0, 60]);
  return packet(0x10, text("MQTT"), start, text(clientId), text(name), text(password));
}

/** CONNECT of a gateway that a certificate lets in: no name, clean session, keep-alive 60 s, its NDEATH as will with QoS 1. */
export function connectByCertificate(clientId: string): Buffer {
  const [group, node] = clientId.split("/");
  const will = [text(`spBv1.0/${group}/NDEATH/${node}`), text("death")];
  return packet(0x10, text("MQTT"), Buffer.from([4, 0x0e, 0, 60]), text(clientId), ...will);
}

/** CONNECT of a gateway by its password: clean session, keep-alive 60 s, its NDEATH as will with QoS 1. */
export function connectByPassword(name: string, password: string): Buffer {
  const [group, node] = name.split("/");
  const will = [text(`spBv1.0/${group}/NDEATH/${node}`), text("death")];
  return packet(0x10, text("MQTT"), Buffer.from([4, 0xce, 0, 60]), text(name), ...will, text(name), text(password));
}

export function subscribePacket(filter: string): Buffer {
  return packet(0x82, Buffer.from([0, 1]), text(filter), Buffer.from([0]));
}

export function unsubscribePacket(filter: string): Buffer {
  return packet(0xa2, Buffer.from([0, 2]), text(filter));
}

/** PUBLISH, QoS 0. */
export function publishPacket(topic: string, payload: Buffer): Buffer {
  return packet(0x30, text(topic), payload);
}

/** PUBLISH, QoS 1. */
export function publishQos1Packet(topic: string, messageId: number, payload: Buffer): Buffer {
  return packet(0x32, text(topic), Buffer.from([messageId >> 8, messageId & 0xff]), payload);
}

/** A connection that has been accepted. */
export async function rawClient(port: number, clientId: string, name: string, password: string): Promise<Socket> {
  const socket = connectTcp(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(connectPacket(clientId, name, password));
  const [connack] = (await once(socket, "data")) as [Buffer];
  if (connack.toString("hex") !== "20020000") throw new Error(`refused: ${connack.toString("hex")}`);
  return socket;
}

/** A subscriber that hears all and reads nothing. */
export async function stalledSubscriber(port: number, clientId: string, name: string, password: string) {
  const socket = await rawClient(port, clientId, name, password);
  socket.write(subscribePacket("spBv1.0/#"));
  await once(socket, "data");
  socket.pause();
  return socket;
}

/** Sends a message over and over, as fast as the connection takes it; returns what ends it. */
export function flood(socket: Socket, message: Buffer): () => void {
  const batch = Buffer.concat(Array.from({ length: 60 }, () => message));
  let on = true;
  const pump = () => {
    while (on && !socket.destroyed && socket.write(batch));
  };
  socket.on("drain", pump);
  pump();
  return () => {
    on = false;
  };
}
