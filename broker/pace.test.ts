/** What is kept, handed out to who reads slowly, steadily or not at all. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { certificateFolder, hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { expect, it } from "vitest";
import { packetLengths } from "./limits.ts";
import { drainOf } from "./pace.ts";
import { secrets, testBroker, until } from "./test-broker.ts";
import { rawClient, subscribePacket } from "./test-wire.ts";

const births = 3000;
const birthBytes = 8000;
/** More than the buffers of the operating system take for two connections. */
const allBytes = births * birthBytes;
const kept = "$sparkplug/certificates/#";

/** Reads what has come, 64 KiB at most, over and over: 13 MB a second at most. @returns what ends it */
function readSlowly(socket: Socket, everyMs: number, onChunk: (chunk: Buffer) => void): () => void {
  socket.pause();
  const timer = setInterval(() => {
    const chunk = socket.read() as Buffer | null;
    if (chunk) onChunk(chunk);
  }, everyMs);
  return () => clearInterval(timer);
}

async function brokerWithBirths(stallMs: number) {
  const client = { connectsPerMinute: 60, messagesPerSecond: 1e6, bytesPerSecond: 1e9, queueBytes: 2_000_000 };
  const enterprise = { ...client, connections: 10, messagesPerSecond: 1e6 };
  const limits = { client, enterprise, birthBytesPerGateway: 2 * allBytes };
  const test = await testBroker({ limits }, { stallMs });
  const gateway = await test.connect("f1/gw-1");
  for (let i = 0; i < births; i += 1) gateway.publish(`spBv1.0/f1/DBIRTH/gw-1/device-${i}`, Buffer.alloc(birthBytes));
  await until(() => test.broker.stats().birthBytes > allBytes + births * 1024, "all births are kept", 15_000);
  return test;
}

/** A client of which each message is counted, by its topic. */
async function countingViewer(test: Awaited<ReturnType<typeof brokerWithBirths>>) {
  const viewer = await test.connect("wall@ea");
  const topics = new Set<string>();
  viewer.on("message", (topic) => topics.add(topic));
  await viewer.subscribeAsync(kept);
  return topics;
}

it("comes whole to who reads slowly, with little of it in memory at a time, and holds up nobody", async () => {
  const test = await brokerWithBirths(5000);
  const { broker } = test;
  const socket = await rawClient(broker.port, "ingest", "ingest", secrets.ingest);
  let [messages, before, mostBytes] = [0, 0, 0];
  const count = packetLengths((lengthBytes, type) => {
    if (type !== 3) return;
    messages += 1;
    if (lengthBytes < 100) before = messages;
  });
  const end = readSlowly(socket, 5, (chunk) => {
    count(chunk);
    mostBytes = Math.max(mostBytes, broker.stats().waitingBytes);
  });
  socket.write(Buffer.concat([kept, "spBv1.0/f1/NCMD/gw-1"].map((filter) => subscribePacket(filter))));
  await until(() => broker.stats().waitingBytes > 0, "its connection is full");
  const quick = await countingViewer(test);
  await until(() => quick.size === births, "who reads quickly has all");
  expect(messages, "before the slow one").toBeLessThan(births);
  await broker.bus.publish("spBv1.0/f1/NCMD/gw-1", Buffer.from("live"), { qos: 0, retain: false });
  await until(() => messages === births + 1, "all of them, and what was told meanwhile", 20_000);
  expect(before, "what is told waits for a buffer, not for all that is kept").toBeLessThan(births);
  expect(broker.stats().ended.slow).toBe(0);
  // A buffer of 64 KiB, one message more, and for a moment the other client's.
  expect(mostBytes).toBeLessThan(2 * (65_536 + birthBytes + 1024));
  end();
  socket.destroy();
  await test.end();
}, 40_000);

it("ends who reads nothing of it, however often it pings and asks, and nobody else", async () => {
  const test = await brokerWithBirths(300);
  const { broker } = test;
  const socket = await rawClient(broker.port, "ingest-stalled", "ingest", secrets.ingest);
  socket.pause();
  const ping = setInterval(() => socket.write(Buffer.concat([Buffer.from([0xc0, 0]), subscribePacket(kept)])), 20);
  const quick = await countingViewer(test);
  await until(() => broker.stats().ended.slow === 1, "it is given up", 15_000);
  await until(() => quick.size === births, "the other one has all");
  clearInterval(ping);
  expect(test.faults).toEqual([
    { code: "BROKER_SLOW_CLIENT", subject: "ingest -stalled", detail: "does not read what is sent to it" },
  ]);
  await until(() => broker.stats().clients === 2 && broker.stats().waitingBytes === 0, "it is gone, and what waited");
  socket.destroy();
  await test.end();
}, 40_000);

it("keeps what waits for many who read nothing below what may wait for all", async () => {
  const client = { connectsPerMinute: 60, messagesPerSecond: 1e6, bytesPerSecond: 1e9, queueBytes: 2_000_000 };
  const test = await testBroker({ limits: { client, queueBytes: 2_500_000, birthBytesPerGateway: 1e8 } });
  const { port, stats } = test.broker;
  const gateway = await test.connect("f1/gw-1");
  for (let i = 0; i < 20; i += 1) gateway.publish(`spBv1.0/f1/DBIRTH/gw-1/device-${i}`, Buffer.alloc(1_000_000));
  await until(() => stats().birthBytes > 20_000_000, "all births are kept", 15_000);
  const stalled = [1, 2, 3, 4, 5].map((i) => rawClient(port, `ingest-${i}`, "ingest", secrets.ingest));
  for (const socket of await Promise.all(stalled)) socket.pause().write(subscribePacket(kept));
  // A megabyte waits for each: two of them may.
  await until(() => stats().ended.slow === 3, "three are given up", 15_000);
  await until(() => stats().clients === 3, "the others stay");
  expect(stats().waitingBytes).toBeLessThan(2_500_000);
  for (const socket of await Promise.all(stalled)) socket.destroy();
  await test.end();
}, 40_000);

/** Both ends of a connection of its own. Not TCP: its buffers would take most of a message. */
async function connection(kind: "plain" | "TLS") {
  const folder = certificateFolder();
  const path = join(folder.dir, "socket");
  const authority = kind === "TLS" ? makeAuthority(folder.dir, "ca") : undefined;
  const files = authority?.issue("broker");
  const tls = files && { cert: readFileSync(files.certFile), key: readFileSync(files.keyFile) };
  const server = (tls ? createTlsServer(tls) : createServer()).listen(path);
  await once(server, "listening");
  const reader = authority
    ? connectTls({ path, servername: "localhost", ca: readFileSync(authority.caFile) })
    : connect(path);
  const [writer] = (await once(server, tls ? "secureConnection" : "connection")) as [Socket];
  const end = () => {
    reader.destroy();
    server.close();
    folder.remove();
  };
  return { reader, writer, end };
}

const isWithoutTls = { plain: false, TLS: !hasOpenssl };
it.for(["plain", "TLS"] as const)(
  "does not take one large message on its way, of which little by little is read, for a connection that stands still: %s",
  async (kind, { skip }) => {
    skip(isWithoutTls[kind], "no openssl here");
    const { reader, writer, end } = await connection(kind);
    let stalls = 0;
    const drain = () => drainOf(writer, () => (stalls += 1), 300);
    expect(drain(), "it is empty").toBeUndefined();
    writer.write(Buffer.alloc(6_000_000));
    const from = performance.now();
    const stop = readSlowly(reader, 8, () => {});
    await drain();
    expect(performance.now() - from, "longer than it may stand still").toBeGreaterThan(600);
    expect(stalls).toBe(0);
    stop();
    writer.write(Buffer.alloc(6_000_000));
    void drain()?.then(() => (stalls = -1));
    await until(() => stalls >= 1, "it stands still");
    writer.destroy();
    await until(() => stalls === -1, "who waits is told its end");
    end();
  },
);
