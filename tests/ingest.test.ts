import { brokerSchema } from "@jilian/broker/config.ts";
import { type Broker, startBroker } from "@jilian/broker/start.ts";
import { type CommitNotice, decodeNotice, encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { minuteMs, periodStart } from "@jilian/domain/periods.ts";
import { decodePayload, encodePayload, type OutMetric, property } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, rebirthMetric, stateTopic, topicOf } from "@jilian/domain/topics.ts";
import { connectBus, type SparkplugBus } from "@jilian/ingest/bus.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { type Ingest, startIngest } from "@jilian/ingest/start.ts";
import { openWorld, silent, testRegistry, until, type World } from "@jilian/ingest/test-world.ts";
import { createLiveState, deviceState, type LiveState } from "@jilian/store/live.ts";
import { connectAsync, type MqttClient } from "mqtt";
import { Value } from "typebox/value";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const epoch = "00000000000000ab";
const systemClock = { now: () => Date.now(), rate: 1 };
const gateway = { kind: "gateway", name: "f2/gw-1", group: "f2", node: "gw-1" } as const;
const host = { kind: "host", name: "jilian" } as const;

let world: World;
let broker: Broker;
let live: LiveState;
const closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  world = await openWorld();
  world.ledger.setCredential(gateway, "secret of the gateway");
  world.ledger.setCredential(host, "secret of the host");
  broker = await startTestBroker(0);
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await broker.close();
  await world.end();
});

function startTestBroker(port: number): Promise<Broker> {
  return startBroker({ ...Value.Create(brokerSchema), port }, { ledger: world.ledger, log: silent });
}

/** An attachment over MQTT, as to a broker of another process. */
function mqttBus(port = broker.port): SparkplugBus {
  const { name: username } = host;
  const config = { host: "127.0.0.1", port, username, password: "secret of the host", hostId: "jilian" };
  const bus = connectBus(config, Date.now, silent);
  closers.push(bus.close);
  return bus;
}

async function start(bus: SparkplugBus): Promise<Ingest> {
  live = createLiveState();
  const ingest = await startIngest(
    { ...Value.Create(ingestSchema), lingerMs: 1, reorderMs: 50, rebirthIntervalMs: 100, kpiIntervalMs: 50 },
    {
      bus,
      telemetry: world.telemetry,
      ledger: world.ledger,
      ledgerPath: world.ledgerPath,
      live,
      registry: testRegistry(true),
      clock: systemClock,
      clockSetting: undefined,
      log: silent,
    },
  );
  closers.push(ingest.close);
  return ingest;
}

/** Stops ingest as it is, without its bus. */
async function stop(ingest: Ingest): Promise<void> {
  closers.splice(closers.indexOf(ingest.close), 1);
  await ingest.close();
}

type Node = {
  client: MqttClient;
  notices: CommitNotice[];
  /** How often births were asked for. */
  rebirths: () => number;
  birth: () => Promise<void>;
  data: (offset: number, readings: readonly (readonly [atMs: number, kWh: number])[]) => Promise<void>;
};

/** A Sparkplug node written by hand: one meter, an outbox. It gives births when asked. */
async function startNode(): Promise<Node> {
  const topic = (type: "NBIRTH" | "NDEATH" | "NCMD") => topicOf({ group: "f2", node: "gw-1", type });
  const deviceTopic = (type: "DBIRTH" | "DDATA") => topicOf({ group: "f2", node: "gw-1", type, device: "meter-1" });
  const encode = (metrics: OutMetric[], more = {}) =>
    Buffer.from(encodePayload({ timestampMs: Date.now(), metrics, ...more }));
  const declared = (name: string, datatype: number, value: OutMetric["value"]): OutMetric => ({
    name,
    datatype,
    value,
    declare: true,
    timestampMs: Date.now(),
  });
  const bdSeq = declared(bdSeqMetric, DataType.Int64, 0n);
  const client = await connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
    username: gateway.name,
    password: "secret of the gateway",
    clientId: gateway.name,
    reconnectPeriod: 0,
    will: { topic: topic("NDEATH"), payload: encode([bdSeq]), qos: 1, retain: false },
  });
  closers.push(() => client.endAsync(true));
  const notices: CommitNotice[] = [];
  let rebirths = 0;
  let seq = 0;
  const next = () => {
    seq = (seq + 1) % 256;
    return { seq };
  };

  async function birth(): Promise<void> {
    seq = 0;
    const control = [declared(rebirthMetric, DataType.Boolean, false), declared(commitMetric, DataType.String, "")];
    await client.publishAsync(topic("NBIRTH"), encode([bdSeq, ...control], { seq }));
    const properties = { engUnit: property.text("kWh"), role: property.text("energy.import") };
    const energy = { ...declared("energy", DataType.Double, null), alias: 1, properties };
    await client.publishAsync(deviceTopic("DBIRTH"), encode([energy], next()));
  }

  client.on("message", (_, payload) => {
    for (const { name, wire } of decodePayload(payload).metrics) {
      if (name === commitMetric && wire.case === "stringValue") notices.push(decodeNotice(wire.value));
      if (name !== rebirthMetric) continue;
      rebirths += 1;
      void birth();
    }
  });
  await client.subscribeAsync(topic("NCMD"), { qos: 1 });
  return {
    client,
    notices,
    rebirths: () => rebirths,
    birth,
    data: async (offset, readings) => {
      const body = encodeHeader({ epoch, offset, writtenAtMs: Date.now() });
      const metrics = readings.map(
        ([timestampMs, value]): OutMetric => ({ alias: 1, timestampMs, datatype: DataType.Double, value }),
      );
      await client.publishAsync(deviceTopic("DDATA"), encode(metrics, { ...next(), uuid: outboxUuid, body }));
    },
  };
}

const offsetsOf = ({ notices }: Node) =>
  notices.flatMap((n) => n.ranges.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, i) => a + i)));

async function storedValues(): Promise<unknown[]> {
  const series = (await world.telemetry.series()).find((s) => s.metric === "energy")?.id ?? -1;
  return (await world.telemetry.read({ series, fromMs: 0, toMs: 1e15 }, 1000)).map((row) => row.value);
}

describe.each([
  ["the broker's own process", () => broker.bus],
  ["an MQTT connection", () => mqttBus()],
])("attached by %s", (_, attach) => {
  test("a node's birth and data are heard, stored, told back, and become figures", async () => {
    const ingest = await start(attach());
    const node = await startNode();
    // Over MQTT the host may come after the node's birth: it then asks for another.
    await node.birth();
    const minute = periodStart("minute", Date.now()) - minuteMs;
    await until(
      () => live.devices.get("f2/gw-1/meter-1")?.born === true || node.rebirths() > 0,
      "the birth",
      2000,
    ).catch(() => node.data(0, [[minute, 100]]));
    await until(() => live.devices.get("f2/gw-1/meter-1")?.born === true, "the birth");
    await node.data(0, [
      [minute, 100],
      [minute + 10_000, 101],
    ]);
    await node.data(1, [[minute + 20_000, 102]]);
    await until(() => new Set(offsetsOf(node)).size === 2, "both notices");
    expect(await storedValues()).toEqual([100, 101, 102]);
    expect(deviceState(live, "f2", "gw-1", "meter-1", minute + 20_000)).toBe("online");
    expect(world.ledger.firstBirths()).toMatchObject([{ group: "f2", node: "gw-1", device: "meter-1" }]);
    await ingest.settle();
    const query = { indicator: "energy.electricity", level: "factory", entity: "f2", period: "day" } as const;
    const [day] = world.ledger.readResults({ ...query, fromMs: 0, toMs: 1e15, limit: 9 });
    expect(day).toMatchObject({ value: "2", status: "provisional", lowerBound: true, simulated: true });
    await until(() => [...live.results.values()].some((r) => r.value === "2" && r.period === "day"), "live results");
    node.client.stream.destroy();
    await until(() => live.nodes.get("f2/gw-1")?.alive === false, "the will of the node");
  });

  test("after a restart on the same store, what is sent again is stored once and told again", async () => {
    const bus = attach();
    const first = await start(bus);
    const node = await startNode();
    await until(() => broker.stats().clients >= (bus === broker.bus ? 1 : 2), "the attachment");
    await node.birth();
    const at = Date.now() - 30_000;
    const send = async () => {
      for (const offset of [0, 1, 2]) await node.data(offset, [[at + offset * 1000, offset]]);
    };
    await until(() => live.devices.get("f2/gw-1/meter-1")?.born === true, "the birth");
    await send();
    await until(() => new Set(offsetsOf(node)).size === 3, "the notices");
    await stop(first);
    await world.reopen();
    node.notices.length = 0;
    await start(bus);
    // It knows of no birth and asks for one; what was sent before it comes again by the outbox, here by hand.
    await send();
    await until(() => live.devices.get("f2/gw-1/meter-1")?.born === true, "the birth that was asked for");
    expect(node.rebirths()).toBeGreaterThan(0);
    await send();
    await until(() => new Set(offsetsOf(node)).size === 3, "the notices again");
    expect(await storedValues()).toEqual([0, 1, 2]);
    expect([...live.samples.values()].map((s) => s.value)).toEqual([2]);
  });
});

describe("the connection of the host", () => {
  test("STATE is told online, taken up again when an old will contradicts it, and offline at the end", async () => {
    const states: boolean[] = [];
    broker.bus.onMessage((topic, payload) => {
      if (topic === stateTopic("jilian")) states.push(JSON.parse(new TextDecoder().decode(payload)).online);
    });
    await mqttBus().announce?.();
    await until(() => states.length === 1, "the birth of the host");
    await broker.bus.publish(stateTopic("jilian"), Buffer.from('{"online":false,"timestamp":1}'), {
      qos: 1,
      retain: true,
    });
    await until(() => states.length === 3, "the birth again");
    await closers.pop()?.();
    expect(states).toEqual([true, false, true, false]);
  });

  test("nodes that wait for their host are heard when they are born as soon as it says that it is there", async () => {
    const node = await startNode();
    broker.bus.onMessage((topic, payload) => {
      const isOnline = topic === stateTopic("jilian") && JSON.parse(new TextDecoder().decode(payload)).online;
      if (isOnline) void node.birth();
    });
    const bus = mqttBus();
    await until(() => bus.isConnected?.() === true, "the connection");
    await start(bus);
    await until(() => live.nodes.get("f2/gw-1")?.alive === true, "the birth");
    expect(node.rebirths()).toBe(0);
  });

  test("a broker that goes away is found again; nodes are taken as dead until they are born again", async () => {
    const { port } = broker;
    await start(mqttBus());
    await until(() => broker.stats().clients === 1, "the host");
    const node = await startNode();
    await node.birth();
    await until(() => live.nodes.get("f2/gw-1")?.alive === true, "the birth");
    await broker.close();
    await until(() => live.nodes.get("f2/gw-1")?.alive === false, "the loss");
    broker = await startTestBroker(port);
    await until(() => broker.stats().clients === 1, "the host again");
    const again = await startNode();
    await again.data(0, [[Date.now(), 1]]);
    await until(() => live.nodes.get("f2/gw-1")?.alive === true, "the birth that was asked for");
    expect(again.rebirths()).toBeGreaterThan(0);
  });

  test("closing ends at once when there is no broker", async () => {
    const { port } = broker;
    await broker.close();
    const bus = connectBus(
      { host: "127.0.0.1", port, username: "jilian", password: "x", hostId: "jilian" },
      Date.now,
      silent,
    );
    await bus.publish("spBv1.0/f2/NCMD/gw-1", new Uint8Array(), { qos: 0, retain: false });
    await bus.close();
    broker = await startTestBroker(0);
  });
});

describe("the KPI thread", () => {
  test("settling after the end is refused, with the reason", async () => {
    const ingest = await start(broker.bus);
    await ingest.settle();
    await stop(ingest);
    await expect(ingest.settle()).rejects.toMatchObject({ code: "KPI_WORKER" });
  });

  test("a ledger that cannot be opened ends the start", async () => {
    const parts = { bus: broker.bus, telemetry: world.telemetry, ledger: world.ledger, live: createLiveState() };
    const starting = startIngest(Value.Create(ingestSchema), {
      ...parts,
      ledgerPath: `${world.folder}/nowhere/ledger.sqlite`,
      registry: testRegistry(true),
      clock: systemClock,
      clockSetting: undefined,
      log: silent,
    });
    await expect(starting).rejects.toMatchObject({ code: "KPI_WORKER" });
  });
});
