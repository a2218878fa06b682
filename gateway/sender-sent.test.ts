import type { RefusedRecord } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import fc from "fast-check";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { commitReader } from "./edge-commit.ts";
import type { OutboxRecord } from "./model.ts";
import { createSender } from "./sender.ts";
import { sentLog } from "./sender-sent.ts";
import { outboxBench, sample } from "./test-outbox.ts";
import { livingWorld } from "./test-sender.ts";

const [a, b, c] = ["000000000000000a", "000000000000000b", "000000000000000c"] as const;

describe("what was sent", () => {
  test("is told apart from what was not, range by range", () => {
    const sent = sentLog(10);
    for (const offset of [0, 1, 2, 5]) sent.add({ epoch: a, offset });
    expect(sent.within(a, [[1, 2]])).toEqual({ sent: [[1, 2]], isAll: true });
    expect(sent.within(a, [[0, 9]])).toEqual({
      sent: [
        [0, 2],
        [5, 5],
      ],
      isAll: false,
    });
    expect(sent.within(a, [[3, 4]])).toEqual({ sent: [], isAll: false });
    expect(sent.within(b, [[0, 0]])).toEqual({ sent: [], isAll: false });
    expect(sent.within(b, [])).toEqual({ sent: [], isAll: true });
    expect([sent.last(a), sent.last(b), sent.knows(a), sent.knows(b)]).toEqual([5, -1, true, false]);
  });

  test("is kept within bounds: the epoch used longest ago and the lower half of too many ranges are forgotten", () => {
    const sent = sentLog(2);
    for (const epoch of [a, b, a, c]) sent.add({ epoch, offset: 1 });
    expect([a, b, c].map(sent.knows)).toEqual([true, false, true]);
    for (let offset = 3; offset < 50_000; offset += 2) sent.add({ epoch: a, offset });
    expect(sent.within(a, [[0, 50_000]]).sent.length).toBeLessThan(21_000);
    expect(sent.within(a, [[1, 1]]).isAll).toBe(false);
    expect(sent.within(a, [[49_999, 49_999]]).isAll).toBe(true);
  });
});

test("one set-back that is told by several notices is one: it takes one new epoch", () => {
  const bench = outboxBench();
  let nowMs = 0;
  const outbox = bench.start({ fsyncMs: 1000 });
  const [metric] = outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }]) as [number];
  const log = pino({ level: "silent" });
  const settings = {
    backlogRecordsPerSecond: 20,
    backlogBytesPerSecond: 1e6,
    commitTimeoutMs: 2000,
    maxInFlightRecords: 5,
  };
  const sender = createSender({ outbox, settings, log });
  const reader = commitReader({ outbox, sender, log, now: () => nowMs });
  sender.begin({ hasRoom: () => true, send: () => 100 });
  const record = outbox.write("press", [sample(metric, 1)]) as OutboxRecord;
  sender.live(record);
  const { starts } = outbox.identity;
  for (let i = 0; i < 3; i += 1) reader.read({ epoch: record.epoch, ranges: [], atMs: 0, setBack: true });
  reader.read({ epoch: record.epoch, ranges: [[0, 0]], atMs: 0, last: 7 });
  expect(reader.stats()).toMatchObject({ setBacks: 1, unsentNotices: 0 });
  expect(outbox.identity.starts).toBe(starts + 1);
  expect(outbox.stats().pendingRecords).toBe(1);
  // And a later one, of the epoch that came instead, counts again.
  nowMs += 60_000;
  reader.read({ epoch: outbox.epoch, ranges: [], atMs: 0, last: 9 });
  expect(reader.stats()).toMatchObject({ setBacks: 2, heldSetBacks: 0 });
  return bench.close();
});

describe("a set-back", () => {
  test("that is told again and again is obeyed once a minute, whoever tells it; true notices free meanwhile", async () => {
    const bench = outboxBench();
    const world = livingWorld(bench.start({ fsyncMs: 1000 }));
    const { outbox, commits } = world;
    world.connect();
    const { starts } = outbox.identity;
    const forge = () => {
      world.live();
      // Always of the epoch in use, as only somebody can who hears the gateway.
      commits.read({ epoch: outbox.epoch, ranges: [], atMs: 0, setBack: true });
    };
    world.pass(59, undefined, forge);
    expect(commits.stats().setBacks).toBe(1);
    expect(commits.stats().heldSetBacks).toBeGreaterThan(1000);
    expect(outbox.identity.starts).toBe(starts + 1);
    expect(world.stored.size).toBeGreaterThan(100);
    expect(outbox.stats().pendingRecords).toBeLessThan(3);
    world.pass(62, undefined, forge);
    expect(commits.stats().setBacks).toBe(3);
    world.pass(3);
    expect(world.stored).toEqual(world.written);
    await bench.close();
  });

  test("that comes too soon is not forgotten: nothing is freed on a number alone, and the next notice after a minute is obeyed", async () => {
    const bench = outboxBench();
    const world = livingWorld(bench.start({ fsyncMs: 1000 }));
    const { outbox, commits, sender } = world;
    world.platform({ verdict: () => "loses" });
    world.connect();
    for (let i = 0; i < 3; i += 1) world.write(1);
    world.pass(1);
    commits.read({ epoch: outbox.epoch, ranges: [], atMs: 0, setBack: true });
    world.pass(9);
    const { epoch } = outbox;
    const { writtenAtMs = 0 } = outbox.pending(0, 1)[0]?.record ?? {};
    const plain = { epoch, ranges: [[0, 2] as const], atMs: 0 };
    const refused = [{ offset: 1, code: "VALUE_MISFIT" }];
    // A second time within the minute, told once; what comes then may be about the records of before.
    commits.read({ epoch, ranges: [], atMs: 0, setBack: true });
    commits.read(plain);
    commits.read({ epoch, ranges: [], atMs: 0, refused });
    expect(commits.stats()).toMatchObject({ setBacks: 1, heldSetBacks: 1, refusedRecords: 0 });
    expect(outbox.stats().pendingRecords).toBe(3);
    // But not what is told by its time of writing.
    commits.read({ epoch, ranges: [[0, 0]], writtenAtMs: [writtenAtMs], atMs: 0 });
    expect(outbox.stats().pendingRecords).toBe(2);
    // Others are stored meanwhile, again and again, which speaks against none of these.
    world.platform({ verdict: (record) => (record.offset > 2 ? "stores" : "loses") });
    world.pass(49, undefined, world.live);
    expect([sender.stats().suspectRecords, outbox.epoch]).toEqual([0, epoch]);
    world.pass(2);
    commits.read(plain);
    expect(commits.stats().setBacks).toBe(2);
    expect(outbox.epoch).not.toBe(epoch);
    world.platform({ verdict: () => "stores" });
    world.pass(5);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 0, asideRecords: 0 });
    await bench.close();
  });

  test("has all that is pending sent again soon under the new epoch, and nothing under the old one, what was under trial included", async () => {
    const bench = outboxBench();
    const world = livingWorld(bench.start({ fsyncMs: 1000 }));
    const { outbox, commits } = world;
    const bad = new Set(Array.from({ length: 3 }, () => world.write(4)).flat());
    world.platform({
      verdict: ({ samples }) => (samples.some(({ value }) => bad.has(Number(value))) ? "refuses" : "stores"),
    });
    world.connect();
    // Long enough that they are suspected and sent under trial, and not yet divided.
    world.pass(15, undefined, world.live);
    expect(world.sender.stats().suspectRecords).toBe(3);
    world.platform({ verdict: () => "loses" });
    for (let i = 0; i < 20; i += 1) world.write(1);
    world.pass(2);
    const old = outbox.epoch;
    const before = world.sent.length;
    const { pendingRecords } = outbox.stats();
    expect(pendingRecords).toBeGreaterThanOrEqual(23);
    commits.read({ epoch: old, ranges: [], atMs: 0, setBack: true });
    // The next pass over the backlog begins within 2.5 s; a commit's time-out is 10 s.
    world.pass(3);
    const again = world.sent.slice(before).map(({ record }) => record);
    expect(again.filter(({ epoch }) => epoch === old)).toEqual([]);
    expect(new Set(again.map(({ offset }) => offset)).size).toBe(pendingRecords);
    expect(world.sender.stats().suspectRecords).toBe(0);
    await bench.close();
  });
});

const offsetRange = fc
  .tuple(fc.nat({ max: 30 }), fc.constantFrom(0, 1, 5, 2 ** 52))
  .map(([first, length]): Range => [first, first + length]);
const step = fc.oneof(
  fc.record({ do: fc.constant("write" as const), isLive: fc.boolean() }),
  fc.record({ do: fc.constant("pump" as const) }),
  fc.record({
    do: fc.constant("notice" as const),
    isOwn: fc.boolean(),
    ranges: fc.array(offsetRange, { maxLength: 3 }),
    last: fc.oneof(fc.constant(undefined), fc.nat({ max: 5 })),
    setBack: fc.constantFrom(undefined, undefined, undefined, true as const),
    /** Of a pending record: with its own samples, or without any. */
    refused: fc.option(fc.record({ at: fc.nat({ max: 30 }), isNamed: fc.boolean() }), { nil: undefined }),
  }),
);

test("no sequence of notices, whatever they claim, frees a reading that this process has not sent", async () => {
  const log = pino({ level: "silent" });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const bench = outboxBench();
      const outbox = bench.start({ fsyncMs: 1000 });
      const [metric] = outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }]) as [
        number,
      ];
      let nowMs = 0;
      const settings = {
        backlogRecordsPerSecond: 20,
        backlogBytesPerSecond: 1e6,
        commitTimeoutMs: 2000,
        maxInFlightRecords: 5,
      };
      const sender = createSender({ outbox, settings, log, now: () => nowMs });
      const reader = commitReader({ outbox, sender, log });
      const sent = new Set<unknown>();
      const send = ({ samples }: OutboxRecord): number => {
        for (const { value } of samples) sent.add(value);
        return 100;
      };
      sender.begin({ hasRoom: () => true, send });
      const refusalOf = ({ refused }: { refused: { at: number; isNamed: boolean } | undefined }): RefusedRecord[] => {
        const record = refused && outbox.pending(0, 100)[refused.at]?.record;
        if (!record) return [];
        const samples = record.samples.map(({ sourceTimeMs }) => ["a", sourceTimeMs] as const);
        return [{ offset: record.offset, code: "VALUE_MISFIT", ...(refused.isNamed ? { samples } : {}) }];
      };
      let written = 0;
      for (const doing of steps) {
        nowMs += 100;
        if (doing.do === "write") {
          written += 1;
          const record = outbox.write("press", [sample(metric, written)]);
          if (record && doing.isLive) sender.live(record);
        } else if (doing.do === "pump") sender.pump();
        else {
          const { isOwn, ranges, last, setBack } = doing;
          const told = {
            ...(last === undefined ? {} : { last }),
            ...(setBack ? { setBack } : {}),
            refused: refusalOf(doing),
          };
          reader.read({ epoch: isOwn ? outbox.epoch : a, ranges: [...ranges], atMs: 0, ...told });
        }
        const pending = new Set(outbox.pending(0, 100).flatMap(({ record }) => record.samples.map((s) => s.value)));
        for (let value = 1; value <= written; value += 1) expect(pending.has(value) || sent.has(value)).toBe(true);
      }
      await bench.close();
    }),
    { numRuns: 60 },
  );
}, 60_000);
