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
  const reader = commitReader({ outbox, sender, log });
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
  reader.read({ epoch: outbox.epoch, ranges: [], atMs: 0, last: 9 });
  expect(reader.stats().setBacks).toBe(2);
  return bench.close();
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
          const told = { ...(last === undefined ? {} : { last }), ...(setBack ? { setBack } : {}) };
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
