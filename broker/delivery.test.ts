/** What reaches subscribers over real sockets, whatever way publishers mix and cut what they send (MQTT 3.1.1, 3.3 and 4.6). */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { secrets, type TestBroker, testBroker, until } from "./test-broker.ts";
import {
  connectByPassword,
  connectPacket,
  publishPacket,
  publishQos1Packet,
  rawClient,
  subscribePacket,
  unsubscribePacket,
} from "./test-wire.ts";

let test: TestBroker;
afterEach(() => test.end());

type Heard = { topic: string; text: string; qos: number; dup: boolean; retain: boolean };

async function hearer(name: "ingest" | "wall@ea", ...filters: { topic: string; qos: 0 | 1 }[]): Promise<Heard[]> {
  const client = await test.connect(name);
  const heard: Heard[] = [];
  client.on("message", (topic, payload, { qos, dup, retain }) =>
    heard.push({ topic, text: String(payload), qos, dup, retain }),
  );
  for (const { topic, qos } of filters) await client.subscribeAsync(topic, { qos });
  return heard;
}
/** A gateway below a client library. */
async function gateway(): Promise<Socket> {
  const socket = connectTcp({ port: test.broker.port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  socket.write(connectByPassword("f1/gw-1", secrets["f1/gw-1"]));
  await once(socket, "data");
  return socket.resume();
}
const topic = "spBv1.0/f1/NDATA/gw-1";
const names = Array.from({ length: 30 }, (_, i) => `device-${i}`);

it("comes whole, in order within its QoS, when a client mixes QoS 0 and 1 in one piece", async () => {
  test = await testBroker();
  const heard = await hearer("ingest", { topic: "spBv1.0/#", qos: 1 });
  const socket = await gateway();
  const packets = Array.from({ length: 40 }, (_, i) =>
    i % 3 === 0 ? publishQos1Packet(topic, i + 1, Buffer.from(`${i}`)) : publishPacket(topic, Buffer.from(`${i}`)),
  );
  socket.write(Buffer.concat(packets));
  await until(() => heard.length === packets.length, "all");
  const numbers = packets.map((_, i) => i);
  const of = (wanted: number) => heard.filter(({ qos }) => qos === wanted).map(({ text }) => Number(text));
  expect([of(0), of(1)]).toEqual([numbers.filter((i) => i % 3 > 0), numbers.filter((i) => i % 3 === 0)]);
  socket.destroy();
});

it("brings births that are kept to who hears both, and STATE to who hears a command of the same moment", async () => {
  test = await testBroker();
  const heard = await hearer("ingest", { topic: "spBv1.0/#", qos: 1 }, { topic: "$sparkplug/certificates/#", qos: 1 });
  const socket = await gateway();
  // Several pieces of the network: readings come while births are being kept.
  const births = ["NBIRTH/gw-1", ...names.map((name) => `DBIRTH/gw-1/${name}`)].map((end) => `spBv1.0/f1/${end}`);
  const messages = births.flatMap((name) => [name, "spBv1.0/f1/NDATA/gw-1"]);
  socket.write(Buffer.concat(messages.map((name) => publishPacket(name, Buffer.alloc(20_000)))));
  const kept = births.map((name) => `$sparkplug/certificates/${name}`);
  const all = [...messages, ...kept].toSorted();
  await until(() => heard.length >= all.length, "messages and what is kept of them");
  expect(heard.map(({ topic: name }) => name).toSorted()).toEqual(all);

  heard.length = 0;
  const { bus } = test.broker;
  void bus.publish("spBv1.0/STATE/ingest", Buffer.from("online"), { qos: 1, retain: true });
  void bus.publish("spBv1.0/f1/NCMD/gw-1", Buffer.from("commit"), { qos: 0, retain: false });
  await until(() => heard.length >= 2, "both");
  expect(heard.map(({ topic: name }) => name).toSorted()).toEqual(
    ["spBv1.0/STATE/ingest", "spBv1.0/f1/NCMD/gw-1"].toSorted(),
  );
  socket.destroy();
});

it("comes once to who has filters that overlap, with the highest QoS of them, and never as a duplicate of the publisher", async () => {
  test = await testBroker();
  const filters = ["spBv1.0/#", "spBv1.0/+/NDATA/+", topic].map(
    (name, i) => ({ topic: name, qos: i === 1 ? 1 : 0 }) as const,
  );
  const heard = await hearer("wall@ea", ...filters.slice(0, 2));
  const socket = await gateway();
  const [once1, once0] = [publishQos1Packet(topic, 7, Buffer.from("one")), publishPacket(topic, Buffer.from("two"))];
  // DUP is between two ends (3.3.1-3); with QoS 0 there is none.
  for (const packet of [once1, once0]) packet[0] = (packet[0] as number) | 0x08;
  socket.write(Buffer.concat([once1, once0, publishQos1Packet(topic, 8, Buffer.from("three"))]));
  await until(() => heard.length >= 3, "all");
  expect(heard.toSorted((a, b) => a.text.localeCompare(b.text))).toEqual(
    (["one", "three", "two"] as const).map((text) => ({
      topic,
      text,
      qos: text === "two" ? 0 : 1,
      dup: false,
      retain: false,
    })),
  );
  socket.destroy();
});

it("comes with the greatest QoS of the filters that are held, whatever the exact one says, live and retained", async () => {
  test = await testBroker();
  const state = "spBv1.0/STATE/ingest";
  const publisher = await test.connect("ingest");
  await publisher.publishAsync(state, "kept", { qos: 1, retain: true });
  const viewer = await test.connect("wall@ea");
  const heard: string[] = [];
  viewer.on("message", (_topic, payload, { qos, retain }) => heard.push(`${payload} ${qos}${retain ? " kept" : ""}`));
  const step = async (filter: string, qos?: 0 | 1) => {
    heard.length = 0;
    if (qos === undefined) await viewer.unsubscribeAsync(filter);
    else expect((await viewer.subscribeAsync(filter, { qos })).at(0)?.qos, "granted").toBe(qos);
    // What is kept comes for each SUBSCRIBE; what is told then is told once.
    const before = qos === undefined ? 0 : 1;
    await until(() => heard.length === before, "what is kept");
    await publisher.publishAsync(state, "one", { qos: 1, retain: true });
    await until(() => heard.length > before, "what is told");
    return heard.map((text) => text.replace(/^kept/, "one"));
  };
  expect(await step(state, 0), "exact").toEqual(["one 0 kept", "one 0"]);
  expect(await step("spBv1.0/STATE/+", 1), "with a wildcard of QoS 1").toEqual(["one 1 kept", "one 1"]);
  expect(await step("spBv1.0/#", 0), "a filter with less changes nothing").toEqual(["one 1 kept", "one 1"]);
  expect(await step("spBv1.0/STATE/+"), "without the wildcard").toEqual(["one 0"]);
  expect(await step(state, 1), "the exact one anew").toEqual(["one 1 kept", "one 1"]);
  expect(await step(state, 0), "and back").toEqual(["one 0 kept", "one 0"]);
  expect(await step(state), "without it").toEqual(["one 0"]);
  expect(await step("spBv1.0/#", 1), "the other one anew").toEqual(["one 1 kept", "one 1"]);
});

it("comes to who gives a filter up and takes it again in one piece, once, and to nobody who has given it up", async () => {
  test = await testBroker();
  const { port, bus } = test.broker;
  const got: Buffer[] = [];
  const filter = "spBv1.0/f1/#";
  const socket = await rawClient(port as number, "ingest", "ingest", secrets.ingest);
  socket.on("data", (chunk: Buffer) => got.push(chunk));
  const times = (text: string) => Buffer.concat(got).toString("latin1").split(text).length - 1;
  const send = async (...packets: Buffer[]) => {
    const before = Buffer.concat(got).length;
    socket.write(Buffer.concat(packets));
    // SUBACK has 5 bytes, UNSUBACK 4.
    const answers = packets.reduce((sum, packet) => sum + (packet[0] === 0x82 ? 5 : 4), 0);
    await until(() => Buffer.concat(got).length >= before + answers, "answers");
  };
  await send(subscribePacket(filter));
  await send(unsubscribePacket(filter), subscribePacket(filter));
  await bus.publish(topic, Buffer.from("first"), { qos: 1, retain: false });
  await until(() => times("first") === 1, "the first");
  await send(subscribePacket("spBv1.0/+/NDATA/+"), unsubscribePacket(filter));
  await bus.publish(topic, Buffer.from("second"), { qos: 1, retain: false });
  await send(unsubscribePacket("spBv1.0/+/NDATA/+"));
  await bus.publish(topic, Buffer.from("third"), { qos: 1, retain: false });
  await send(subscribePacket(filter));
  expect(["first", "second", "third"].map(times)).toEqual([1, 1, 0]);
  socket.destroy();
});

it("comes whole when the first pieces of a connection are cut at every byte", async () => {
  test = await testBroker({
    limits: { client: { connectsPerMinute: 6000, messagesPerSecond: 1e6, bytesPerSecond: 1e9, queueBytes: 1e8 } },
  });
  const heard: string[] = [];
  test.broker.bus.onMessage((_topic, payload) => heard.push(Buffer.from(payload).toString()));
  const stream = Buffer.concat([
    connectPacket("ingest", "ingest", secrets.ingest),
    publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.from("a")),
    subscribePacket("spBv1.0/STATE/ingest"),
    publishQos1Packet("spBv1.0/f1/NCMD/gw-1", 9, Buffer.from("b")),
    publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.from("c")),
  ]);
  for (let at = 1; at < stream.length; at += 1) {
    heard.length = 0;
    const socket = connectTcp({ port: test.broker.port, host: "127.0.0.1", noDelay: true });
    socket.on("error", () => {});
    socket.on("data", () => {});
    const before = test.broker.stats().bytesReceived;
    socket.write(stream.subarray(0, at));
    await until(() => test.broker.stats().bytesReceived - before >= at, `the first ${at} bytes`);
    socket.write(stream.subarray(at));
    await until(() => heard.length >= 3, `all of those cut at ${at}: ${heard}`, 2000);
    expect(heard.toSorted(), `cut at ${at}`).toEqual(["a", "b", "c"]);
    const closed = once(socket, "close");
    socket.destroy();
    await closed;
  }
});
