import { type EventEmitter, once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import type { IClientOptions, MqttClient } from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { secrets, type TestBroker, testBroker, until, willOf } from "./test-broker.ts";
import { connectPacket } from "./test-wire.ts";

let test: TestBroker;
beforeEach(async () => {
  test = await testBroker();
});
afterEach(() => test.end());

/** Topics that a client hears from now on. */
function heardBy(client: MqttClient): string[] {
  const heard: string[] = [];
  client.on("message", (topic) => heard.push(topic));
  return heard;
}

/** The end of a connection; ask for it before it can come. */
function ended(client: MqttClient | Socket): Promise<unknown> {
  return once(client as EventEmitter, "close", { signal: AbortSignal.timeout(5000) });
}

describe("who comes in", () => {
  const refused = (over: IClientOptions, name: keyof typeof secrets = "f1/gw-1") =>
    test.connect(name, over).then(
      () => undefined,
      (error) => error.code,
    );

  it("the right name and secret, as a gateway and as a host", async () => {
    await test.connect("f1/gw-1");
    await test.connect("ingest");
    await test.connect("ingest", { clientId: "ingest-2" });
    expect(test.broker.stats()).toMatchObject({ clients: 3, refusedConnects: 0 });
  });

  it("nobody else, with the code that MQTT has for it, and without a word of the secret in the log", async () => {
    const cases: [IClientOptions, number][] = [
      [{ password: "wrong secret" }, 4],
      [{ username: "f1/gw-9", clientId: "f1/gw-9" }, 4],
      [{ username: "wall", password: "secret of wall", clientId: "wall" }, 4],
      [{ username: "ingest", password: secrets["f1/gw-1"], clientId: "ingest" }, 4],
      [{ clean: false }, 5],
      [{ keepalive: 0 }, 5],
      [{ keepalive: 600 }, 5],
      [{ clientId: "f1/gw-1x" }, 2],
      [{ will: willOf("f1/gw-2") }, 5],
      [{ will: { ...willOf("f1/gw-1"), retain: true } }, 5],
      [{ protocolVersion: 5 }, 1],
    ];
    for (const [over, code] of cases) expect(await refused(over), JSON.stringify(over)).toBe(code);
    expect(test.broker.stats()).toMatchObject({ clients: 0, refusedConnects: cases.length - 1 });
    expect(test.faults[0]).toEqual({
      code: "BROKER_BAD_CREDENTIALS",
      subject: "127.0.0.1",
      detail: 'wrong user name or password (user "f1/gw-1")',
    });
    const log = test.logLines.join("");
    expect(log).toContain("BROKER_WILL");
    for (const secret of [...Object.values(secrets), "wrong secret", "secret of wall"])
      expect(log).not.toContain(secret);
  });

  it("nobody without a name", async () => {
    const socket = connectTcp(test.broker.port, "127.0.0.1");
    socket.write(Buffer.from("100d00044d5154540402003c000161", "hex"));
    const [connack] = (await once(socket, "data")) as [Buffer];
    expect(connack.toString("hex")).toBe("20020004");
    socket.destroy();
  });

  it("no one who could push out another gateway: the id of a live session is not for foreign credentials", async () => {
    const victim = await test.connect("f1/gw-1");
    expect(await refused({ clientId: "f1/gw-1", will: willOf("f1/gw-2") }, "f1/gw-2")).toBe(2);
    expect(await refused({ clientId: "f1/gw-1" }, "ingest")).toBe(2);
    await victim.publishAsync("spBv1.0/f1/NDATA/gw-1", "still here", { qos: 1 });
    expect(test.broker.stats().clients).toBe(1);
  });

  it("the same gateway again: the old connection goes, and its NDEATH is told", async () => {
    const deaths: string[] = [];
    test.broker.bus.onMessage((topic) => deaths.push(topic));
    const old = await test.connect("f1/gw-1");
    const gone = ended(old);
    await test.connect("f1/gw-1");
    await gone;
    await until(() => deaths.includes("spBv1.0/f1/NDEATH/gw-1"), "NDEATH");
    expect(test.broker.stats().clients).toBe(1);
  });

  it("after many failures from an address nobody for a while, so that guessing costs the broker little", async () => {
    const codes: number[] = [];
    for (let i = 0; i < 30; i += 1) codes.push(await refused({ password: `guess number ${i}` }));
    expect(codes.slice(0, 20)).toEqual(Array(20).fill(4));
    expect(codes.at(-1)).toBe(3);
    expect(test.broker.stats().faultsNotReported).toBeGreaterThan(0);
    expect(test.faults[0]).toMatchObject({ code: "BROKER_BAD_CREDENTIALS", subject: "127.0.0.1" });
  });

  // Each stranger has an address of its own: not every system gives the whole of 127/8 to itself.
  it.skipIf(process.platform === "darwin")(
    "after guesses from many addresses strangers wait, and who was there before comes in",
    async () => {
      /** The code that a log-in from an address is answered with. */
      const from = async (localAddress: string, name: keyof typeof secrets, password: string): Promise<number> => {
        const socket = connectTcp({ port: test.broker.port, host: "127.0.0.1", localAddress });
        socket.on("error", () => {});
        socket.write(connectPacket(name, name, password));
        const [connack] = (await once(socket, "data")) as [Buffer];
        socket.destroy();
        return connack[3] as number;
      };
      expect(await from("127.0.0.1", "ingest", secrets.ingest)).toBe(0);
      const codes: number[] = [];
      for (let i = 0; i < 200 && codes.at(-1) !== 3; i += 1)
        codes.push(await from(`127.0.1.${i + 1}`, "ingest", "one and the same guess"));
      expect(codes.length).toBeGreaterThan(100);
      expect(codes.slice(0, 100)).toEqual(Array(100).fill(4));
      expect(codes.at(-1)).toBe(3);
      expect(await from("127.0.0.1", "ingest", secrets.ingest), "who was there before").toBe(0);
      expect(test.broker.stats().refusedByCode.get("BROKER_TOO_MANY_FAILURES")).toBe(1);
    },
  );
});

describe("what passes", () => {
  it("a gateway's own messages reach the host, the bus and no other gateway", async () => {
    const seen: [string, string][] = [];
    test.broker.bus.onMessage((topic, payload) => seen.push([topic, Buffer.from(payload).toString()]));
    const [one, two, host] = await Promise.all([
      test.connect("f1/gw-1"),
      test.connect("f1/gw-2"),
      test.connect("ingest"),
    ]);
    const [heardByTwo, heardByHost] = [heardBy(two), heardBy(host)];
    await host.subscribeAsync("spBv1.0/#");
    await two.subscribeAsync(["spBv1.0/f1/NCMD/gw-2", "spBv1.0/f1/DCMD/gw-2/#", "spBv1.0/STATE/+"]);
    await one.publishAsync("spBv1.0/f1/NBIRTH/gw-1", "birth", { qos: 1 });
    await one.publishAsync("spBv1.0/f1/DDATA/gw-1/loom", "data", { qos: 0 });
    await until(() => heardByHost.length === 2, "host hears both");
    expect(heardByHost).toEqual(["spBv1.0/f1/NBIRTH/gw-1", "spBv1.0/f1/DDATA/gw-1/loom"]);
    expect(seen).toEqual([
      ["spBv1.0/f1/NBIRTH/gw-1", "birth"],
      ["spBv1.0/f1/DDATA/gw-1/loom", "data"],
    ]);
    expect(heardByTwo).toEqual([]);
    expect(test.broker.stats()).toMatchObject({ clients: 3, messages: 2, refusedPublishes: 0, refusedSubscribes: 0 });
  });

  it("commands reach the gateway they are for, from a host and from the bus, and no other", async () => {
    const [one, two, host] = await Promise.all([
      test.connect("f1/gw-1"),
      test.connect("f1/gw-2"),
      test.connect("ingest"),
    ]);
    const [heardByOne, heardByTwo] = [heardBy(one), heardBy(two)];
    await one.subscribeAsync("spBv1.0/f1/NCMD/gw-1", { qos: 1 });
    await two.subscribeAsync("spBv1.0/f1/NCMD/gw-2", { qos: 1 });
    await host.publishAsync("spBv1.0/f1/NCMD/gw-1", "rebirth", { qos: 1 });
    await test.broker.bus.publish("spBv1.0/f1/NCMD/gw-1", Buffer.from("commit"), { qos: 1, retain: false });
    await test.broker.bus.publish("spBv1.0/f1/NCMD/gw-2", Buffer.from("commit"), { qos: 0, retain: false });
    await until(() => heardByOne.length === 2 && heardByTwo.length === 1, "commands arrive");
    expect(heardByTwo).toEqual(["spBv1.0/f1/NCMD/gw-2"]);
  });

  it("a host's STATE is retained for gateways that come later, and its will replaces it", async () => {
    const topic = "spBv1.0/STATE/ingest";
    const host = await test.connect("ingest", { will: { topic, payload: Buffer.from("off"), qos: 1, retain: true } });
    await host.publishAsync(topic, "on", { qos: 1, retain: true });
    const gateway = await test.connect("f1/gw-1");
    const states: string[] = [];
    gateway.on("message", (_topic, payload) => states.push(payload.toString()));
    await gateway.subscribeAsync(topic, { qos: 1 });
    await until(() => states.length === 1, "retained state");
    host.stream.destroy();
    await until(() => states.length === 2, "will of the host");
    expect(states).toEqual(["on", "off"]);
  });

  it.each([
    ["data of another gateway", "spBv1.0/f1/NDATA/gw-2", { qos: 0 }],
    ["a command", "spBv1.0/f1/NCMD/gw-2", { qos: 1 }],
    ["a write to a device", "spBv1.0/f1/DCMD/gw-1/loom", { qos: 0 }],
    ["retained data", "spBv1.0/f1/NDATA/gw-1", { qos: 1, retain: true }],
    ["the broker's own topics", "$SYS/x/new/clients", { qos: 0 }],
    ["a topic of too many levels", `spBv1.0${"/x".repeat(200)}`, { qos: 0 }],
  ] as const)("not %s: it is dropped and its sender disconnected", async (_what, topic, flags) => {
    const seen: string[] = [];
    test.broker.bus.onMessage((heard) => seen.push(heard));
    const gateway = await test.connect("f1/gw-1");
    const end = ended(gateway);
    gateway.publish(topic, "x", flags);
    await end;
    await until(() => seen.length > 0, "the will of the disconnected gateway");
    expect(seen).toEqual(["spBv1.0/f1/NDEATH/gw-1"]);
    const later = await test.connect("ingest");
    const heard = heardBy(later);
    await later.subscribeAsync("spBv1.0/#", { qos: 1 });
    await later.publishAsync("spBv1.0/f1/NCMD/gw-1", "after", { qos: 1 });
    await until(() => heard.length > 0, "own message");
    expect(heard, "nothing was retained").toEqual(["spBv1.0/f1/NCMD/gw-1"]);
    if (!topic.endsWith("x/x")) {
      expect(test.broker.stats().refusedPublishes).toBe(1);
      expect(test.faults).toEqual([expect.objectContaining({ code: "BROKER_PUBLISH_REFUSED", subject: "f1/gw-1" })]);
    }
  });

  it("no subscription to what is not one's own: refused in the SUBACK, the connection lives", async () => {
    const gateway = await test.connect("f1/gw-1");
    const heard = heardBy(gateway);
    for (const filter of ["#", "spBv1.0/#", "spBv1.0/f1/NCMD/+", "$SYS/#", "spBv1.0/f1/NDATA/gw-2"]) {
      await expect(gateway.subscribeAsync(filter), filter).rejects.toThrow();
    }
    await gateway.subscribeAsync("spBv1.0/f1/NCMD/gw-1");
    await test.broker.bus.publish("spBv1.0/f1/NCMD/gw-2", Buffer.from("x"), { qos: 0, retain: false });
    await test.broker.bus.publish("spBv1.0/f1/NCMD/gw-1", Buffer.from("x"), { qos: 0, retain: false });
    await until(() => heard.length > 0, "own command");
    expect(heard).toEqual(["spBv1.0/f1/NCMD/gw-1"]);
    expect(test.broker.stats()).toMatchObject({ clients: 1, refusedSubscribes: 5 });
  });
});

describe("the bus", () => {
  it("survives a handler that throws, and stops with the handler's end", async () => {
    const seen: string[] = [];
    test.broker.bus.onMessage(() => {
      throw new Error("handler is broken");
    });
    const end = test.broker.bus.onMessage((topic) => seen.push(topic));
    const gateway = await test.connect("f1/gw-1");
    await gateway.publishAsync("spBv1.0/f1/NDATA/gw-1", "1", { qos: 1 });
    await until(() => seen.length === 1, "first message");
    expect(test.logLines.some((line) => line.includes("handler is broken"))).toBe(true);
    end();
    await gateway.publishAsync("spBv1.0/f1/NDATA/gw-1", "2", { qos: 1 });
    await until(() => test.broker.stats().messages === 2, "second message");
    expect(seen).toHaveLength(1);
  });

  it("says that the broker is closed", async () => {
    await test.broker.close();
    await expect(
      test.broker.bus.publish("spBv1.0/f1/NCMD/gw-1", new Uint8Array(1), { qos: 0, retain: false }),
    ).rejects.toThrow(expect.objectContaining({ code: "BROKER_CLOSED" }));
  });
});

describe("close", () => {
  it("ends clients and strangers within a second, tells their wills to the bus and frees the port", async () => {
    const { port } = test.broker;
    const deaths: string[] = [];
    test.broker.bus.onMessage((topic) => deaths.push(topic));
    const clients = await Promise.all([test.connect("f1/gw-1"), test.connect("f1/gw-2"), test.connect("ingest")]);
    const stranger = connectTcp(port, "127.0.0.1");
    await once(stranger, "connect");
    const ends = [...clients, stranger].map(ended);
    const from = performance.now();
    await test.broker.close();
    expect(performance.now() - from).toBeLessThan(1000);
    await Promise.all(ends);
    expect(deaths.sort()).toEqual(["spBv1.0/f1/NDEATH/gw-1", "spBv1.0/f1/NDEATH/gw-2"]);
    const next = await testBroker({ port });
    expect(next.broker.port).toBe(port);
    await next.end();
  });

  it("refuses a port in use, and says so", async () => {
    await expect(testBroker({ port: test.broker.port })).rejects.toThrow(
      expect.objectContaining({ code: "BROKER_LISTEN_FAILED", address: `127.0.0.1:${test.broker.port}` }),
    );
  });
});
