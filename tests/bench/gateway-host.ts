/**
 * For bench:gateway, as a process of its own: an MQTT broker, and a platform that confirms every record a fifth of a second after it came.
 * Tells its port over IPC, and on the message "report" how many messages, metrics and bytes have come since.
 */
import { createServer } from "node:net";
import { decodeHeader, encodeNotice } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { rangeSet } from "@jilian/domain/range-set.ts";
import { decodePayload, encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { commitMetric, parseTopic } from "@jilian/domain/topics.ts";
import { Aedes } from "aedes";

const broker = await Aedes.createBroker();
const due = new Map<string, ReturnType<typeof rangeSet>>();
let counts = { messages: 0, metrics: 0, bytes: 0 };

broker.on("publish", (packet, client) => {
  if (!client) return;
  counts.messages += 1;
  counts.bytes += packet.payload.length;
  if (parseTopic(packet.topic)?.type !== "DDATA") {
    counts.metrics += 1;
    return;
  }
  const payload = decodePayload(Uint8Array.from(packet.payload as Buffer));
  counts.metrics += payload.metrics.length;
  const header = payload.body && decodeHeader(payload.body);
  if (!header) return;
  const ranges = due.get(header.epoch) ?? rangeSet();
  due.set(header.epoch, ranges);
  ranges.add(header.offset, header.offset);
});
setInterval(() => {
  for (const [epoch, ranges] of due) {
    const value = encodeNotice({ epoch, ranges: ranges.ranges(), atMs: Date.now() });
    const metrics = [{ name: commitMetric, timestampMs: Date.now(), datatype: DataType.String, declare: true, value }];
    const payload = Buffer.from(encodePayload({ timestampMs: Date.now(), metrics }));
    const topic = "spBv1.0/bench/NCMD/gateway";
    broker.publish({ cmd: "publish", topic, payload, qos: 0, dup: false, retain: false }, () => undefined);
  }
  due.clear();
}, 200);

const server = createServer((socket) => void broker.handle(socket));
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
const address = server.address();
process.send?.({ port: typeof address === "object" && address ? address.port : 0 });
process.on("message", (message) => {
  if (message !== "report") return;
  process.send?.(counts);
  counts = { messages: 0, metrics: 0, bytes: 0 };
});
process.on("disconnect", () => process.exit(0));
