import { type EventEmitter, once } from "node:events";
import { connect as connectTcp } from "node:net";
import { Value } from "typebox/value";
import { afterEach, describe, expect, it } from "vitest";
import { brokerSchema } from "./config.ts";
import { type Name, secrets, type TestBroker, testBroker, until } from "./test-broker.ts";
import { flood, publishPacket, rawClient } from "./test-wire.ts";
import { createMeter } from "./throttle.ts";

const { client: ofClient, enterprise: ofEnterprise } = Value.Create(brokerSchema).limits;
let test: TestBroker;
const start = async (...setting: Parameters<typeof testBroker>) => {
  test = await testBroker(...setting);
  return test.broker;
};

describe("a meter", () => {
  it("gives back a second's worth in a second, and never more than that at once", () => {
    let nowMs = 0;
    const meter = createMeter(
      () => ({ messagesPerSecond: 100, bytesPerSecond: 1000 }),
      () => nowMs,
    );
    meter.take(100, 1000);
    expect(meter.owedMs()).toBe(0);
    meter.take(50, 0);
    expect(meter.owedMs()).toBe(500);
    nowMs += 400;
    expect(meter.owedMs()).toBeCloseTo(100);
    meter.take(0, 2400);
    expect(meter.owedMs(), "what is owed most").toBeCloseTo(2000);
    nowMs += 60_000;
    meter.take(200, 0);
    expect(meter.owedMs()).toBeCloseTo(1000);
  });
});

describe("shares of a running broker", () => {
  afterEach(() => test.end());

  it("a flooding client is read more slowly, stays connected, and nobody beside it notices", async () => {
    const broker = await start({ limits: { client: { ...ofClient, messagesPerSecond: 200 } } });
    const heard = new Map<string, number>();
    broker.bus.onMessage((topic) => heard.set(topic, (heard.get(topic) ?? 0) + 1));
    const flooded = "spBv1.0/f1/NCMD/gw-2";
    const socket = await rawClient(broker.port, "ingest-flood", "ingest", secrets.ingest);
    const gateway = await test.connect("f1/gw-1");
    const startedMs = performance.now();
    const stop = flood(socket, publishPacket(flooded, Buffer.alloc(1000)));
    let slowestMs = 0;
    for (let i = 0; performance.now() - startedMs < 1500; i += 1) {
      const sentMs = performance.now();
      await gateway.publishAsync("spBv1.0/f1/NDATA/gw-1", `${i}`, { qos: 1 });
      slowestMs = Math.max(slowestMs, performance.now() - sentMs);
      // Within its own share.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const elapsedS = (performance.now() - startedMs) / 1000;
    stop();
    const taken = heard.get(flooded) ?? 0;
    // What is there at the start, what comes back, and a piece or two of 64 KiB read beyond it.
    expect(taken).toBeLessThan(200 + 200 * elapsedS + 150);
    expect(taken).toBeGreaterThan(200);
    expect(slowestMs).toBeLessThan(500);
    expect(socket.destroyed).toBe(false);
    expect(broker.stats()).toMatchObject({ throttled: { enterprise: 0 }, clients: 2 });
    expect(broker.stats().throttled.client).toBeGreaterThan(0);
    const told = test.faults.filter(({ code }) => code === "BROKER_THROTTLED");
    expect(told, "once, not at each pause").toEqual([
      { code: "BROKER_THROTTLED", subject: "ingest -flood", detail: expect.stringContaining("share") },
    ]);
    // What it had sent is taken in time: nothing is thrown away.
    await until(() => (heard.get(flooded) ?? 0) > taken, "it is read on");
    socket.destroy();
  });

  it("an enterprise has one share for all of its clients, and takes none of another's", async () => {
    const broker = await start({ limits: { enterprise: { ...ofEnterprise, messagesPerSecond: 50 } } });
    const heard: string[] = [];
    broker.bus.onMessage((topic) => heard.push(topic));
    const [one, two, other] = await Promise.all([
      test.connect("f1/gw-1"),
      test.connect("f1/gw-2"),
      test.connect("f3/gw-1"),
    ]);
    for (let i = 0; i < 150; i += 1) one.publish("spBv1.0/f1/NDATA/gw-1", "x");
    await until(() => broker.stats().throttled.enterprise > 0, "it is throttled");
    two.publish("spBv1.0/f1/NDATA/gw-2", "x");
    two.publish("spBv1.0/f1/NDATA/gw-2", "x");
    for (let i = 0; i < 20; i += 1) await other.publishAsync("spBv1.0/f3/NDATA/gw-1", "x", { qos: 1 });
    await until(() => heard.filter((topic) => topic.includes("f3")).length === 20, "another goes on");
    expect(heard.filter((topic) => topic.endsWith("gw-2")).length, "one of the same is held up").toBe(0);
    await until(() => heard.filter((topic) => topic.endsWith("gw-2")).length === 2, "and its turn comes", 15_000);
  });

  const codeOf = (connecting: Promise<unknown>) =>
    connecting.then(
      () => "connected",
      (error: { code?: unknown }) => error.code,
    );

  it("bounds connects of a client, and lets it in again with time", async () => {
    const broker = await start({ limits: { client: { ...ofClient, connectsPerMinute: 3 } } });
    const codes: unknown[] = [];
    for (let i = 0; i < 5; i += 1) codes.push(await codeOf(test.connect("ingest").then((made) => made.endAsync(true))));
    expect(codes).toEqual(["connected", "connected", "connected", 3, 3]);
    expect(await codeOf(test.connect("ingest", { clientId: "ingest-2" })), "another client").toBe("connected");
    expect(broker.stats().refusedByCode.get("BROKER_CONNECT_RATE")).toBe(2);
    expect(test.faults[0]).toMatchObject({ code: "BROKER_CONNECT_RATE", subject: "ingest" });
  });

  it("bounds connects of an enterprise, and nobody else's by that", async () => {
    await start({ limits: { enterprise: { ...ofEnterprise, connectsPerMinute: 2 } } });
    const codes: unknown[] = [];
    for (const name of ["f1/gw-1", "f1/gw-2", "wall@ea", "wall@eb", "f3/gw-1", "ingest"] as const)
      codes.push(await codeOf(test.connect(name)));
    expect(codes).toEqual(["connected", "connected", 3, "connected", "connected", "connected"]);
  });

  it.each([
    ["an account", { connectionsPerAccount: 2 }, "wall@ea", "wall@eb"],
    ["an enterprise", { enterprise: { ...ofEnterprise, connections: 2 } }, "wall@ea", "wall@eb"],
  ] as const)("bounds the clients of %s; one that comes again takes its own place", async (_of, limits, full, free) => {
    const broker = await start({ limits });
    const connect = (name: Name, n: number) => codeOf(test.connect(name, { clientId: `${name}-${n}` }));
    const codes = [await connect(full, 1), await connect(full, 2), await connect(full, 3), await connect(free, 1)];
    expect(codes).toEqual(["connected", "connected", 3, "connected"]);
    expect(await connect(full, 2), "in place of itself").toBe("connected");
    await until(() => broker.stats().clients === 3, "the old one is gone");
    expect(broker.stats().refusedByCode.get("BROKER_TOO_MANY_CLIENTS")).toBe(1);
  });

  it("bounds connections of an address, and leaves those of others free", async () => {
    const broker = await start({ limits: { connectionsPerAddress: 2 } });
    const [one] = await Promise.all([test.connect("f1/gw-1"), test.connect("f1/gw-2")]);
    const third = connectTcp(broker.port, "127.0.0.1");
    third.on("error", () => {});
    await once(third, "close");
    expect(broker.stats()).toMatchObject({ dropped: { address: 1, connections: 0 }, connections: 2 });
    expect(test.faults).toEqual([
      {
        code: "BROKER_TOO_MANY_CONNECTIONS",
        subject: "127.0.0.1",
        detail: "beyond broker.limits.connectionsPerAddress",
      },
    ]);
    const closed = once(one as unknown as EventEmitter, "close");
    one.end();
    await closed;
    await until(() => broker.stats().connections === 1, "its place is free");
    expect(await codeOf(test.connect("ingest"))).toBe("connected");
  });

  it("bounds filters of a client; one that is given up makes room", async () => {
    const broker = await start({ limits: { subscriptions: 2 } });
    const host = await test.connect("ingest");
    await host.subscribeAsync(["spBv1.0/+/NDATA/#", "spBv1.0/+/DDATA/#"]);
    await host.subscribeAsync("spBv1.0/+/NDATA/#");
    await expect(host.subscribeAsync("spBv1.0/+/NBIRTH/#")).rejects.toThrow();
    await host.unsubscribeAsync("spBv1.0/+/NDATA/#");
    await host.subscribeAsync("spBv1.0/+/NBIRTH/#");
    expect(broker.stats().refusedByCode.get("BROKER_TOO_MANY_SUBSCRIPTIONS")).toBe(1);
  });

  it("takes up other limits without ending a connection, and names what needs a new start", async () => {
    const broker = await start();
    const [gateway, host] = await Promise.all([test.connect("f1/gw-1"), test.connect("ingest")]);
    const base = Value.Create(brokerSchema);
    const next = { ...base, port: 0, maxPayloadBytes: 2000, keepaliveMaxMs: 30_000 };
    next.limits = { ...base.limits, subscriptions: 1 };
    expect(broker.reload(next)).toEqual([]);
    expect(broker.reload({ ...next, host: "127.0.0.9", connectTimeoutMs: 1 })).toEqual(["/host", "/connectTimeoutMs"]);
    await host.subscribeAsync("spBv1.0/#");
    await expect(host.subscribeAsync("spBv1.0/+/NBIRTH/#")).rejects.toThrow();
    await gateway.publishAsync("spBv1.0/f1/NDATA/gw-1", Buffer.alloc(2000), { qos: 1 });
    expect(broker.stats().clients, "both are still there").toBe(2);
    expect(await codeOf(test.connect("f1/gw-2"))).toBe(5);
    const end = once(gateway as unknown as EventEmitter, "close");
    gateway.publish("spBv1.0/f1/NDATA/gw-1", Buffer.alloc(2001));
    await end;
    expect(broker.stats().refusedByCode.get("BROKER_PAYLOAD_TOO_LARGE")).toBe(1);
  });
});
