import { decodeNotice } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { createLiveState, type LiveState } from "@jilian/store/live.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { connectTelemetry } from "@jilian/store/thread/owner.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { SparkplugBus } from "./bus.ts";
import { type CommitBook, commitBook } from "./commit-book.ts";
import { liveWriter } from "./live-writer.ts";
import { type QueuedRecord, type RecordQueue, recordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
import { manualClock, openWorld, silent, testRegistry, until, type World } from "./test-world.ts";
import { startWriter, type WriterParts } from "./write.ts";

const t0 = Date.UTC(2026, 10, 22, 2, 0);
const epoch = "00000000000000ab";
const clock = manualClock(t0);

let world: World;
let live: LiveState;
let queue: RecordQueue;
let book: CommitBook;
/** Offsets in notices, as they were sent, and what the store held then. */
let notices: [offset: number, committedThen: boolean][];
let publish: SparkplugBus["publish"];

beforeEach(async () => {
  world = await openWorld();
  live = createLiveState();
  queue = recordQueue(1000);
  book = commitBook([]);
  notices = [];
  publish = async (_, payload) => {
    const metric = decodePayload(payload).metrics[0];
    const { ranges } = decodeNotice(metric?.wire.case === "stringValue" ? metric.wire.value : "");
    const stored = (await world.telemetry.committed()).flatMap((entry) => entry.ranges);
    for (const [first, last] of ranges)
      for (let n = first; n <= last; n += 1) notices.push([n, stored.some(([a, b]) => a <= n && n <= b)]);
  };
});
afterEach(() => world.end());

function partsOf(telemetry: Telemetry): WriterParts {
  const { ledger } = world;
  return {
    queue,
    book,
    telemetry,
    ledger,
    live: liveWriter(live, { ledger, registry: testRegistry(true), clock }),
    bus: { onMessage: () => () => undefined, publish: (...message) => publish(...message) },
    clock,
    log: silent,
    batchSamples: 100,
    lingerMs: 1,
  };
}

/** A store that can be taken away: what is called meanwhile is rejected by a closed connection to it. */
async function removableStore(): Promise<{ telemetry: Telemetry; take: () => void; give: () => void }> {
  const closed = connectTelemetry(await world.telemetry.port());
  await closed.close();
  let current: Telemetry = world.telemetry;
  return {
    telemetry: {
      ...world.telemetry,
      ensureSeries: (wanted) => current.ensureSeries(wanted),
      write: (batch) => current.write(batch),
    },
    take: () => (current = closed),
    give: () => (current = world.telemetry),
  };
}

function metricOf(name: string, seriesId?: number): BornMetric {
  const key = { group: "f1", node: "gw-1", device: "press-1", metric: name };
  return { key, definition: { name, datatype: DataType.Double, simulated: false }, seriesId };
}

function put(metric: BornMetric, offset: number, value = offset, sourceTimeMs = t0 + offset): QueuedRecord {
  const sample = { metric, value, status: 0, sourceTimeMs, gatewayTimeMs: t0 };
  const record = { group: "f1", node: "gw-1", record: { epoch, offset }, samples: [sample], receivedAtMs: t0 };
  book.claim("f1", "gw-1", record.record);
  expect(queue.push(record)).toBe(true);
  return record;
}

const counter = (name: string) => live.counters.get(name) ?? 0;
const offsets = () => notices.map(([offset]) => offset).sort((a, b) => a - b);

async function stored(metric: BornMetric): Promise<unknown[]> {
  const series = (await world.telemetry.series()).find((s) => s.metric === metric.key.metric)?.id ?? -1;
  return (await world.telemetry.read({ series, fromMs: 0, toMs: 1e15 }, 1e6)).map((row) => row.value);
}

describe("the way to the store", () => {
  test("samples and ranges are stored together, and told to the gateway only then", async () => {
    const metric = metricOf("a");
    const writer = startWriter(partsOf(world.telemetry));
    for (let offset = 0; offset < 250; offset += 1) put(metric, offset);
    await until(() => notices.length === 250, "all notices");
    await writer.close();
    expect(notices.every(([, committedThen]) => committedThen)).toBe(true);
    expect(await world.telemetry.committed()).toEqual([{ group: "f1", node: "gw-1", epoch, ranges: [[0, 249]] }]);
    expect(await stored(metric)).toHaveLength(250);
    expect(counter("storedSamples")).toBe(250);
  });

  test("the first sample of a new series is the current value too", async () => {
    const metric = metricOf("serial");
    const writer = startWriter(partsOf(world.telemetry));
    put(metric, 0, 42);
    await until(() => notices.length === 1, "its notice");
    await writer.close();
    expect(live.samples.get(metric.seriesId as number)).toMatchObject({ value: 42, sourceTimeMs: t0 });
  });

  test("a gateway that does not take its notices holds up nobody's samples", async () => {
    const metric = metricOf("a");
    publish = () => new Promise(() => undefined);
    const writer = startWriter(partsOf(world.telemetry));
    put(metric, 0);
    await until(() => counter("storedSamples") === 1, "the first sample");
    put(metric, 1);
    await until(() => counter("storedSamples") === 2, "the second sample");
    publish = async () => undefined;
    await writer.close();
  });

  test("another value under a stored key is counted, and a finding; the first stays", async () => {
    const metric = metricOf("a");
    const writer = startWriter(partsOf(world.telemetry));
    put(metric, 0, 7, t0);
    await until(() => notices.length === 1, "the first notice");
    put(metric, 1, 8, t0);
    put(metric, 2, 7, t0);
    await until(() => notices.length === 3, "all notices");
    await writer.close();
    expect(await stored(metric)).toEqual([7]);
    expect([counter("conflictingSamples"), counter("duplicateSamples")]).toEqual([1, 1]);
    expect(world.ledger.findings(5)).toMatchObject([{ code: "SAMPLE_CONFLICT", count: 1 }]);
  });
});

describe("a store that fails", () => {
  test("nothing is told and nothing lost while it does; then everything is stored once", async () => {
    const metric = metricOf("a");
    const { telemetry, take, give } = await removableStore();
    take();
    const writer = startWriter(partsOf(telemetry));
    for (let offset = 0; offset < 20; offset += 1) put(metric, offset);
    await until(() => counter("storeFailures") >= 2, "a second failure");
    put(metric, 20);
    expect(notices).toEqual([]);
    give();
    await until(() => notices.length === 21, "all notices");
    await writer.close();
    expect(offsets()).toEqual(Array.from({ length: 21 }, (_, i) => i));
    expect(await stored(metric)).toEqual(Array.from({ length: 21 }, (_, i) => i));
  });

  test("closing writes out what is queued", async () => {
    const metric = metricOf("a");
    const writer = startWriter({ ...partsOf(world.telemetry), lingerMs: 5000, batchSamples: 1000 });
    for (let offset = 0; offset < 300; offset += 1) put(metric, offset);
    await writer.close();
    expect(await stored(metric)).toHaveLength(300);
    expect(offsets()).toHaveLength(300);
    expect(queue.samples()).toBe(0);
  });

  test("closing gives up what the store does not take: it was told to nobody and comes again", async () => {
    const metric = metricOf("a");
    const { telemetry, take } = await removableStore();
    const writer = startWriter(partsOf(telemetry));
    put(metric, 0);
    await until(() => notices.length === 1, "the first notice");
    take();
    for (let offset = 1; offset < 400; offset += 1) put(metric, offset);
    await until(() => counter("storeFailures") >= 1, "a failure");
    await writer.close();
    expect(offsets()).toEqual([0]);
    expect(await stored(metric)).toEqual([0]);
  });

  test("a record that the store will never take is put aside, and the others are stored", async () => {
    const metric = metricOf("a");
    for (let offset = 0; offset < 5; offset += 1) put(metric, offset);
    const bad = put(metricOf("b", 4711), 5);
    for (let offset = 6; offset < 10; offset += 1) put(metric, offset);
    const writer = startWriter(partsOf(world.telemetry));
    await until(() => notices.length === 9, "the others' notices");
    await writer.close();
    expect(offsets()).toEqual([0, 1, 2, 3, 4, 6, 7, 8, 9]);
    expect([counter("refusedRecords"), counter("storeFailures")]).toEqual([1, 0]);
    expect(book.claim("f1", "gw-1", bad.record as { epoch: string; offset: number })).toBe(true);
  });
});
