/** What is kept, handed out to who subscribes, gives up and reads as it likes, while it changes. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Aedes } from "aedes";
import fc from "fast-check";
import { connectAsync } from "mqtt";
import { expect, it } from "vitest";
import { createEmitter } from "./emitter.ts";
import { retainByLevel } from "./retained.ts";
import { until } from "./test-broker.ts";
import { matches, packetOf } from "./test-retained.ts";

/** A broker of which a client's connection is full after each kept message, until `release`. */
async function gated(onSubscribed = () => {}) {
  const emitter = createEmitter();
  const authorizeSubscribe: Aedes["authorizeSubscribe"] = (client, subscription, done) => {
    emitter.ownedBy(client, subscription, () => done(null, { ...subscription, qos: 2 }));
    onSubscribed();
  };
  const aedes = await Aedes.createBroker({ mq: emitter, authorizeSubscribe });
  const held: (() => void)[] = [];
  let isOpen = false;
  retainByLevel(aedes, {
    qosOf: emitter.qosOf,
    drainOf: () => (isOpen ? undefined : new Promise((resolve) => held.push(resolve))),
  });
  const server = createServer(aedes.handle);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 }, false);
  const heard: string[] = [];
  client.on("message", (topic, payload, { retain }) => heard.push(`${topic} ${payload}${retain ? " kept" : ""}`));
  return {
    ...{ aedes, client, heard, held },
    tell: (topic: string, text: string) =>
      new Promise<void>((resolve) => aedes.publish(packetOf(topic, text), () => resolve())),
    release: () => {
      isOpen = true;
      for (const go of held.splice(0)) go();
    },
    end: async () => {
      await client.endAsync(true);
      await new Promise<void>((resolve) => aedes.close(resolve));
      server.close();
    },
  };
}

it("hands out of a filter that waits its turn what was kept when it was asked for: the rest was told", async () => {
  const { client, heard, held, tell, release, end } = await gated();
  for (const topic of ["a", "b", "c", "d"]) await tell(topic, "old");
  for (const filter of ["a", "b", "c", "d"]) await client.subscribeAsync(filter);
  await until(() => held.length === 1 && heard.length === 1, "the first one is handed out");
  await tell("b", "new");
  await until(() => heard.length === 2, "told");
  // Given up and taken again: what came in between was not told.
  await client.unsubscribeAsync("c");
  await tell("c", "new");
  await client.subscribeAsync("c");
  release();
  await until(() => heard.includes("c new kept"), "the last");
  // In the order in which they were asked for.
  expect(heard).toEqual(["a old kept", "b new", "d old kept", "c new kept"]);
  await end();
});

it("does not hand out what was told between the making of a subscription and its answer", async () => {
  const told: Promise<void>[] = [];
  const { client, heard, tell, release, end } = await gated(() => told.push(tell("a/b", "new")));
  release();
  await tell("a/b", "old");
  await tell("a/c", "old");
  await client.subscribeAsync("a/#");
  await Promise.all(told);
  await until(() => heard.includes("a/c old kept"), "the last");
  expect(heard.toSorted()).toEqual(["a/b new", "a/c old kept"]);
  await end();
});

/** Megabytes in use, without what can be freed. */
function usedMegabytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i += 1) collect();
  return process.memoryUsage().heapUsed / 1e6;
}

it("holds nothing of what comes and goes while a client does not read", async () => {
  const { aedes, client, heard, held, tell, release, end } = await gated();
  const { persistence } = aedes as unknown as { persistence: { storeRetained: (packet: object) => Promise<void> } };
  for (const topic of ["a/1", "a/2", "a/3"]) await tell(topic, "old");
  await client.subscribeAsync("a/#");
  await until(() => held.length === 1, "the first one is handed out");
  const before = usedMegabytes();
  // Births of devices that have other names in each session of their gateway.
  for (let i = 0; i < 50_000; i += 1) {
    await persistence.storeRetained(packetOf(`a/device-${i}`, "birth"));
    await persistence.storeRetained(packetOf(`a/device-${i - 100}`, ""));
  }
  expect(usedMegabytes() - before, "of what was kept").toBeLessThan(5);
  const filters = Array.from({ length: 300 }, (_, i) => `${i}/${"x".repeat(60_000)}`);
  for (const [i, filter] of filters.entries()) {
    await client.subscribeAsync(filter);
    if (i >= 20) await client.unsubscribeAsync(filters[i - 20] as string);
  }
  filters.length = 0;
  expect(usedMegabytes() - before, "of what was asked for").toBeLessThan(5);
  release();
  await until(() => heard.length === 3, "all of it");
  expect(heard).toEqual(["a/1 old kept", "a/2 old kept", "a/3 old kept"]);
  await end();
});

it("lets others have their turns while it goes through what was told meanwhile", async () => {
  const { aedes, client, heard, held, tell, release, end } = await gated();
  const { persistence } = aedes as unknown as { persistence: { storeRetained: (packet: object) => Promise<void> } };
  const keepAll = async () => {
    for (let i = 0; i < 5000; i += 1) await persistence.storeRetained(packetOf(`a/${i}`, "birth"));
  };
  await keepAll();
  for (const topic of ["b", "c"]) await tell(topic, "old");
  await client.subscribeAsync(["b", "a/#", "a/+", "+/#", "+/+", "c"]);
  await until(() => held.length === 1, "the first one is handed out");
  await keepAll();
  let turns = 0;
  const count = () => {
    turns += 1;
    if (!heard.includes("c old kept")) setImmediate(count);
  };
  release();
  count();
  await until(() => heard.includes("c old kept"), "the last");
  expect(turns).toBeGreaterThan((4 * 5000) / 1000);
  await end();
});

/** What a client does, what others do, and what is read. */
const doings = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ filter: fc.constantFrom("#", "a/#", "a/+", "+/b", "a/b"), gives: fc.boolean() }),
  },
  { weight: 4, arbitrary: fc.record({ topic: fc.constantFrom("a/a", "a/b", "b/b"), isKept: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant("read" as const) },
  { weight: 2, arbitrary: fc.constant("turn" as const) },
);

it("leaves who subscribes, gives up and reads as it likes with what is kept in the end, told in order and once", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(doings, { minLength: 5, maxLength: 40 }), async (steps) => {
      const { client, heard, held, tell, release, end } = await gated();
      const told: Promise<unknown>[] = [];
      const filters = new Set<string>();
      const kept = new Map<string, number>();
      for (const [n, step] of steps.entries()) {
        if (step === "read") held.shift()?.();
        else if (step === "turn") await new Promise((resolve) => setTimeout(resolve, 1));
        else if ("topic" in step) {
          told.push(tell(step.topic, step.isKept ? String(n) : ""));
          if (step.isKept) kept.set(step.topic, n);
          else kept.delete(step.topic);
        } else if (step.gives) {
          filters.delete(step.filter);
          told.push(client.unsubscribeAsync(step.filter));
        } else {
          filters.add(step.filter);
          told.push(client.subscribeAsync(step.filter));
        }
      }
      release();
      await Promise.all(told);
      const due = [...kept].filter(([topic]) =>
        [...filters].some((filter) => matches(filter.split("/"), topic.split("/"))),
      );
      await until(
        () => due.every(([topic, n]) => heard.some((text) => text.startsWith(`${topic} ${n}`))),
        "what is kept in the end",
      );
      await client.subscribeAsync("end");
      await tell("end", "0");
      await until(() => heard.some((text) => text.startsWith("end")), "the end");
      for (const topic of ["a/a", "a/b", "b/b"]) {
        const values = heard.filter((text) => text.startsWith(`${topic} `)).map((text) => text.split(" ").slice(1));
        const numbers = values.filter(([n]) => n !== "").map(([n]) => Number(n));
        expect(numbers, "in order").toEqual(numbers.toSorted((a, b) => a - b));
        const live = values.filter(([n, flag]) => n !== "" && flag === undefined).map(([n]) => n);
        expect(live, "once").toEqual([...new Set(live)]);
      }
      await end();
    }),
    { numRuns: 30, seed: 20_261_127 },
  );
}, 30_000);
