import { type CommitNotice, decodeNotice } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { createLiveState, type LiveState } from "@jilian/store/live.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { type Logger, pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CommitBook, commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { type RecordQueue, recordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
import { answering, manualClock, openWorld, silent, testRegistry, until, type World } from "./test-world.ts";
import { startWriter } from "./write.ts";

/** A real store refuses a value that is no number; what a store of ours is never given, and stands for what InfluxDB refuses. */
const refusedValue = Number.NaN;
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const epoch = "00000000000000ab";
const clock = manualClock(t0);
const place = { group: "f1", node: "gw-1" } as const;

let world: World;
let live: LiveState;
let queue: RecordQueue;
let book: CommitBook;
let notices: CommitNotice[];
let writer: { close: () => Promise<void> } | undefined;

beforeEach(async () => {
  world = await openWorld();
  live = createLiveState();
  queue = recordQueue(10_000);
  book = commitBook([]);
  notices = [];
});
afterEach(async () => {
  await writer?.close();
  writer = undefined;
  await world.end();
});

/** @param errors what the store answers first @returns when the store was asked, ms */
function start(errors: Error[] = [], log: Logger = silent, store: Telemetry = world.telemetry): number[] {
  const { telemetry, writes } = answering(store, errors);
  const notes = ledgerNotes({ ledger: world.ledger, clock, log: silent });
  writer = startWriter({
    ...{ queue, book, telemetry, notes, clock, log, batchSamples: 5000, lingerMs: 1 },
    live: liveWriter(live, { notes, registry: testRegistry(true), clock }),
    bus: {
      onMessage: () => () => undefined,
      publish: async (_, payload) => {
        const metric = decodePayload(payload).metrics[0];
        notices.push(decodeNotice(metric?.wire.case === "stringValue" ? metric.wire.value : ""));
      },
    },
  });
  return writes;
}

const metricOf = (metric: string, seriesId?: number): BornMetric => ({
  key: { ...place, device: "press-1", metric },
  definition: { name: metric, datatype: DataType.Double, simulated: false },
  ...{ seriesId, sinceMs: 0, doubtMs: 0 },
});

/** Queues a record with one sample of each metric. */
function put(offset: number | undefined, values: readonly (readonly [BornMetric, number])[]): void {
  const record = offset === undefined ? undefined : { epoch, offset, writtenAtMs: t0 + offset };
  const again = record !== undefined && book.claim("f1", "gw-1", record) === "again";
  const sourceTimeMs = t0 + 10 * (offset ?? 0);
  const samples = values.map(([metric, value]) => ({ metric, value, status: 0, sourceTimeMs, gatewayTimeMs: t0 }));
  expect(queue.push({ ...place, record, samples, receivedAtMs: t0, again })).toBe(true);
}

async function stored(metric: BornMetric): Promise<unknown[]> {
  const series = (await world.telemetry.series()).find((s) => s.metric === metric.key.metric)?.id ?? -1;
  return (await world.telemetry.read({ series, fromMs: 0, toMs: 1e15 }, 1e6)).map(({ value }) => value);
}

const counter = (name: string) => live.counters.get(name) ?? 0;
const refusals = () => notices.flatMap(({ refused = [] }) => refused);
const committed = () => notices.flatMap(({ ranges }) => ranges);

describe("a metric that the store always refuses", () => {
  test("costs its own samples alone: all others are stored, its gateway is told which they are", async () => {
    const [a, b, c] = ["a", "b", "c"].map((name) => metricOf(name)) as [BornMetric, BornMetric, BornMetric];
    const offsets = Array.from({ length: 40 }, (_, i) => i);
    const writes = start();
    for (const offset of offsets) {
      put(offset, [
        [a, offset],
        [b, refusedValue],
        [c, -offset],
      ]);
      await until(() => refusals().length === offset + 1, "its notice");
    }
    expect(await stored(a)).toEqual(offsets);
    expect(await stored(c)).toHaveLength(40);
    expect(refusals()).toEqual(
      offsets.map((offset) => ({
        ...{ offset, writtenAtMs: t0 + offset, code: "VALUE_MISFIT", samples: [["b", t0 + 10 * offset]] },
      })),
    );
    expect(committed()).toEqual([]);
    // Done all the same, each with a write after it.
    expect(await world.telemetry.committed()).toEqual([{ ...place, epoch, ranges: [[0, 38]] }]);
    expect(writes.length).toBeLessThan(2 * 40 + 5);
    expect([counter("refusedRecords"), counter("refusedSamples"), counter("deferredRecords")]).toEqual([40, 40, 0]);
    expect(world.ledger.findings(5)).toMatchObject([
      { code: "RECORD_REFUSED", subject: "f1/gw-1", detail: expect.stringMatching(/^VALUE_MISFIT \(press-1 b\): /) },
    ]);
  });

  test("is told again when the notice was lost and the record comes again", async () => {
    const [a, b] = [metricOf("a"), metricOf("b")];
    start();
    put(0, [
      [a, 1],
      [b, refusedValue],
    ]);
    await until(() => refusals().length === 1, "the notice");
    expect(book.claim("f1", "gw-1", { epoch, offset: 0, writtenAtMs: t0 })).toBe("refused");
    await until(() => refusals().length === 2, "another");
    expect(refusals()[1]).toEqual(refusals()[0]);
    expect(await stored(a)).toEqual([1]);
  });

  test("is taken at once when it is repaired, and its record is committed", async () => {
    const [a, b] = [metricOf("a"), metricOf("b")];
    start();
    put(0, [
      [a, 1],
      [b, refusedValue],
    ]);
    await until(() => refusals().length === 1, "the notice");
    put(1, [
      [a, 2],
      [b, 3],
    ]);
    await until(() => committed().length === 1, "the commit");
    expect(committed()).toEqual([[1, 1]]);
    expect([await stored(a), await stored(b)]).toEqual([[1, 2], [3]]);
  });

  test("in a record of a node without an outbox: the others of it are stored", async () => {
    const [a, b] = [metricOf("a"), metricOf("b")];
    start();
    put(undefined, [
      [b, refusedValue],
      [a, 1],
    ]);
    await until(() => counter("refusedSamples") === 1, "the refusal");
    expect(await stored(a)).toEqual([1]);
    expect(notices).toEqual([]);
  });
});

test("a fleet, each device of it with a metric that is refused: what is good of all of them waits for two writes", async () => {
  const devices = 150;
  const fleet = Array.from({ length: devices }, (_, n) => [
    metricOf(`a${n}`),
    { ...metricOf(`b${n}`), wasRefused: true },
  ]);
  const healthy = metricOf("healthy");
  /** Samples that are stored after each write. */
  const storedAfter: number[] = [];
  const store: Telemetry = {
    ...world.telemetry,
    write: async (batch) => {
      const before = storedAfter.at(-1) ?? 0;
      const n = storedAfter.push(before) - 1;
      const outcome = await world.telemetry.write(batch);
      storedAfter[n] = before + outcome.written;
      return outcome;
    },
  };
  for (const [offset, [a, b]] of fleet.entries())
    put(offset, [
      [a as BornMetric, offset],
      [b as BornMetric, refusedValue],
    ]);
  put(devices, [[healthy, 1]]);
  start([], silent, store);
  await until(() => refusals().length + counter("deferredRecords") === devices, "all of them");
  expect(storedAfter.slice(0, 2)).toEqual([1, devices + 1]);
  expect(storedAfter).toHaveLength(2 + refusals().length);
  expect(committed()).toEqual([[devices, devices]]);
});

test("a record of which too much is refused has to come in parts", async () => {
  start();
  put(
    0,
    Array.from({ length: 500 }, (_, i) => [metricOf(`m${i}`), refusedValue] as const),
  );
  await until(() => refusals().length === 1, "the notice");
  expect(refusals()).toEqual([{ offset: 0, writtenAtMs: t0, code: "VALUE_MISFIT" }]);
});

test("of a store that does not know its own series nothing is told: the gateway keeps its record", async () => {
  const a = metricOf("a");
  start();
  put(0, [
    [a, 1],
    [metricOf("b", 4711), 2],
  ]);
  put(1, [[a, 3]]);
  await until(() => committed().length === 1, "the other's commit");
  expect([refusals(), committed()]).toEqual([[], [[1, 1]]]);
  expect([counter("refusedRecords"), counter("refusedSamples")]).toEqual([1, 0]);
});

test("a node without an outbox of which too much is refused: the rest of it is refused unseen, counted and told; others go on", async () => {
  const lines: Record<string, unknown>[] = [];
  const healthy = metricOf("healthy");
  for (let n = 0; n < 1000; n += 1) put(undefined, [[metricOf(`m${n}`), refusedValue]]);
  put(0, [[healthy, 1]]);
  const writes = start([], pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }));
  await until(() => counter("refusedSamples") === 1000, "all of it", 20_000);
  await until(() => committed().length === 1, "the other's commit");
  expect(await stored(healthy)).toEqual([1]);
  expect(writes.length).toBeLessThan(320);
  expect([counter("unsiftedSamples") > 500, counter("deferredRecords")]).toEqual([true, 0]);
  const told = { code: "SAMPLES_UNSIFTED" };
  expect(world.ledger.findings(5)).toContainEqual(expect.objectContaining({ ...told, subject: "f1/gw-1" }));
  expect(lines.filter(({ code }) => code === told.code)).toHaveLength(1);
});

test("a store that asks for an hour of patience is asked again after a minute", async () => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const busy = { code: "STORE_BUSY_REMOTE", action: "write", remedy: "wait", retryAfterMs: 3_600_000 };
  start([new JilianError("too many requests", busy)], log);
  put(0, [[metricOf("a"), 1]]);
  await until(() => lines.some(({ code }) => code === "STORE_WRITE"), "the pause");
  expect(lines.find(({ code }) => code === "STORE_WRITE")).toMatchObject({
    cause: "STORE_BUSY_REMOTE",
    waitMs: 60_000,
  });
});
