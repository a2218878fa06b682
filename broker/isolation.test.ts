import { type EventEmitter, once } from "node:events";
import { DataType } from "@jilian/domain/datatypes.ts";
import { decodePayload, encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import type { IPublishPacket, MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { type TestBroker, testBroker, until, willOf } from "./test-broker.ts";
import { publishPacket, rawClient, subscribePacket } from "./test-wire.ts";

let test: TestBroker;
const start = async (...setting: Parameters<typeof testBroker>) => {
  test = await testBroker(...setting);
  return test.broker;
};
afterEach(() => test.end());

type Heard = { topic: string; text: string; retain: boolean };
function hearing(client: MqttClient): Heard[] {
  const heard: Heard[] = [];
  client.on("message", (topic, payload, packet: IPublishPacket) =>
    heard.push({ topic, text: payload.toString(), retain: packet.retain ?? false }),
  );
  return heard;
}
const ended = (client: MqttClient) =>
  once(client as unknown as EventEmitter, "close", { signal: AbortSignal.timeout(5000) });
const topicsOf = (heard: readonly Heard[]) => heard.map(({ topic }) => topic);
const certificates = "$sparkplug/certificates/";

describe("enterprises", () => {
  it("hear nothing of each other: live, kept, by will, by wildcard", async () => {
    await start();
    const gateways = await Promise.all([test.connect("f1/gw-1"), test.connect("f3/gw-1")]);
    const [ofA, ofB] = await Promise.all([test.connect("wall@ea"), test.connect("wall@eb")]);
    const host = await test.connect("ingest");
    const [heardByA, heardByB, heardByHost] = [hearing(ofA), hearing(ofB), hearing(host)];
    await host.subscribeAsync("spBv1.0/#");
    await ofA.subscribeAsync(["spBv1.0/#", "spBv1.0/+/NDATA/+", `${certificates}#`]);
    for (const [i, group] of ["f1", "f3"].entries()) {
      await gateways[i]?.publishAsync(`spBv1.0/${group}/NBIRTH/gw-1`, `birth ${group}`);
      await gateways[i]?.publishAsync(`spBv1.0/${group}/NDATA/gw-1`, `data ${group}`, { qos: 1 });
      await host.publishAsync(`spBv1.0/${group}/NCMD/gw-1`, "command", { qos: 1 });
    }
    await host.publishAsync("spBv1.0/STATE/ingest", "state", { qos: 1, retain: true });
    // A later subscription: what is kept comes with it.
    await ofB.subscribeAsync([`${certificates}#`, "spBv1.0/#"]);
    for (const gateway of gateways) gateway.stream.destroy();
    await until(() => topicsOf(heardByHost).filter((topic) => topic.includes("NDEATH")).length === 2, "both deaths");
    await until(() => heardByB.length >= 3, "what is its own");
    // The filters overlap: MQTT lets a broker deliver such a message once or twice.
    expect(new Set(topicsOf(heardByA))).toEqual(
      new Set([
        `${certificates}spBv1.0/f1/NBIRTH/gw-1`,
        "spBv1.0/f1/NBIRTH/gw-1",
        "spBv1.0/f1/NDATA/gw-1",
        "spBv1.0/STATE/ingest",
        "spBv1.0/f1/NDEATH/gw-1",
      ]),
    );
    expect(heardByB.map(({ topic, retain }) => `${topic} ${retain}`).sort()).toEqual([
      `${certificates}spBv1.0/f3/NBIRTH/gw-1 true`,
      "spBv1.0/STATE/ingest true",
      "spBv1.0/f3/NDEATH/gw-1 false",
    ]);
  });

  it("learn nothing from what is refused: what another has and what nobody has look the same", async () => {
    const broker = await start();
    const viewer = await rawClient(broker.port, "wall@ea", "wall@ea", "secret of a viewer of ea");
    const answers: string[] = [];
    for (const filter of ["spBv1.0/f3/#", "spBv1.0/f8/#", `${certificates}spBv1.0/f3/#`, "spBv1.0/f3/NDATA/gw-1"]) {
      viewer.write(subscribePacket(filter));
      const [suback] = (await once(viewer, "data")) as [Buffer];
      answers.push(suback.toString("hex"));
    }
    expect(answers).toEqual(Array(4).fill("9003000180"));
    viewer.destroy();
    const code = (username: string, password: string, clientId = username) =>
      test.connect("wall@ea", { username, password, clientId }).then(
        () => "connected",
        (error) => error.code,
      );
    const names = ["wall@ea", "wall@eb", "nobody@eb", "wall@nowhere", "f3/gw-1", "f3/gw-9", "operator:x", "host-x"];
    for (const name of names) expect(await code(name, "a wrong secret"), name).toBe(4);
    expect(await code("wall@ea", "secret of a viewer of ea", "wall@eb")).toBe(2);
    expect(await code("wall@ea", "secret of a viewer of ea", "wall@nowhere")).toBe(2);
  });

  it("cannot go through names for long: after 100 refused filters a client is ended", async () => {
    const broker = await start();
    const viewer = await test.connect("wall@ea");
    const end = ended(viewer);
    for (let i = 0; i <= 100; i += 1) viewer.subscribe(`spBv1.0/guess-${i}/#`, () => {});
    await end;
    expect(broker.stats().refusedSubscribes).toBe(101);
    expect(broker.stats().linesNotLogged).toBeGreaterThan(70);
  });

  it("viewers publish nothing, and leave no will", async () => {
    const broker = await start();
    for (const topic of ["spBv1.0/f1/NCMD/gw-1", "spBv1.0/STATE/wall@ea", "spBv1.0/f1/NDATA/gw-1"]) {
      const viewer = await test.connect("wall@ea");
      const end = ended(viewer);
      viewer.publish(topic, "x", { qos: 1 });
      await end;
    }
    expect(broker.stats()).toMatchObject({ messages: 0, refusedPublishes: 3 });
    await expect(test.connect("wall@ea", { will: willOf("f1/gw-1") })).rejects.toMatchObject({ code: 5 });
  });
});

describe("$SYS", () => {
  it("is for operators alone, and all they hear", async () => {
    await start();
    const operator = await test.connect("operator:ops", { password: "ops.secret of ops", clientId: "operator:ops-1" });
    const heard = hearing(operator);
    await expect(operator.subscribeAsync("spBv1.0/#")).rejects.toThrow();
    await expect(operator.subscribeAsync("#")).rejects.toThrow();
    await operator.subscribeAsync("$SYS/#");
    const others = await Promise.all([test.connect("ingest"), test.connect("wall@ea"), test.connect("f1/gw-1")]);
    for (const other of others) await expect(other.subscribeAsync("$SYS/#")).rejects.toThrow();
    await until(() => heard.filter(({ topic }) => topic.endsWith("/new/clients")).length === 3, "three clients");
    await others[2]?.publishAsync("spBv1.0/f1/NDATA/gw-1", "x", { qos: 1 });
    expect(topicsOf(heard).every((topic) => topic.startsWith("$SYS/"))).toBe(true);
    expect(test.broker.stats().clientsByKind).toEqual({ gateway: 1, host: 1, viewer: 1, operator: 1, api: 0 });
  });
});

describe("accounts that change", () => {
  it("are cut off when they are withdrawn or have another secret; all others stay", async () => {
    const broker = await start({}, { revocationPollMs: 20 });
    const [viewer, gateway, host] = await Promise.all([
      test.connect("wall@ea"),
      test.connect("f1/gw-1"),
      test.connect("ingest"),
    ]);
    const ends = Promise.all([ended(viewer), ended(gateway)]);
    test.ledger.revokeCredential("viewer", "wall@ea");
    test.ledger.setCredential({ kind: "gateway", name: "f1/gw-1", group: "f1", node: "gw-1" }, "another secret");
    await ends;
    await host.publishAsync("spBv1.0/f1/NCMD/gw-1", "x", { qos: 1 });
    expect(broker.stats()).toMatchObject({ clients: 1, ended: { withdrawn: 2 } });
    await expect(test.connect("wall@ea")).rejects.toMatchObject({ code: 4 });
    await test.connect("f1/gw-1", { password: "another secret" });
    expect(test.faults.filter(({ code }) => code === "BROKER_ACCESS_WITHDRAWN")).toHaveLength(2);
  });
});

describe("a Sparkplug aware server", () => {
  const metric = { name: "bdSeq", timestampMs: 1000, datatype: DataType.Int64, declare: true, value: 3n };
  const death = Buffer.from(encodePayload({ timestampMs: 1000, metrics: [metric] }));

  it("sets the time of an NDEATH to that of its delivery, nothing else, and leaves alone what it cannot read", async () => {
    const broker = await start({}, { now: () => 1_800_000_000_000 });
    const heard: Buffer[] = [];
    broker.bus.onMessage((_topic, payload) => heard.push(Buffer.from(payload)));
    const gateway = await test.connect("f1/gw-1", { will: { ...willOf("f1/gw-1"), payload: death } });
    gateway.stream.destroy();
    await until(() => heard.length === 1, "the will");
    const told = decodePayload(heard[0] as Buffer);
    expect(told).toEqual({ ...decodePayload(death), timestampMs: 1_800_000_000_000 });
    const other = await test.connect("f1/gw-2");
    await other.publishAsync("spBv1.0/f1/NDEATH/gw-2", Buffer.from([0xff, 0xff]), { qos: 1 });
    await other.publishAsync("spBv1.0/f1/NDATA/gw-2", death, { qos: 1 });
    await until(() => heard.length === 3, "both");
    expect(heard.slice(1).map((bytes) => bytes.toString("hex"))).toEqual(["ffff", death.toString("hex")]);
  });

  it("keeps births of nodes and devices retained under $sparkplug/certificates, those of the last session", async () => {
    await start();
    const gateway = await test.connect("f1/gw-1");
    const send = (rest: string, text: string) => gateway.publishAsync(`spBv1.0/f1/${rest}`, text, { qos: 1 });
    await send("NBIRTH/gw-1", "node 1");
    await send("DBIRTH/gw-1/loom", "loom 1");
    await send("DBIRTH/gw-1/gone", "gone 1");
    await send("DDATA/gw-1/loom", "data");
    await send("NBIRTH/gw-1", "node 2");
    await send("DBIRTH/gw-1/loom", "loom 2");
    await send("DBIRTH/gw-1/empty", "");
    for (const name of ["ingest", "wall@ea"] as const) {
      const client = await test.connect(name);
      const heard = hearing(client);
      await client.subscribeAsync(`${certificates}#`);
      await until(() => heard.length === 2, "births that are kept");
      expect(heard.sort((a, b) => a.topic.localeCompare(b.topic))).toEqual([
        { topic: `${certificates}spBv1.0/f1/DBIRTH/gw-1/loom`, text: "loom 2", retain: true },
        { topic: `${certificates}spBv1.0/f1/NBIRTH/gw-1`, text: "node 2", retain: true },
      ]);
    }
    for (const filter of [`${certificates}#`, `${certificates}spBv1.0/f1/NBIRTH/gw-1`])
      await expect(gateway.subscribeAsync(filter)).rejects.toThrow();
  });

  it("bounds what it keeps of a gateway that has ever new devices", async () => {
    const limits = { birthBytesPerGateway: 20_000 };
    const broker = await start({ limits });
    const socket = await test.connect("f1/gw-1");
    for (let i = 0; i < 50; i += 1) socket.publish(`spBv1.0/f1/DBIRTH/gw-1/d${i}`, "x");
    await until(() => broker.stats().birthsDropped > 0, "no room");
    await socket.publishAsync("spBv1.0/f1/NDATA/gw-1", "x", { qos: 1 });
    expect(broker.stats().birthBytes).toBeLessThanOrEqual(20_000);
    expect(test.faults[0]).toMatchObject({ code: "BROKER_BIRTH_NOT_KEPT", subject: "f1/gw-1" });
    await socket.publishAsync("spBv1.0/f1/NBIRTH/gw-1", "a new session has room again", { qos: 1 });
    await until(() => broker.stats().birthBytes < 2000, "room again");
  });
});

describe("topics", () => {
  it.each([
    ["too long", `spBv1.0/f1/DDATA/gw-1/${"x".repeat(600)}`, "BROKER_TOPIC_TOO_LONG"],
    ["too deep", `spBv1.0/f1/DDATA/gw-1${"/x".repeat(50)}`, "BROKER_TOPIC_TOO_LONG"],
    ["not UTF-8", "spBv1.0/f1/DDATA/gw-1/\uFFFD", "BROKER_TOPIC_INVALID"],
  ])("%s end the connection, with a reason", async (_what, topic, code) => {
    const broker = await start();
    const gateway = await rawClient(broker.port, "ingest", "ingest", "secret of ingest");
    const end = once(gateway, "close", { signal: AbortSignal.timeout(5000) });
    gateway.write(publishPacket(topic, Buffer.alloc(1)));
    await end;
    expect(broker.stats().refusedByCode.get(code)).toBe(1);
  });
});
