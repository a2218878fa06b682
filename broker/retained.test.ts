import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { Aedes } from "aedes";
import fc from "fast-check";
import { connectAsync } from "mqtt";
import { expect, it } from "vitest";
import { createEmitter } from "./emitter.ts";
import { retainByLevel, retainedTree } from "./retained.ts";
import { secrets, testBroker, until } from "./test-broker.ts";
import { matches, packetOf } from "./test-retained.ts";
import { rawClient, subscribePacket } from "./test-wire.ts";

const words = fc.array(fc.constantFrom("", "a", "b", "$a"), { minLength: 1, maxLength: 4 });
const filters = fc
  .tuple(fc.array(fc.constantFrom("", "a", "b", "$a", "+"), { maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen || levels.length === 0 ? ["#"] : [])]);

it("gives what is retained for filters, however it was kept, replaced and taken away", () => {
  const step = fc.record({ topic: words, text: fc.constantFrom("", "x", "y") });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 30 }),
      fc.array(filters, { minLength: 1, maxLength: 3 }),
      (steps, asked) => {
        const tree = retainedTree();
        const model = new Map<string, string>();
        for (const { topic, text } of steps) {
          tree.store(packetOf(topic.join("/"), text));
          if (text === "") model.delete(topic.join("/"));
          else model.set(topic.join("/"), text);
        }
        const expected = asked.flatMap((filter) =>
          [...model].filter(([topic]) => matches(filter, topic.split("/"))).map(([topic, text]) => `${topic} ${text}`),
        );
        const given = asked.flatMap((filter) => [...tree.matching(filter.join("/"))]);
        expect(given.map(({ here }) => `${here?.topic} ${here?.payload}`).toSorted()).toEqual(expected.toSorted());
      },
    ),
    { numRuns: 500, seed: 20_261_127 },
  );
});

it("does not go through all that is kept for a filter that names what it wants", () => {
  const tree = retainedTree();
  const kept = (i: number) => `$sparkplug/certificates/spBv1.0/f${i % 50}/DBIRTH/gw-${i % 1000}/device-${i}`;
  for (let i = 0; i < 20_000; i += 1) tree.store(packetOf(kept(i), "birth"));
  const from = performance.now();
  for (let i = 0; i < 2000; i += 1) {
    expect([...tree.matching("spBv1.0/f1/NCMD/gw-1")]).toEqual([]);
    expect([...tree.matching(kept(i))]).toHaveLength(1);
  }
  // What is taken away leaves nothing to go through.
  for (let i = 0; i < 20_000; i += 1) tree.store(packetOf(kept(i), ""));
  for (let i = 0; i < 2000; i += 1) expect([...tree.matching("$sparkplug/#")]).toEqual([]);
  // Going through all takes about 20 s.
  expect(performance.now() - from).toBeLessThan(3000);
});

it("keeps a running broker's subscriptions as cheap as they were, however many births there are", async () => {
  const client = { connectsPerMinute: 60, messagesPerSecond: 1_000_000, bytesPerSecond: 1e9, queueBytes: 1e8 };
  const test = await testBroker({ limits: { client } });
  const [gateway, viewer, teller] = await Promise.all(
    (["f1/gw-1", "wall@ea", "f3/gw-1"] as const).map((name) => test.connect(name)),
  );
  if (!gateway || !viewer || !teller) throw new Error("not connected");
  const subscriptionsMs = async () => {
    const from = performance.now();
    await Promise.all(Array.from({ length: 300 }, () => gateway.subscribeAsync("spBv1.0/f1/NCMD/gw-1")));
    return performance.now() - from;
  };
  await subscriptionsMs();
  const beforeMs = await subscriptionsMs();
  await gateway.publishAsync("spBv1.0/f1/DBIRTH/gw-1/own", "birth");
  for (let i = 0; i < 3000; i += 1) teller.publish(`spBv1.0/f3/DBIRTH/gw-1/device-${i}`, "birth");
  await until(() => test.broker.stats().birthBytes > 3000 * 1024, "all births are kept");
  // Going through all takes some twelve times as long.
  expect(await subscriptionsMs()).toBeLessThan(3 * beforeMs + 200);
  const heard = new Promise((resolve) => viewer.once("message", resolve));
  await viewer.subscribeAsync("$sparkplug/certificates/#");
  expect(await heard).toBe("$sparkplug/certificates/spBv1.0/f1/DBIRTH/gw-1/own");
  await test.end();
});

it("counts what is kept as messages of the viewer that goes through it again and again, and of nobody else", async () => {
  const client = { connectsPerMinute: 60, messagesPerSecond: 300, bytesPerSecond: 1e9, queueBytes: 1e8 };
  const test = await testBroker({ limits: { client } });
  const teller = await test.connect("f1/gw-1");
  for (let i = 0; i < 200; i += 1) teller.publish(`spBv1.0/f1/DBIRTH/gw-1/device-${i}`, "birth");
  await until(() => test.broker.stats().birthBytes > 200 * 1024, "all births are kept");
  const { throttled } = test.broker.stats();
  const goThrough = async (name: "wall@ea" | "ingest") => {
    const one = await test.connect(name);
    let heard = 0;
    one.on("message", () => {
      heard += 1;
    });
    for (let i = 1; i <= 12; i += 1) {
      await one.subscribeAsync("$sparkplug/certificates/#");
      await until(() => heard === 200 * i, "all of them, each time");
    }
    await one.subscribeAsync("$sparkplug/certificates/#");
  };
  await goThrough("ingest");
  expect(throttled).toEqual({ client: 0, enterprise: 0 });
  const gone = await rawClient(test.broker.port as number, "wall@ea-2", "wall@ea", secrets["wall@ea"]);
  const from = test.logLines.length;
  gone.write(Buffer.concat(Array.from({ length: 4 }, () => subscribePacket("$sparkplug/certificates/#"))));
  await once(gone, "data");
  gone.destroy();
  await goThrough("wall@ea");
  // Beside its end one for what was on its way.
  const errors = test.logLines.slice(from).filter((line) => line.includes('"connection closed"'));
  expect(errors.length).toBeLessThan(20);
  expect(throttled).toEqual({ client: expect.any(Number), enterprise: 0 });
  expect(throttled.client).toBeGreaterThan(0);
  await test.end();
});

it("never gives what was kept after what has replaced it, nor what was forgotten, to who subscribes meanwhile", async () => {
  const aedes = await Aedes.createBroker({ mq: createEmitter() });
  retainByLevel(aedes, { qosOf: () => 2, drainOf: () => undefined });
  const { persistence } = aedes as unknown as { persistence: { storeRetained: (packet: object) => Promise<void> } };
  const tell = (topic: string, text: string) =>
    new Promise<void>((resolve) => aedes.publish(packetOf(topic, text), () => resolve()));
  const topics = Array.from({ length: 40 }, (_, i) => `births/${i}`);
  for (const topic of topics) await tell(topic, "old");
  const server = createServer(aedes.handle);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 }, false);
  const heard = new Map<string, string[]>();
  client.on("message", (topic, payload) => heard.set(topic, [...(heard.get(topic) ?? []), String(payload)]));
  // As soon as what is kept is being handed out.
  const replaced = new Promise<unknown>((resolve) =>
    aedes.once("subscribe", () =>
      setImmediate(() => {
        for (const topic of topics.slice(5, 10)) void persistence.storeRetained(packetOf(topic, ""));
        resolve(Promise.all(topics.slice(10, 30).map((topic) => tell(topic, "new"))));
      }),
    ),
  );
  await client.subscribeAsync("births/#");
  await replaced;
  await until(() => heard.has("births/39"), "the last");
  const last = topics.map((topic) => heard.get(topic)?.at(-1));
  expect(last.slice(10)).toEqual([...Array(20).fill("new"), ...Array(10).fill("old")]);
  expect(last.slice(5, 10)).toEqual(Array(5).fill(undefined));
  // What was told at once is not handed out again.
  for (const topic of topics) expect(heard.get(topic)?.filter((text) => text === "new").length ?? 0).toBeLessThan(2);
  await client.endAsync(true);
  await new Promise<void>((resolve) => aedes.close(resolve));
  server.close();
});
