import { DataType } from "@jilian/domain/datatypes.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { OpenedOutbox } from "./outbox.ts";
import { bench, benchPerTest, outboxBench, sample } from "./test-outbox.ts";
import { livingWorld, senderWorld, settings } from "./test-sender.ts";

benchPerTest();

const definitions = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ name: `m${i}`, datatype: DataType.Double, simulated: false }));
const asidesOf = (outbox: OpenedOutbox) => outbox.asides(100_000).flatMap(({ samples }) => samples.map((s) => s.value));

/** Devices of eight metrics each, read once a second; of the first one the fourth metric is refused for ever. */
function plant(devices: readonly string[]) {
  const outbox = bench.start({ fsyncMs: 1000 });
  const ids = devices.map((device) => outbox.declare(device, definitions(8)));
  const world = senderWorld(outbox, settings);
  const bad = new Set<unknown>();
  const good = new Set<number>();
  /** Good samples that are not stored yet, with the time at which they were read; and how long it took at most. */
  const waiting = new Map<number, number>();
  let longestMs = 0;
  let value = 0;
  let nextMs = 0;
  world.platform({ refusing: { isBad: (v) => bad.has(v) } });
  world.connect();

  function each(): void {
    for (const [v, readMs] of waiting) {
      longestMs = Math.max(longestMs, world.now() - readMs);
      if (world.stored.has(v)) waiting.delete(v);
    }
    if (world.now() < nextMs) return;
    nextMs = world.now() + 1000;
    for (const [d, device] of devices.entries()) {
      const samples = (ids[d] ?? []).map((id, i) => {
        value += 1;
        if (d === 0 && i === 3) bad.add(value);
        else {
          good.add(value);
          waiting.set(value, world.now());
        }
        return sample(id, value);
      });
      const record = outbox.write(device, samples);
      if (record) world.sender.live(record);
    }
  }
  return { ...world, outbox, bad, good, longestMs: () => longestMs, each };
}

describe("a metric that the store always refuses", () => {
  test.each([
    ["of the only device", ["press"]],
    ["of one device of two", ["press", "oven"]],
  ])(
    "%s holds up nothing: all else is stored as it comes, it is set aside, and nothing is sent twice",
    (_, devices) => {
      const world = plant(devices);
      world.pass(300, undefined, world.each);
      // The way there takes 300 ms.
      expect(world.longestMs()).toBeLessThanOrEqual(400);
      world.pass(3);
      expect(world.good.size).toBeGreaterThan(2000);
      expect([...world.good].filter((v) => !world.stored.has(v))).toEqual([]);
      expect(asidesOf(world.outbox)).toEqual([...world.bad]);
      expect(world.outbox.stats()).toMatchObject({ pendingRecords: 0, droppedSamples: 0 });
      expect(world.sent.length).toBe((devices.length * world.good.size) / (8 * devices.length - 1));
      expect(world.sender.stats()).toMatchObject({ inFlightRecords: 0, suspectRecords: 0, splitRecords: 0 });
      expect(world.commits.stats()).toMatchObject({ refusedRecords: world.bad.size, unsentNotices: 0 });
      // Told, and not with each of them.
      expect(bench.codes().filter((code) => code === "OUTBOX_SET_ASIDE")).toHaveLength(1);
    },
  );

  test("is replayed when the store takes it", () => {
    const world = plant(["press"]);
    world.pass(30, undefined, world.each);
    world.pass(3);
    expect(world.outbox.stats().pendingRecords).toBe(0);
    world.platform({ refusing: { isBad: () => false } });
    expect(world.outbox.replayAsides("all")).toBe(world.bad.size);
    world.pass(5);
    expect([...world.bad].every((v) => world.stored.has(v as number))).toBe(true);
    expect(world.outbox.stats().pendingRecords).toBe(0);
  });
});

test("any set of samples, named or too many to be named: exactly those are set aside, all others stored, at once", async () => {
  const record = fc.array(fc.boolean(), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 4 }),
      async (records, mostNamed) => {
        const own = outboxBench();
        const world = livingWorld(own.start({ fsyncMs: 1000 }));
        const bad = new Set<unknown>();
        for (const isBad of records) for (const [i, v] of world.write(isBad.length).entries()) if (isBad[i]) bad.add(v);
        world.platform({ refusing: { isBad: (v) => bad.has(v), mostNamed } });
        world.connect();
        // Nothing else is sent: no statistics could find anything.
        world.pass(8, () => world.outbox.stats().pendingRecords === 0);
        expect(world.outbox.stats().pendingRecords).toBe(0);
        expect(new Set(asidesOf(world.outbox))).toEqual(bad);
        expect([...world.written].filter((v) => !world.stored.has(v)).sort()).toEqual([...bad].sort());
        await own.close();
      },
    ),
    { numRuns: 25 },
  );
}, 60_000);

describe("a refusal", () => {
  function sentOne() {
    const outbox = bench.start({ fsyncMs: 1000 });
    const [a = 0, b = 0] = outbox.declare("press", definitions(2));
    const world = senderWorld(outbox, settings);
    world.platform({ verdict: () => "loses" });
    world.connect();
    const record = outbox.write("press", [sample(a, 1), sample(b, 2)]);
    if (!record) throw new Error("not written");
    const told = (samples: [string, number][]) => ({ offset: record.offset, code: "VALUE_MISFIT", samples });
    const [{ sourceTimeMs: timeMs = 0 } = {}] = record.samples;
    const send = () => world.sender.live(record);
    const read = (refused: { offset: number; code: string; samples?: [string, number][] }, epoch = record.epoch) =>
      world.commits.read({ epoch, ranges: [], atMs: 0, refused: [refused] });
    return { ...world, outbox, record, told, timeMs, send, read };
  }

  test("of what this process has not sent does nothing, and is counted", () => {
    const { outbox, commits, read, told, timeMs } = sentOne();
    read(told([["m0", timeMs]]));
    read({ offset: 0, code: "VALUE_MISFIT" });
    read(told([["m0", timeMs]]), "0123456789abcdef");
    expect(outbox.stats()).toMatchObject({ pendingRecords: 1, setAsideRecords: 0 });
    expect(commits.stats()).toMatchObject({ unsentNotices: 3, refusedRecords: 0 });
  });

  test("that names a sample which the record does not hold does nothing: it is of another record under this offset", () => {
    const { outbox, commits, sender, read, told, timeMs, send } = sentOne();
    send();
    read(told([["m0", timeMs + 1]]));
    read(told([["m1", timeMs]]));
    read(
      told([
        ["m0", timeMs],
        ["m7", timeMs],
      ]),
    );
    expect(outbox.stats()).toMatchObject({ pendingRecords: 1, setAsideRecords: 0 });
    expect(commits.stats()).toMatchObject({ unsentNotices: 0, refusedRecords: 0 });
    expect(sender.stats().inFlightRecords).toBe(1);
  });

  test("sets the sample aside with its reason, frees the rest, and does so once however often it comes", () => {
    const { outbox, commits, sender, read, told, timeMs, send } = sentOne();
    send();
    for (let i = 0; i < 3; i += 1) read(told([["m0", timeMs]]));
    expect(outbox.asides(10)).toMatchObject([
      { reason: expect.stringContaining("VALUE_MISFIT"), samples: [{ metric: "m0", value: 1 }] },
    ]);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 0, setAsideRecords: 1 });
    expect(commits.stats()).toMatchObject({ refusedRecords: 1 });
    expect(sender.stats()).toMatchObject({ inFlightRecords: 0, committedRecords: 0 });
  });

  test("without samples splits the record, and never sets a single one aside on that alone", () => {
    const { outbox, sent, read, send, pass } = sentOne();
    send();
    read({ offset: 0, code: "VALUE_MISFIT" });
    expect(outbox.pending(0, 10).map(({ record }) => record.samples.length)).toEqual([1, 1]);
    pass(0.2);
    expect(sent.map(({ record }) => record.samples.length)).toEqual([2, 1, 1]);
    for (const offset of [1, 2]) read({ offset, code: "VALUE_MISFIT" });
    expect(outbox.stats()).toMatchObject({ pendingRecords: 2, setAsideRecords: 0 });
  });
});
