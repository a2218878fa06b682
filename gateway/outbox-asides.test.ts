import { DataType } from "@jilian/domain/datatypes.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { DropReason, StoredSample } from "./model.ts";
import { type OutboxBench, outboxBench, sample } from "./test-outbox.ts";

let bench: OutboxBench;
beforeEach(() => {
  bench = outboxBench();
});
afterEach(() => bench.close());

const definitions = ["a", "b"].map((name) => ({ name, datatype: DataType.Double, simulated: false }));

describe("a record that the platform cannot store", () => {
  test("is split down to single samples, each in time order under fresh ids", () => {
    const outbox = bench.start();
    const samples = [sample(1, 1), sample(2, 2), sample(1, 3)];
    const record = outbox.write("press", samples.toReversed());
    outbox.write("press", [sample(1, 4)]);
    const [first, second] = outbox.split(record ?? { epoch: "", offset: 0 });
    expect([first?.offset, second?.offset]).toEqual([2, 3]);
    expect([first?.samples, second?.samples]).toEqual([[samples[0]], [samples[1], samples[2]]]);
    expect(first?.writtenAtMs).toBeGreaterThanOrEqual(record?.writtenAtMs as number);
    expect(outbox.split(first ?? { epoch: "", offset: 0 })).toEqual([]);
    expect(outbox.split(record ?? { epoch: "", offset: 0 })).toEqual([]);
    expect(outbox.split({ epoch: "0123456789abcdef", offset: 2 })).toEqual([]);
    expect(outbox.pending(0, 10).map(({ record: { offset } }) => offset)).toEqual([1, 2, 3]);
    expect(outbox.nextOffset()).toBe(4);
  });

  test("is listed once set aside, by names of metrics, over a restart; replayed it goes under a new id", async () => {
    const first = bench.start();
    const [a, b] = first.declare("press", definitions) as [number, number];
    const record = first.write("press", [sample(a, 1.5), sample(b, 2n ** 60n)]);
    first.setAside(record ?? { epoch: "", offset: 0 }, "the store refuses it");
    expect(first.pendingOf("press")).toBe(0);
    await bench.stop(first);
    const second = bench.start();
    const [aside] = second.asides(10);
    expect(aside).toMatchObject({ epoch: first.epoch, offset: 0, device: "press", reason: "the store refuses it" });
    expect(aside?.samples.map(({ metric, value }) => [metric, value])).toEqual([
      ["a", 1.5],
      ["b", 2n ** 60n],
    ]);
    // The metrics are declared no more: they stay listed for what comes back, or nobody could decode it.
    second.declare("press", []);
    expect(second.metrics()).toEqual([]);
    expect(second.replayAsides([{ epoch: first.epoch, offset: 7 }])).toBe(0);
    expect(second.replayAsides("all")).toBe(1);
    expect(second.asides(10)).toEqual([]);
    expect(second.pending(0, 10).map(({ record: { epoch, offset } }) => [epoch, offset])).toEqual([[second.epoch, 0]]);
    expect(second.metrics().map(({ id }) => id)).toEqual([a, b]);
    expect(second.stats()).toMatchObject({ setAsideRecords: 1, pendingRecords: 1, droppedAsideRecords: 0 });
  });

  test("is replayed only while there is room: what waits is not dropped for it", () => {
    const outbox = bench.start({ maxBytes: 2000 });
    for (let i = 0; i < 3; i += 1) outbox.write("press", [sample(1, "x".repeat(500))]);
    outbox.setAside({ epoch: outbox.epoch, offset: 0 }, "test");
    outbox.write("press", [sample(1, "y".repeat(600))]);
    expect(outbox.replayAsides("all")).toBe(0);
    expect(outbox.asides(10)).toHaveLength(1);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 3, droppedSamples: 0 });
    expect(outbox.dropAsides("all")).toBe(1);
    expect(outbox.stats()).toMatchObject({ setAsideRecords: 1, droppedAsideRecords: 1, droppedSamples: 0 });
  });

  test("is kept while outbox.maxBytes has room for it, by bytes and not by records", async () => {
    const outbox = bench.start();
    outbox.declare("press", definitions);
    for (let i = 0; i < 3000; i += 1) {
      const record = outbox.write("press", [sample(1, i)]);
      outbox.setAside(record ?? { epoch: "", offset: 0 }, "test");
    }
    expect(outbox.stats()).toMatchObject({ asideRecords: 3000, droppedAsideRecords: 0, droppedSamples: 0 });
    await bench.stop(outbox);
    const second = bench.start();
    expect(second.stats()).toMatchObject({ asideRecords: 3000 });
    const replayed = second.replayAsides("all", 500);
    expect(replayed).toBeGreaterThanOrEqual(500);
    expect(replayed).toBeLessThan(600);
    expect(second.replayAsides("all")).toBe(3000 - replayed);
    expect(second.pendingOf("press")).toBe(3000);
  });

  test("makes room for what is pending, but for 16 MiB; then the oldest pending go. Each drop is counted and told", async () => {
    const told: [string, number, DropReason][] = [];
    const onDropped = (device: string, samples: readonly StoredSample[], reason: DropReason) =>
      void told.push([device, samples.length, reason]);
    const mebibyte = 1024 * 1024;
    const outbox = bench.start({ maxBytes: 40 * mebibyte, onDropped });
    outbox.declare("press", definitions);
    const write = () => outbox.write("press", [sample(1, "x".repeat(7 * mebibyte))]) ?? { epoch: "", offset: -1 };
    for (let i = 0; i < 5; i += 1) outbox.setAside(write(), "test");
    expect(outbox.asides(10).map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4]);
    const left: [asides: number, pending: number][] = [];
    for (let i = 0; i < 6; i += 1) {
      write();
      left.push([outbox.asides(10).length, outbox.stats().pendingRecords]);
    }
    expect(left).toEqual([
      [4, 1],
      [3, 2],
      [2, 3],
      [2, 4],
      [2, 5],
      [2, 5],
    ]);
    expect(told).toEqual(Array.from({ length: 4 }, () => ["press", 1, "full"]));
    const counted = { setAsideRecords: 5, asideRecords: 2, droppedAsideRecords: 3, droppedSamples: 4 };
    expect(outbox.stats()).toMatchObject(counted);
    await bench.stop(outbox);
    const second = bench.start({ maxBytes: 40 * mebibyte });
    expect(second.stats()).toMatchObject({ ...counted, droppedByReason: { full: 4 } });
    expect(second.asides(10).map(({ offset }) => offset)).toEqual([3, 4]);
  });
});

describe("drops", () => {
  test("are told with their samples, counted by reason and by metric for good, and noted in their transaction", async () => {
    const told: [DropReason, unknown][] = [];
    const start = (maxBytes: number) => {
      const outbox = bench.start({
        maxBytes,
        onDropped: (device, samples, reason) => {
          told.push([reason, samples[0]?.value]);
          outbox.note(`dropped ${device}`, String(told.length));
        },
      });
      return outbox;
    };
    const first = start(400);
    const [a, b] = first.declare("press", definitions) as [number, number];
    const times: number[] = [];
    for (let i = 0; i < 10; i += 1) {
      const made = sample(i % 2 === 0 ? a : b, i);
      times.push(made.sourceTimeMs);
      first.write("press", [made]);
    }
    const { pendingRecords, droppedSamples } = first.stats();
    expect(pendingRecords + droppedSamples).toBe(10);
    expect(droppedSamples).toBeGreaterThan(0);
    expect(first.write("press", [sample(a, "x".repeat(1000))])).toBeUndefined();
    expect(told).toEqual([
      ...Array.from({ length: droppedSamples }, (_, i) => ["full", i]),
      ["full", "x".repeat(1000)],
    ]);
    const byMetric = first.droppedByMetric();
    expect(byMetric[0]).toMatchObject({ device: "press", metric: "a", firstMs: times[0] });
    expect(byMetric.reduce((sum, { samples }) => sum + samples, 0)).toBe(droppedSamples + 1);
    await bench.stop(first);
    const second = bench.start();
    expect(second.droppedByMetric()).toEqual(byMetric);
    expect(second.notes("dropped ")).toEqual(new Map([["dropped press", String(told.length)]]));
    second.note("dropped press", undefined);
    await bench.stop(second);
    expect(bench.start().notes("")).toEqual(new Map());
  });

  test("of a record that cannot be read are counted, and no samples of it are told", async () => {
    const first = bench.start();
    first.declare("press", definitions);
    for (let i = 0; i < 3; i += 1) first.write("press", [sample(1, i), sample(2, i)]);
    await bench.stop(first);
    bench.tamper("UPDATE record SET bytes = CAST(x'01' || substr(bytes, 1, 20) AS BLOB) WHERE position = 1");
    const told: unknown[] = [];
    const second = bench.start({ maxBytes: 150, onDropped: (_device, samples) => void told.push(samples.length) });
    second.write("press", [sample(1)]);
    expect(second.stats().droppedSamples).toBe(2 * (1 + told.length));
    expect(told.every((count) => count === 2)).toBe(true);
    expect(second.droppedByMetric().reduce((sum, { samples }) => sum + samples, 0)).toBe(2 * told.length);
  });
});

describe("who the file is", () => {
  test("box stays, starts rise with every opening and every epoch; each epoch is new", async () => {
    const first = bench.start();
    const { box } = first.identity;
    expect(box).toMatch(/^[0-9a-f]{16}$/);
    expect(first.identity.starts).toBe(1);
    await bench.stop(first);
    const second = bench.start();
    expect(second.identity).toEqual({ box, starts: 2 });
    const before = second.epoch;
    second.write("press", [sample(1, 1)]);
    expect(second.renewEpoch()).not.toBe(before);
    expect(second.identity).toEqual({ box, starts: 3 });
    await bench.stop(second);
    expect(bench.start().identity).toEqual({ box, starts: 4 });
  });

  test("a renewed epoch takes its pending records along; notices for the old name free nothing", async () => {
    const first = bench.start();
    for (let i = 0; i < 3; i += 1) first.write("press", [sample(1, i)]);
    const old = first.epoch;
    const renewed = first.renewEpoch();
    expect(first.write("press", [sample(1, 3)])).toMatchObject({ epoch: renewed, offset: 3 });
    expect(first.commit(old, [[0, 9]])).toBe(0);
    expect(first.commit(renewed, [[1, 1]])).toBe(1);
    await bench.stop(first);
    // A set-back can be noticed by an earlier epoch, after a restart.
    const second = bench.start();
    second.write("press", [sample(1, 4)]);
    expect(second.renewEpoch(renewed)).toBe(second.epoch);
    expect(second.renewEpoch("0123456789abcdef")).toBe(second.epoch);
    const found = second.pending(0, 10).map(({ record }) => record);
    expect(found.map(({ offset }) => offset)).toEqual([0, 2, 3, 0]);
    expect(new Set(found.map(({ epoch }) => epoch)).has(renewed)).toBe(false);
    expect(second.commit(found[0]?.epoch as string, [[0, 3]])).toBe(3);
  });
});
