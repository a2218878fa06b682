import { decodeNotice, type RecordHeader } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { createLiveState, type LiveState } from "@jilian/store/live.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { connectTelemetry } from "@jilian/store/thread/owner.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { SparkplugBus } from "./bus.ts";
import { type CommitBook, commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { type QueuedRecord, type RecordQueue, recordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
import { answering, manualClock, openWorld, silent, testRegistry, until, type World } from "./test-world.ts";
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
let setBackNotices: number;
let publish: SparkplugBus["publish"];

beforeEach(async () => {
  world = await openWorld();
  live = createLiveState();
  queue = recordQueue(1000);
  book = commitBook([]);
  [notices, setBackNotices] = [[], 0];
  publish = async (_, payload) => {
    const metric = decodePayload(payload).metrics[0];
    const { ranges, setBack } = decodeNotice(metric?.wire.case === "stringValue" ? metric.wire.value : "");
    setBackNotices += setBack ? 1 : 0;
    const stored = (await world.telemetry.committed()).flatMap((entry) => entry.ranges);
    for (const [first, last] of ranges)
      for (let n = first; n <= last; n += 1) notices.push([n, stored.some(([a, b]) => a <= n && n <= b)]);
  };
});
afterEach(() => world.end());

function partsOf(telemetry: Telemetry): WriterParts {
  const notes = ledgerNotes({ ledger: world.ledger, clock, log: silent });
  return {
    queue,
    book,
    telemetry,
    notes,
    live: liveWriter(live, { notes, registry: testRegistry(true), clock }),
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
  return { key, definition: { name, datatype: DataType.Double, simulated: false }, seriesId, sinceMs: 0, doubtMs: 0 };
}

type Put = { value?: number; sourceTimeMs?: number; writtenAtMs?: number };

function put(metric: BornMetric, offset: number, over: Put = {}): QueuedRecord {
  const { value = offset, sourceTimeMs = t0 + offset, writtenAtMs = t0 + offset } = over;
  const sample = { metric, value, status: 0, sourceTimeMs, gatewayTimeMs: t0 };
  const header = { epoch, offset, writtenAtMs };
  const again = book.claim("f1", "gw-1", header) === "again";
  const record = { group: "f1", node: "gw-1", record: header, samples: [sample], receivedAtMs: t0, again };
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
    put(metric, 0, { value: 42 });
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
    put(metric, 0, { value: 7, sourceTimeMs: t0 });
    await until(() => notices.length === 1, "the first notice");
    put(metric, 1, { value: 8, sourceTimeMs: t0 });
    put(metric, 2, { value: 7, sourceTimeMs: t0 });
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
    expect(book.claim("f1", "gw-1", bad.record as RecordHeader)).toBe("refused");
  });
});

describe("a record whose offset is stored already", () => {
  const setBacks: string[] = [];
  const restart = async () => {
    setBacks.length = 0;
    book = commitBook(await world.telemetry.committed(), { onSetBack: (...who) => setBacks.push(who.join("/")) });
  };

  test("a repeat after a restart is stored again, which changes nothing, and answered", async () => {
    const metric = metricOf("a");
    const first = startWriter(partsOf(world.telemetry));
    for (let offset = 0; offset < 10; offset += 1) put(metric, offset);
    await until(() => notices.length === 10, "the notices");
    await first.close();
    await restart();
    const second = startWriter(partsOf(world.telemetry));
    for (const offset of [3, 4, 10]) put(metric, offset);
    await until(() => notices.length === 13, "the notices again");
    await second.close();
    expect(await stored(metric)).toEqual(Array.from({ length: 11 }, (_, i) => i));
    expect([counter("duplicateSamples"), setBacks]).toEqual([2, []]);
  });

  test("another record under it is stored, and shows that its gateway was set back: nothing is freed, and that is told each time", async () => {
    const metric = metricOf("a");
    const first = startWriter(partsOf(world.telemetry));
    for (let offset = 0; offset < 10; offset += 1) put(metric, offset);
    await until(() => notices.length === 10, "the notices");
    await first.close();
    await restart();
    const second = startWriter(partsOf(world.telemetry));
    notices.length = 0;
    for (const offset of [2, 3]) put(metric, offset);
    for (const offset of [7, 8]) put(metric, offset, { value: 100 + offset, sourceTimeMs: t0 + 1000 + offset });
    await until(() => setBackNotices === 1, "the notice");
    put(metric, 10);
    await until(() => setBackNotices === 2, "another");
    await second.close();
    expect((await stored(metric)).slice(10)).toEqual([10, 107, 108]);
    expect([notices, setBacks]).toEqual([[], [`f1/gw-1/${epoch}`]]);
  });

  test("repeats of many gateways at once, as after a restart, are few transactions", async () => {
    const nodes = Array.from({ length: 60 }, (_, n) => `gw-${n}`);
    const metrics = new Map(nodes.map((node) => [node, { ...metricOf("a"), key: { ...metricOf("a").key, node } }]));
    const putAll = () => {
      for (const node of nodes) {
        const header = { epoch, offset: 0, writtenAtMs: t0 };
        const again = book.claim("f1", node, header) === "again";
        const metric = metrics.get(node) as BornMetric;
        const samples = [{ metric, value: 1, status: 0, sourceTimeMs: t0, gatewayTimeMs: t0 }];
        queue.push({ group: "f1", node, record: header, samples, receivedAtMs: t0, again });
      }
    };
    const first = startWriter(partsOf(world.telemetry));
    putAll();
    await until(() => notices.length === 60, "the notices");
    await first.close();
    await restart();
    const before = counter("transactions");
    putAll();
    const second = startWriter(partsOf(world.telemetry));
    await until(() => notices.length === 120, "the notices again");
    await second.close();
    expect(counter("transactions") - before).toBeLessThanOrEqual(2);
    expect([counter("duplicateSamples"), setBacks]).toEqual([60, []]);
  });
});

describe("a store that says what is wrong", () => {
  const busy = (retryAfterMs: number) =>
    new JilianError("too many requests", { code: "STORE_BUSY_REMOTE", action: "write", remedy: "wait", retryAfterMs });

  test("busy: it is left alone as long as it asked", async () => {
    const { telemetry, writes } = answering(world.telemetry, [busy(700), busy(0)]);
    const writer = startWriter(partsOf(telemetry));
    put(metricOf("a"), 0);
    await until(() => notices.length === 1, "the notice");
    await writer.close();
    const [first = 0, second = 0, third = 0] = writes;
    expect(second - first).toBeGreaterThanOrEqual(690);
    expect(third - second).toBeLessThan(5000);
    expect([counter("storeBusy"), counter("storeFailures")]).toEqual([2, 0]);
  });

  test("one bad record among many: few writes, and none at all when it comes again", async () => {
    const { telemetry, writes } = answering(world.telemetry, []);
    queue = recordQueue(10_000);
    const metric = metricOf("a");
    for (let offset = 0; offset < 500; offset += 1) put(metric, offset);
    const bad = put(metricOf("b", 4711), 500);
    for (let offset = 501; offset < 1000; offset += 1) put(metric, offset);
    const writer = startWriter({ ...partsOf(telemetry), batchSamples: 10_000 });
    await until(() => notices.length === 999, "the others' notices");
    expect(writes.length).toBeLessThan(25);
    const before = writes.length;
    expect(book.claim("f1", "gw-1", bad.record as RecordHeader)).toBe("refused");
    expect(writes.length).toBe(before);
    await writer.close();
    expect(world.ledger.findings(5)).toMatchObject([{ code: "RECORD_REFUSED", subject: "f1/gw-1" }]);
  });
});

test("a slow store: notices are late, the queue sheds, and what was shed is stored when it comes again", async () => {
  const metric = metricOf("a");
  const slow: Telemetry = {
    ...world.telemetry,
    write: async (batch) => {
      await new Promise((resolve) => setTimeout(resolve, 150));
      return await world.telemetry.write(batch);
    },
  };
  queue = recordQueue(100);
  const parts = partsOf(slow);
  const writer = startWriter({ ...parts, batchSamples: 50 });
  const waiting = new Set(Array.from({ length: 500 }, (_, n) => n));
  let shed = 0;
  /** What a gateway does: it sends again what was not confirmed. */
  const send = () => {
    for (const offset of waiting) {
      const header = { epoch, offset, writtenAtMs: t0 + offset };
      if (book.claim("f1", "gw-1", header) !== "new") continue;
      const samples = [{ metric, value: offset, status: 0, sourceTimeMs: t0 + offset, gatewayTimeMs: t0 }];
      if (queue.push({ group: "f1", node: "gw-1", record: header, samples, receivedAtMs: t0 })) continue;
      book.release("f1", "gw-1", header);
      shed += 1;
    }
  };
  await until(
    () => {
      for (const [offset] of notices) waiting.delete(offset);
      send();
      return waiting.size === 0;
    },
    "all notices",
    20_000,
  );
  await writer.close();
  expect(shed).toBeGreaterThan(0);
  expect(notices.every(([, committedThen]) => committedThen)).toBe(true);
  expect(await stored(metric)).toEqual(Array.from({ length: 500 }, (_, i) => i));
});
