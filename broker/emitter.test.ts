import type { AedesPublishPacket } from "aedes";
import fc from "fast-check";
import { expect, it } from "vitest";
import { createEmitter, type Listener } from "./emitter.ts";

const packetOf = (topic: string): AedesPublishPacket => ({
  ...{ cmd: "publish", topic, payload: Buffer.alloc(0), qos: 0, retain: false, dup: false },
  ...{ brokerId: "b", brokerCounter: 1 },
});
const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

/** MQTT 3.1.1, 4.7.1: `+` is one level, `#` the rest with its parent; 4.7.2-1: neither is one that begins with `$`, on the first. */
function matches(filter: readonly string[], topic: readonly string[], at = 0): boolean {
  const [first, ...rest] = filter;
  if ((first === "#" || first === "+") && at === 0 && topic[0]?.startsWith("$")) return false;
  if (first === "#") return true;
  if (first === undefined || topic.length === 0) return first === undefined && topic.length === 0;
  return (first === "+" || first === topic[0]) && matches(rest, topic.slice(1), at + 1);
}

const words = fc.array(fc.constantFrom("", "a", "b", "spBv1.0", "$SYS"), { minLength: 1, maxLength: 4 });
const filters = fc
  .tuple(fc.array(fc.constantFrom("", "a", "b", "spBv1.0", "$SYS", "+"), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ["#"] : [])]);

it("tells each listener of the topics of its filter, however listeners come and go", async () => {
  const step = fc.record({ filter: filters, topic: words, leaves: fc.boolean(), which: fc.nat(20) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const emitter = createEmitter();
      const there: { filter: string[]; listener: Listener; heard: string[] }[] = [];
      for (const { filter, topic, leaves, which } of steps) {
        const heard: string[] = [];
        const listener: Listener = (packet, done) => {
          heard.push(packet.topic);
          done();
        };
        there.push({ filter, listener, heard });
        emitter.on(filter.join("/"), listener);
        const [gone] = leaves ? there.splice(which % there.length, 1) : [];
        if (gone) await new Promise<void>((done) => emitter.removeListener(gone.filter.join("/"), gone.listener, done));
        for (const { heard: list } of there) list.length = 0;
        emitter.emit(packetOf(topic.join("/")));
        for (const each of there)
          expect(each.heard, each.filter.join("/")).toEqual(matches(each.filter, topic) ? [topic.join("/")] : []);
      }
    }),
    { numRuns: 200, seed: 20_261_127 },
  );
});

it("tells an owner once, with the highest QoS of its filters that are held, and who has none by each", () => {
  const emitter = createEmitter();
  const told: string[] = [];
  const add = (name: string, filter: string): Listener => {
    const listener: Listener = ({ qos }, done) => {
      told.push(`${name} ${qos}`);
      done();
    };
    emitter.on(filter, listener);
    return listener;
  };
  const emit = (qos: 0 | 1 = 1) => {
    told.length = 0;
    emitter.emit({ ...packetOf("a/b/c"), qos });
    return told.toSorted();
  };
  const [first, second] = [{}, {}];
  const own = (owner: object, filter: string, qos: number): Listener => {
    let made: Listener | undefined;
    emitter.ownedBy(owner, { topic: filter, qos }, () => {
      made = add(owner === first ? "first" : "second", filter);
    });
    return made as Listener;
  };
  add("nobody", "#");
  for (const filter of ["#", "a/#", "+/b/c"]) own(first, filter, 0);
  own(second, "a/b/c", 0);
  expect(emit()).toEqual(["first 0", "nobody 1", "second 0"]);
  const highest = own(first, "a/+/c", 1);
  own(second, "a/b", 1);
  add("nobody", "#");
  expect(emit()).toEqual(["first 1", "nobody 1", "nobody 1", "second 0"]);
  expect(emit(0)).toEqual(["first 0", "nobody 0", "nobody 0", "second 0"]);
  expect([first, second, {}].map((owner) => emitter.qosOf(owner, "a/b/c"))).toEqual([1, 0, undefined]);
  // Granted anew, without another listener.
  emitter.ownedBy(first, { topic: "a/+/c", qos: 0 }, () => {});
  expect(emit()).toEqual(["first 0", "nobody 1", "nobody 1", "second 0"]);
  emitter.ownedBy(first, { topic: "a/+/c", qos: 1 }, () => {});
  emitter.ownedBy(second, { topic: "a/b/c", qos: 1 }, () => {});
  expect(emit()).toEqual(["first 1", "nobody 1", "nobody 1", "second 1"]);
  emitter.removeListener("a/+/c", highest);
  expect(emit()).toEqual(["first 0", "nobody 1", "nobody 1", "second 1"]);
  own(first, "a/+/c", 0);
  expect(emit(), "what was granted before is gone with its filter").toEqual([
    ...["first 0", "nobody 1", "nobody 1", "second 1"],
  ]);
});

it("completes in a later turn and in order, whatever a listener or a completion does", async () => {
  const emitter = createEmitter();
  const told: string[] = [];
  let late = () => {};
  emitter.on("slow", (_packet, done) => {
    late = done;
  });
  emitter.on("#", (_packet, done) => done());
  emitter.emit(packetOf("slow"), () => told.push("slow"));
  emitter.emit(packetOf("a"), () => {
    told.push("a");
    emitter.emit(packetOf("c"), () => told.push("c"));
  });
  emitter.emit(packetOf("b"), () => told.push("b"));
  expect(told).toEqual([]);
  await settled();
  expect(told).toEqual(["a", "b", "c"]);
  late();
  expect(told).toHaveLength(3);
  await settled();
  expect(told).toEqual(["a", "b", "c", "slow"]);
});

it("completes a message that nobody hears, and none after its end", async () => {
  const emitter = createEmitter();
  const told: unknown[] = [];
  emitter.emit(packetOf("a"), (error) => told.push(error));
  await settled();
  await new Promise<void>((done) => emitter.close(done));
  emitter.emit(packetOf("a"), (error) => told.push(error?.message));
  expect(told).toEqual([undefined, "the broker is closed"]);
});

it("does not fail when a hundred thousand deliveries are given up at once", async () => {
  const emitter = createEmitter();
  const held: (() => void)[] = [];
  let completed = 0;
  emitter.on("#", (_packet, done) => held.push(done));
  for (let i = 0; i < 100_000; i += 1) emitter.emit(packetOf("a"), () => (completed += 1));
  for (const done of held) done();
  await settled();
  expect(completed).toBe(100_000);
});
