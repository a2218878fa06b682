import { randomFrom } from "@jilian/domain/test-random.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { OutboxRecord } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { bench, benchPerTest, outboxBench } from "./test-outbox.ts";
import { livingWorld } from "./test-sender.ts";

benchPerTest();

function begin(outbox: OpenedOutbox = bench.start({ fsyncMs: 1000 })) {
  const world = livingWorld(outbox);
  const asides = () => outbox.asides(10_000).flatMap(({ samples }) => samples.map((s) => Number(s.value)));
  const isDone = () => outbox.stats().pendingRecords === 0;
  return { ...world, asides, isDone };
}

const refusing =
  (poison: ReadonlySet<number>) =>
  ({ samples }: OutboxRecord) =>
    samples.some((s) => poison.has(Number(s.value))) ? "refuses" : "stores";

describe("poison", () => {
  test("in a record of 1000 samples is found within minutes: the one sample is set aside, all others are stored", () => {
    const world = begin();
    for (let i = 0; i < 50; i += 1) world.write(20);
    const large = world.write(1000);
    const poison = new Set([large[617] as number]);
    for (let i = 0; i < 50; i += 1) world.write(20);
    world.platform({ verdict: refusing(poison) });
    world.connect();
    const restS = world.pass(60, () => world.stored.size >= world.written.size - 1000, world.live);
    expect(restS).toBeLessThan(20);
    const seconds = world.pass(3600, () => world.asides().length > 0, world.live);
    expect(seconds).toBeLessThan(6 * 60);
    world.pass(60, world.isDone);
    expect(world.asides()).toEqual([...poison]);
    expect(world.stored.size).toBe(world.written.size - 1);
    // Not by flooding: each half a few times.
    const again = world.sent.filter(({ record }) => record.samples.some((s) => poison.has(Number(s.value))));
    expect(again.length).toBeLessThan(60);
    expect(bench.codes()).toContain("OUTBOX_SET_ASIDE");
    expect(world.sender.stats()).toMatchObject({ suspectRecords: 0, splitRecords: 10 });
  });

  test("of any set of samples ends as exactly those set aside, and all others stored", async () => {
    const record = fc.array(fc.boolean(), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 8 }), async (records) => {
        const own = outboxBench();
        const world = begin(own.start({ fsyncMs: 1000 }));
        const poison = new Set<number>();
        for (const isPoison of records)
          for (const [i, v] of world.write(isPoison.length).entries()) if (isPoison[i]) poison.add(v);
        world.platform({ verdict: refusing(poison) });
        world.connect();
        world.pass(3600, () => world.asides().length >= poison.size, world.live);
        world.pass(60, world.isDone);
        expect(new Set(world.asides())).toEqual(poison);
        expect([...world.written].filter((v) => !world.stored.has(v)).sort()).toEqual([...poison].sort());
        await own.close();
      }),
      { numRuns: 25 },
    );
  }, 60_000);

  test("in every record of a device holds up no other, and no room is left to it that others need", () => {
    const world = begin();
    const poison = new Set<number>();
    for (let i = 0; i < 3000; i += 1) for (const v of world.write(2)) if (i % 3 < 2) poison.add(v);
    world.platform({ verdict: refusing(poison) });
    world.connect();
    const good = () => [...world.written].filter((v) => !poison.has(v)).every((v) => world.stored.has(v));
    expect(world.pass(600, good, world.live)).toBeLessThan(300);
  });
});

describe("nobody is suspected", () => {
  test("for an outage, nor for a store that takes longer than the time-out", () => {
    const world = begin();
    for (let i = 0; i < 200; i += 1) world.write(5);
    world.connect();
    world.pass(5, undefined, world.live);
    world.platform({ verdict: () => "loses" });
    world.pass(120, undefined, world.live);
    expect(world.sender.stats()).toMatchObject({ backlogRecordsPerSecond: 5, suspectRecords: 0 });
    world.platform({ verdict: () => "stores", delayMs: 15_000 });
    world.pass(120, undefined, world.live);
    world.platform({ delayMs: 300 });
    world.pass(120, undefined, world.live);
    world.pass(60, world.isDone);
    expect(world.stored).toEqual(world.written);
    expect(world.sender.stats()).toMatchObject({ suspectRecords: 0, splitRecords: 0 });
    expect(world.outbox.stats().setAsideRecords).toBe(0);
  });

  test("for a platform that sheds every other record for half an hour", () => {
    const world = begin();
    const random = randomFrom(7);
    for (let i = 0; i < 2000; i += 1) world.write(1);
    world.platform({ verdict: () => (random.below(2) === 0 ? "loses" : "stores") });
    world.connect();
    world.pass(1800, undefined, world.live);
    world.platform({ verdict: () => "stores" });
    world.pass(300, world.isDone);
    expect(world.stored).toEqual(world.written);
    expect(world.outbox.stats().setAsideRecords).toBe(0);
  });
});

describe("the backlog", () => {
  test("begins modestly after each connection, follows at the ceiling within seconds, and live records never wait for it", () => {
    const world = begin();
    for (let i = 0; i < 6000; i += 1) world.write(1);
    world.connect();
    world.pass(1);
    expect(world.sent.length).toBeGreaterThan(50);
    expect(world.sent.length).toBeLessThan(130);
    expect(world.pass(60, world.isDone, world.live)).toBeLessThan(18);
    const delays = world.sender.stats();
    expect(delays.backlogRecordsPerSecond).toBe(500);
    expect(delays.commitDelayMs).toBeLessThan(400);
  });

  test("keeps to its rate when the store is gone, and takes it up again when it is back", () => {
    const world = begin();
    for (let i = 0; i < 20_000; i += 1) world.write(1);
    world.connect();
    world.pass(15, undefined, world.live);
    world.platform({ verdict: () => "loses" });
    world.pass(15, undefined, world.live);
    const { length } = world.sent;
    world.pass(60, undefined, world.live);
    // The live ones, and of the backlog what the floor allows.
    expect(world.sent.length - length).toBeLessThan(60 * (2 + 5) + 10);
    world.platform({ verdict: () => "stores" });
    expect(world.pass(60, () => world.sender.stats().backlogRecordsPerSecond === 500, world.live)).toBeLessThan(45);
  });
});
