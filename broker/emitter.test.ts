import type { AedesPublishPacket } from "aedes";
import fc from "fast-check";
import { expect, it } from "vitest";
import { createEmitter, type Listener } from "./emitter.ts";

const packetOf = (topic: string): AedesPublishPacket => ({
  ...{ cmd: "publish", topic, payload: Buffer.alloc(0), qos: 0, retain: false, dup: false },
  ...{ brokerId: "b", brokerCounter: 1 },
});
const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

/** MQTT 3.1.1, 4.7.1: `+` is one level, `#` the rest with its parent. */
function matches(filter: readonly string[], topic: readonly string[]): boolean {
  const [first, ...rest] = filter;
  if (first === "#") return true;
  if (first === undefined || topic.length === 0) return first === undefined && topic.length === 0;
  return (first === "+" || first === topic[0]) && matches(rest, topic.slice(1));
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
