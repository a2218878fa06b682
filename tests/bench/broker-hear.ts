/**
 * For bench:broker, as a process of its own: a subscriber that counts (`broker-hear.ts WAY BROKER-PORT CREDIT-PORT PAYLOAD-BYTES QOS`).
 * `plain` frames what comes and acknowledges it, which costs next to nothing; `mqtt.js` is the library by which ingest hears a broker in
 * another process. Answers "heard".
 */
import { allNodesFilter } from "@jilian/domain/topics.ts";
import { connectAsync } from "mqtt";
import {
  accepted,
  answer,
  batchBytes,
  batchMessages,
  connectBytes,
  creditor,
  hearerName,
  keepaliveS,
  publishers,
  secretOf,
  subscribeBytes,
  topicAt,
} from "./broker-setting.ts";

const [way, port, creditPort, payloadBytes, asked] = process.argv.slice(2) as [string, string, string, string, string];
const qos = asked === "1" ? 1 : 0;
let heard = 0;
const credit = await creditor(Number(creditPort));

/** All packets are equally long, so that their frames need no search; each is looked at for what it is. */
async function hearPlain(): Promise<void> {
  const name = hearerName;
  const socket = await accepted(Number(port), connectBytes(name, name, secretOf(name)));
  const packetBytes = batchBytes(publishers[0] as string, Number(payloadBytes), qos, 1).length / batchMessages;
  const idAt = packetBytes - Number(payloadBytes) - 2;
  const topicBytes = topicAt(publishers[0] as string, 0).length;
  const subackBytes = 5;
  let rest: Buffer = Buffer.alloc(0);
  let isSubscribed = false;
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0;
    if (!isSubscribed) {
      if (bytes[4] !== qos) throw new Error(`SUBACK expected, not ${bytes.subarray(0, 8).toString("hex")}`);
      isSubscribed = true;
      at = subackBytes;
      process.send?.("ready");
    }
    const packets = Math.floor((bytes.length - at) / packetBytes);
    const acks = Buffer.alloc(qos === 1 ? 4 * packets : 0);
    for (let i = 0; i < packets; i += 1, at += packetBytes) {
      const topicLength = bytes.readUInt16BE(at + packetBytes - Number(payloadBytes) - 2 * qos - topicBytes - 2);
      if (bytes[at] !== (qos === 1 ? 0x32 : 0x30) || topicLength !== topicBytes)
        throw new Error(`not a message as it was sent: ${bytes.subarray(at, at + 8).toString("hex")}`);
      if (qos === 0) continue;
      acks.writeUInt16BE(0x4002, 4 * i);
      bytes.copy(acks, 4 * i + 2, at + idAt, at + idAt + 2);
    }
    rest = Buffer.from(bytes.subarray(at));
    if (acks.length > 0) socket.write(acks);
    heard += packets;
    credit(heard);
  });
  socket.write(subscribeBytes(allNodesFilter, qos));
}

async function hearByLibrary(): Promise<void> {
  const [username, password] = [hearerName, secretOf(hearerName)];
  const options = { username, password, clientId: username, keepalive: keepaliveS, reconnectPeriod: 0 };
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, options);
  client.on("message", (_topic, payload) => {
    if (payload.length !== Number(payloadBytes)) return;
    heard += 1;
    credit(heard);
  });
  await client.subscribeAsync(allNodesFilter, { qos });
  process.send?.("ready");
}

answer({ heard: () => heard });
await (way === "plain" ? hearPlain() : hearByLibrary());
