import { expect, test } from "vitest";
import type { OutboxRecord } from "./model.ts";
import { bench, benchPerTest } from "./test-outbox.ts";
import { livingWorld, type Verdict } from "./test-sender.ts";

benchPerTest();

const begin = () => livingWorld(bench.start({ fsyncMs: 1000 }));

const beyond =
  (samples: number) =>
  (record: OutboxRecord): Verdict =>
    record.samples.length > samples ? "cuts" : "stores";

test("a record at which the broker ends the connection holds up nothing for long, and is divided until it is taken", () => {
  const world = begin();
  for (let i = 0; i < 30; i += 1) world.write(2);
  world.write(1000);
  for (let i = 0; i < 500; i += 1) world.write(2);
  world.platform({ verdict: beyond(300) });
  world.connect();
  const rest = () => world.stored.size >= world.written.size - 1000;
  expect(world.pass(120, rest, world.live)).toBeLessThan(30);
  expect(world.sender.stats().suspectRecords).toBeGreaterThan(0);
  world.pass(1800, () => world.stored.size === world.written.size, world.live);
  expect(world.stored).toEqual(world.written);
  expect(world.outbox.stats().setAsideRecords).toBe(0);
  world.pass(30, undefined, world.live);
  // Three halvings: of 1000, and of both its halves.
  expect(world.sender.stats()).toMatchObject({ suspectRecords: 0, splitRecords: 3 });
  expect(world.cuts()).toBeLessThan(30);
});

test("a single sample that ends connections whatever is done is set aside", () => {
  const world = begin();
  const [poison] = Array.from({ length: 20 }, () => world.write(2))
    .flat()
    .slice(17);
  world.platform({ verdict: ({ samples }) => (samples.some(({ value }) => value === poison) ? "cuts" : "stores") });
  world.connect();
  world.pass(3600, () => world.outbox.stats().setAsideRecords > 0, world.live);
  world.pass(60, () => world.outbox.stats().pendingRecords === 0, world.live);
  expect(world.outbox.asides(10).map(({ samples, reason }) => [samples.map((s) => s.value), reason])).toEqual([
    [[poison], expect.stringContaining("connections ended when it was sent")],
  ]);
  expect(world.stored.size).toBe(world.written.size - 1);
});

test("connections that end again and again by themselves convict nobody: all is stored", () => {
  const world = begin();
  for (let i = 0; i < 3000; i += 1) world.write(2);
  let lostMs = world.now() + 3000;
  world.connect();
  world.pass(600, undefined, () => {
    world.live();
    if (world.now() < lostMs) return;
    lostMs = world.now() + 3000 + (world.now() % 7000);
    world.cut();
  });
  world.pass(300, () => world.stored.size === world.written.size);
  expect(world.stored).toEqual(world.written);
  expect(world.outbox.stats().setAsideRecords).toBe(0);
  expect(world.sender.stats().splitRecords).toBe(0);
});
