/**
 * Throws broken MQTT at a broker beside a gateway and a host that keep to it, and says whether those two noticed. As a program it goes on
 * for as many connections as it is told: npm run fuzz:broker -- --cases 20000 --seed 7
 */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { randomFrom } from "@jilian/domain/test-random.ts";
import mqttPacket, { type Packet } from "mqtt-packet";
import { Value } from "typebox/value";
import { brokerSchema } from "./config.ts";
import { secrets, type TestBroker, testBroker, until } from "./test-broker.ts";
import { header, rawClient } from "./test-wire.ts";

/** A number in [0, 1). */
type Random = () => number;

function randomOf(seed: number): Random {
  // Neighbouring seeds begin alike in this generator.
  const { bits } = randomFrom(Math.imul(seed, 0x9e3779b1));
  return () => bits() / 2 ** 32;
}

const below = (random: Random, end: number) => Math.floor(random() * end);
const pick = <T>(random: Random, list: readonly T[]): T => list[below(random, list.length)] as T;
const bytesOf = (random: Random, length: number) => Buffer.from(Array.from({ length }, () => below(random, 256)));

const topics = [
  "spBv1.0/f1/NCMD/gw-1",
  "spBv1.0/f1/NDATA/gw-1",
  "spBv1.0/STATE/ingest",
  "$SYS/x",
  "#",
  "+/+",
  "spBv1.0/#",
  "a".repeat(5000),
  "/".repeat(99),
  "/".repeat(150),
  "x/".repeat(3000),
  "constructor",
  "__proto__",
  "spBv1.0/__proto__/NCMD/constructor",
];
const mayThrow = (make: () => Packet) => {
  try {
    return mqttPacket.generate(make());
  } catch {
    // The library refuses to write some of these itself; others of its make do not.
    return Buffer.alloc(0);
  }
};

/** One packet of any type, whole, with contents that may be refused. */
function packetOf(random: Random): Buffer {
  const messageId = below(random, 65_536);
  const topic = pick(random, topics);
  const qos = pick(random, [0, 1, 2] as const);
  const payload = bytesOf(random, below(random, 200));
  const login = { protocolId: "MQTT", protocolVersion: 4, keepalive: 60 } as const;
  const will = { topic, payload, qos, retain: random() < 0.5 };
  const makers: (() => Packet)[] = [
    () => ({
      ...{
        cmd: "connect",
        ...login,
        clean: random() < 0.8,
        clientId: topic.slice(0, 30),
        username: topic.slice(0, 60),
      },
      ...{ password: payload, ...(random() < 0.5 ? { will } : {}) },
    }),
    // One that would be let in but for its flags and will.
    () => ({
      ...{ cmd: "connect", ...login, clean: random() < 0.8, clientId: `wall@eb-${messageId}`, username: "wall@eb" },
      ...{ password: Buffer.from(secrets["wall@eb"]), ...(random() < 0.5 ? { will } : {}) },
    }),
    () => ({ cmd: "publish", topic, payload, qos, messageId, dup: random() < 0.5, retain: random() < 0.3 }),
    () => ({
      cmd: "subscribe",
      messageId,
      subscriptions: [
        { topic, qos },
        { topic: pick(random, topics), qos: 0 },
      ],
    }),
    () => ({ cmd: "unsubscribe", messageId, unsubscriptions: [topic, pick(random, topics)] }),
    ...(["puback", "pubrec", "pubrel", "pubcomp", "unsuback"] as const).map(
      (cmd) => () => ({ cmd, messageId }) as unknown as Packet,
    ),
    () => ({ cmd: "suback", messageId, granted: [0, 128] }) as unknown as Packet,
    () => ({ cmd: "connack", returnCode: 0, sessionPresent: false }),
    () => ({ cmd: "pingreq" }),
    () => ({ cmd: "pingresp" }),
    () => ({ cmd: "disconnect" }),
  ];
  return mayThrow(pick(random, makers));
}

/** What is done to the bytes of a packet. */
const mutations: ((bytes: Buffer, random: Random) => Buffer)[] = [
  (bytes) => bytes,
  (bytes, random) => bytes.subarray(0, below(random, bytes.length + 1)),
  (bytes, random) => Buffer.concat([bytes, bytesOf(random, below(random, 40))]),
  (bytes, random) => {
    const changed = Buffer.from(bytes);
    for (let i = below(random, 8); i >= 0 && changed.length > 0; i -= 1)
      changed[below(random, changed.length)] = below(random, 256);
    return changed;
  },
  // Another type or other flags, everything else as it was.
  (bytes, random) => Buffer.concat([bytesOf(random, 1), bytes.subarray(1)]),
  // A remaining length that is not so: shorter, longer, of 5 bytes, 256 MB.
  (bytes, random) => {
    const length = pick(random, [0, 1, 2, bytes.length, bytes.length + 50, 70_000, 268_435_455]);
    const first = bytes[0] ?? 0x30;
    const head = random() < 0.1 ? Buffer.from([first, 0xff, 0xff, 0xff, 0xff, 0x7f]) : header(first, length);
    return Buffer.concat([head, bytes.subarray(2)]);
  },
  // Text that is not UTF-8, and a length of text beyond the packet.
  (bytes, random) => {
    const changed = Buffer.from(bytes);
    const at = below(random, Math.max(1, changed.length - 3));
    changed.fill(pick(random, [0xff, 0xc0, 0xed, 0x00]), at, Math.min(changed.length, at + 1 + below(random, 3)));
    return changed;
  },
  (bytes, random) => {
    const at = below(random, bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), bytesOf(random, 1 + below(random, 4)), bytes.subarray(at)]);
  },
  (_bytes, random) => bytesOf(random, 1 + below(random, 300)),
];

/** A connection not logged in, from an address of its own: failed log-ins of it hold up nobody else. */
function stranger(port: number): Socket {
  // Not every system gives the whole of 127/8 to itself.
  const localAddress = process.platform === "darwin" ? undefined : "127.0.0.2";
  return connectTcp({ port, host: "127.0.0.1", ...(localAddress ? { localAddress } : {}) });
}

/** One connection: some packets, each broken in a way of its own, then the end. */
async function one(port: number, seed: number): Promise<void> {
  const random = randomOf(seed);
  const who = pick(random, ["stranger", "ingest", "wall@eb"] as const);
  const socket = who === "stranger" ? stranger(port) : await rawClient(port, `${who}-${seed}`, who, secrets[who]);
  socket.on("error", () => {});
  const closed = once(socket, "close", { signal: AbortSignal.timeout(20_000) });
  const bytes = Array.from({ length: 1 + below(random, 6) }, () => pick(random, mutations)(packetOf(random), random));
  socket.resume();
  // In pieces: a header may be torn.
  const whole = Buffer.concat(bytes);
  const cut = random() < 0.3 ? below(random, whole.length + 1) : whole.length;
  socket.write(whole.subarray(0, cut));
  if (cut < whole.length) setImmediate(() => socket.end(whole.subarray(cut)));
  else socket.end();
  await closed;
}

/** A gateway and a host that talk to each other; `check` throws when one of them lost its connection or a message. */
async function goodPair(test: TestBroker) {
  const [gateway, host] = await Promise.all([test.connect("f1/gw-1"), test.connect("ingest")]);
  const heard: number[] = [];
  let [sent, isOver] = [0, false];
  const fail = (name: string) => () => {
    if (!isOver) throw new Error(`the connection of the ${name} beside was ended`);
  };
  gateway.on("close", fail("gateway"));
  host.on("close", fail("host"));
  host.on("message", (_topic, payload) => void heard.push(payload.readUInt32BE()));
  await host.subscribeAsync("spBv1.0/f1/NDATA/gw-1", { qos: 1 });
  await gateway.subscribeAsync("spBv1.0/f1/NCMD/gw-1", { qos: 1 });
  return {
    /** Sends one message and waits for it on the other side. */
    beat: async () => {
      const number = Buffer.alloc(4);
      number.writeUInt32BE(sent);
      sent += 1;
      await gateway.publishAsync("spBv1.0/f1/NDATA/gw-1", number, { qos: 1 });
      await until(() => heard.length === sent, "a message of the pair beside", 20_000);
      if (heard.at(-1) !== sent - 1) throw new Error("the pair beside heard something else");
    },
    end: () => {
      isOver = true;
      return sent;
    },
  };
}

const atOnce = 16;

/**
 * @returns what the broker counts afterwards, and how many messages the pair beside exchanged
 * @throws when a connection does not end, or the pair beside notices anything; an exception in the broker is not caught
 */
export async function fuzz(test: TestBroker, { seed, cases }: { seed: number; cases: number }) {
  const { broker } = test;
  const pair = await goodPair(test);
  for (let from = 0; from < cases; from += atOnce) {
    const seeds = Array.from({ length: Math.min(atOnce, cases - from) }, (_, i) => seed * 1_000_000 + from + i);
    const ends = await Promise.allSettled(seeds.map((own) => one(broker.port, own)));
    for (const [i, end] of ends.entries())
      if (end.status === "rejected") throw new Error(`case ${seeds[i]}: ${end.reason}`, { cause: end.reason });
    await pair.beat();
  }
  await until(() => broker.stats().connections === 2, "only the pair beside is left");
  const exchanged = pair.end();
  return { stats: broker.stats(), exchanged };
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: { cases: { type: "string", default: "20000" }, seed: { type: "string", default: "1" } },
  });
  const startedMs = performance.now();
  const { limits } = Value.Create(brokerSchema);
  // Thousands of connects of one enterprise in a minute are what is asked for here.
  const test = await testBroker({ limits: { enterprise: { ...limits.enterprise, connectsPerMinute: 100_000 } } });
  const { stats, exchanged } = await fuzz(test, { seed: Number(values.seed), cases: Number(values.cases) });
  await test.end();
  const took = ((performance.now() - startedMs) / 1000).toFixed(0);
  const { ended, refusedConnects, refusedPublishes, refusedSubscribes } = stats;
  const told = { ended, refusedConnects, refusedPublishes, refusedSubscribes, exchanged };
  process.stdout.write(`${values.cases} connections in ${took} s, no fault: ${JSON.stringify(told)}\n`);
}
