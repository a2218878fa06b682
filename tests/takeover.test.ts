import { setTimeout as delay } from "node:timers/promises";
import { brokerSchema } from "@jilian/broker/config.ts";
import { type Broker, startBroker } from "@jilian/broker/start.ts";
import { decodeNotice, encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { nodeMetrics } from "@jilian/domain/sample.ts";
import { decodePayload, encodePayload, type OutMetric } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, type MessageType, rebirthMetric, topicOf } from "@jilian/domain/topics.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { startIngest } from "@jilian/ingest/start.ts";
import { openWorld, silent, testRegistry, until, type World } from "@jilian/ingest/test-world.ts";
import { createLiveState, type LiveState } from "@jilian/store/live.ts";
import { connectAsync, type MqttClient } from "mqtt";
import { Value } from "typebox/value";
import { afterEach, beforeEach, expect, test } from "vitest";

/** One name, two connections: what the real broker does with it, and what ingest makes of that. */

const place = { group: "f2", node: "gw-1" } as const;
const name = "f2/gw-1";
const password = "secret of the gateway";

let world: World;
let broker: Broker;
let live: LiveState;
let heard: string[];
const closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  world = await openWorld();
  world.ledger.setCredential({ kind: "gateway", name, ...place }, password);
  const onFault = (fault: Parameters<typeof world.ledger.noteFinding>[0]) =>
    world.ledger.noteFinding(fault, Date.now());
  broker = await startBroker(
    { ...Value.Create(brokerSchema), port: 0 },
    { ledger: world.ledger, log: silent, onFault },
  );
  live = createLiveState();
  heard = [];
  broker.bus.onMessage((topic) => heard.push(topic.split("/")[2] ?? ""));
  const ingest = await startIngest(
    { ...Value.Create(ingestSchema), lingerMs: 1, reorderMs: 50, rebirthIntervalMs: 100 },
    {
      bus: broker.bus,
      telemetry: world.telemetry,
      ledger: world.ledger,
      ledgerPath: world.ledgerPath,
      live,
      registry: testRegistry(true),
      clock: { now: () => Date.now(), rate: 1 },
      clockSetting: undefined,
      log: silent,
    },
  );
  closers.push(ingest.close);
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await broker.close();
  await world.end();
});

type Who = { bdSeq: number; box: string; epoch: string };
const encode = (metrics: Partial<OutMetric>[], more = {}) =>
  Buffer.from(
    encodePayload({
      timestampMs: Date.now(),
      metrics: metrics.map((metric) => ({
        timestampMs: Date.now(),
        datatype: DataType.String,
        value: "",
        declare: true,
        ...metric,
      })),
      ...more,
    }),
  );
const bdSeqOf = (bdSeq: number) => ({ name: bdSeqMetric, datatype: DataType.Int64, value: BigInt(bdSeq) });
const topic = (type: MessageType) =>
  topicOf({ ...place, type, ...(type.startsWith("D") ? { device: "meter-1" } : {}) });

/** A node with an outbox and one device, born once it is connected and whenever it is asked. */
async function join({ bdSeq, box, epoch }: Who) {
  const will = { topic: topic("NDEATH"), payload: encode([bdSeqOf(bdSeq)]), qos: 1, retain: false } as const;
  const client: MqttClient = await connectAsync(
    `mqtt://127.0.0.1:${broker.port}`,
    { username: name, password, clientId: name, reconnectPeriod: 0, connectTimeout: 2000, will },
    false,
  );
  client.on("error", () => undefined);
  closers.push(() => client.endAsync(true));
  const committed = new Set<number>();
  // A record that goes again says the same time of writing.
  const writtenFromMs = Date.now();
  let seq = 0;
  const send = (type: MessageType, metrics: Partial<OutMetric>[], more = {}) => {
    if (client.connected) client.publish(topic(type), encode(metrics, { seq, ...more }), { qos: 0 });
    seq = (seq + 1) % 256;
  };
  const birth = () => {
    seq = 0;
    send("NBIRTH", [
      bdSeqOf(bdSeq),
      { name: rebirthMetric, datatype: DataType.Boolean, value: false },
      { name: commitMetric },
      { name: nodeMetrics.box, value: box },
      { name: nodeMetrics.epoch, value: epoch },
      { name: nodeMetrics.starts, datatype: DataType.Int64, value: 1n },
    ]);
    send("DBIRTH", [{ name: "energy", alias: 1, datatype: DataType.Double, value: 0 }]);
  };
  client.on("message", (_, payload) => {
    for (const metric of decodePayload(payload).metrics) {
      if (metric.name === rebirthMetric) birth();
      if (metric.name !== commitMetric || metric.wire.case !== "stringValue") continue;
      for (const [first, last] of decodeNotice(metric.wire.value).ranges)
        for (let offset = first; offset <= last; offset += 1) committed.add(offset);
    }
  });
  // The library leaves a subscription without its answer pending for ever when the connection ends.
  const pushedOut = ended(client).then(() => Promise.reject(new Error("pushed out")));
  await Promise.race([client.subscribeAsync(topic("NCMD"), { qos: 1 }), pushedOut]);
  pushedOut.catch(() => undefined);
  birth();
  return {
    client,
    committed,
    data: (offset: number, value: number) => {
      const body = encodeHeader({ epoch, offset, writtenAtMs: writtenFromMs + offset });
      send("DDATA", [{ alias: 1, datatype: DataType.Double, value, declare: false }], { uuid: outboxUuid, body });
    },
  };
}

const ended = (client: MqttClient) => new Promise<void>((resolve) => client.once("close", () => resolve()));
const isAlive = () => live.nodes.get(name)?.alive === true;
const findings = () => world.ledger.findings(20).map(({ code }) => code);
const one: Who = { bdSeq: 4, box: "000000000000000a", epoch: "00000000000000e1" };

test("a gateway that comes back while its old session lives: the old one goes, and its will ends nothing of the new one", async () => {
  const old = await join(one);
  await until(isAlive, "the first birth");
  old.data(0, 1);
  await until(() => old.committed.has(0), "the first notice");
  const gone = ended(old.client);
  const again = await join({ ...one, bdSeq: 5 });
  await gone;
  await until(
    () => heard.includes("NDEATH") && heard.filter((type) => type === "NBIRTH").length === 2,
    "will and birth",
  );
  // The same will once more, as a network delivers late.
  await broker.bus.publish(topic("NDEATH"), encode([bdSeqOf(4)]), { qos: 1, retain: false });
  again.data(1, 2);
  await until(() => again.committed.has(1), "the notice of the new session");
  expect(isAlive()).toBe(true);
  expect(live.devices.get(`${name}/meter-1`)?.born).toBe(true);
  expect(live.counters.get("rebirthRequests") ?? 0).toBe(0);
  expect(broker.stats()).toMatchObject({ clients: 1, takeovers: 1, refusedConnects: 0 });
  expect(findings().filter((code) => code.startsWith("GATEWAY"))).toEqual([]);
});

test.each([
  ["boxes of their own", { ...one, bdSeq: 4, box: "000000000000000b", epoch: "00000000000000e2" }],
  ["copies of one outbox, births of one number", { ...one, epoch: "00000000000000e2" }],
])(
  "two with one name, %s: that is a finding, the broker is not flooded, and one of them stays and is served",
  { timeout: 60_000 },
  async (_, two) => {
    let stopped = false;
    let joined: Awaited<ReturnType<typeof join>> | undefined;
    let refused = 0;
    /** Comes back at once whenever it is pushed out, which a gateway of ours does not. */
    const insist = async (who: Who) => {
      while (!stopped) {
        try {
          const mine = await join(who);
          joined = mine;
          // One that came in just after the end is in nobody's list.
          if (stopped) await mine.client.endAsync(true);
          else if (mine.client.connected) await ended(mine.client);
        } catch {
          refused += 1;
          await delay(20);
        }
      }
    };
    const both = [insist(one), insist(two)];
    await until(() => refused > 20, "refusals", 20_000);
    await until(() => findings().includes("GATEWAY_CLONED"), "the finding");
    const { takeovers } = broker.stats();
    expect(takeovers).toBeGreaterThanOrEqual(10);
    expect(takeovers).toBeLessThan(20);
    expect(broker.stats().refusedByCode.get("GATEWAY_CLONED")).toBeGreaterThan(0);
    await until(() => isAlive(), "the birth of the one that stayed");
    // The other may take over once in ten seconds: whoever stays now is served.
    await until(() => {
      if (joined?.client.connected) joined.data(7, 3);
      return joined?.committed.has(7) === true;
    }, "its notice");
    stopped = true;
    for (const close of closers.splice(1)) await close();
    await Promise.all(both);
  },
);
