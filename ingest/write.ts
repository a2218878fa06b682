import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { count } from "@jilian/store/live.ts";
import type { CommitEntry, SampleRow, Telemetry, WriteBatch, WriteOutcome } from "@jilian/store/telemetry.ts";
import type { Logger } from "pino";
import type { SparkplugBus } from "./bus.ts";
import type { CommitBook } from "./commit-book.ts";
import type { LiveWriter } from "./live-writer.ts";
import { pause } from "./pause.ts";
import type { QueuedRecord, RecordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";

export type WriterParts = {
  queue: RecordQueue;
  book: CommitBook;
  telemetry: Telemetry;
  ledger: Pick<Ledger, "noteFinding">;
  live: LiveWriter;
  bus: SparkplugBus;
  clock: Clock;
  log: Logger;
  batchSamples: number;
  lingerMs: number;
  /** Told of each batch that the store has confirmed, and how long that took. */
  onStored?: (records: readonly QueuedRecord[], durationMs: number) => void;
};

const retryMinMs = 200;
const retryMaxMs = 10_000;
/** Repeated records are answered at least this often, even when nothing new is stored. */
const noticeIntervalMs = 250;

/** Conflicts are told to people at most this often. */
const findingIntervalMs = 10_000;
/** Errors by which the store says that the batch is at fault, not the store (store/telemetry.ts). */
const batchFaults = new Set(["VALUE_MISFIT", "SERIES_UNKNOWN", "COMMIT_RANGE_INVALID"]);

/** The offsets of a batch as ranges, per gateway and epoch. */
function commitsOf(records: readonly QueuedRecord[]): CommitEntry[] {
  const found = new Map<string, { group: string; node: string; epoch: string; set: RangeSet }>();
  for (const { group, node, record } of records) {
    if (!record) continue;
    const id = `${group}/${node}/${record.epoch}`;
    getOrMake(found, id, () => ({ group, node, epoch: record.epoch, set: rangeSet() })).set.add(
      record.offset,
      record.offset,
    );
  }
  return [...found.values()].map(({ set, ...rest }) => ({ ...rest, ranges: set.ranges() }));
}

/** Looks up the numbers of series that are new here. @returns the metrics that got one */
async function numberSeries(telemetry: Telemetry, records: readonly QueuedRecord[]): Promise<Set<BornMetric>> {
  const fresh = new Set<BornMetric>();
  for (const record of records)
    for (const { metric } of record.samples) if (metric.seriesId === undefined) fresh.add(metric);
  if (fresh.size === 0) return fresh;
  const metrics = [...fresh];
  const ids = await telemetry.ensureSeries(metrics.map(({ key, definition }) => ({ ...key, definition })));
  for (const [i, metric] of metrics.entries()) metric.seriesId = ids[i];
  return fresh;
}

function rowsOf(records: readonly QueuedRecord[]): SampleRow[] {
  const rows: SampleRow[] = [];
  for (const { samples, receivedAtMs } of records) {
    for (const { metric, value, status, sourceTimeMs, gatewayTimeMs } of samples) {
      rows.push({
        series: metric.seriesId as number,
        sourceTimeMs,
        value,
        status,
        gatewayTimeMs,
        ingestTimeMs: receivedAtMs,
      });
    }
  }
  return rows;
}

/** Tells of conflicting samples: counts each, logs each batch, and notes a finding now and then. */
function conflictTeller({ live, ledger, clock, log }: WriterParts): (outcome: WriteOutcome) => void {
  let untold = 0;
  let toldAt = Number.NEGATIVE_INFINITY;
  return ({ conflicts, tx }) => {
    if (conflicts === 0) return;
    count(live.state, "conflictingSamples", conflicts);
    const detail = "another value was stored already under the same series and time; the first stays";
    log.warn({ code: "SAMPLE_CONFLICT", conflicts, tx }, detail);
    untold += conflicts;
    if (performance.now() - toldAt < findingIntervalMs) return;
    toldAt = performance.now();
    ledger.noteFinding(
      { code: "SAMPLE_CONFLICT", subject: "telemetry", detail: `${untold} samples: ${detail}` },
      clock.now(),
    );
    untold = 0;
  };
}

/** Writes records to the store; resolves when the store has confirmed them. */
function recordWriter(parts: WriterParts): (records: readonly QueuedRecord[]) => Promise<void> {
  const { book, telemetry, live, log } = parts;
  const tellConflicts = conflictTeller(parts);

  async function write(records: readonly QueuedRecord[]): Promise<void> {
    const fresh = await numberSeries(telemetry, records);
    const batch: WriteBatch = { samples: rowsOf(records), commits: commitsOf(records) };
    const startedMs = performance.now();
    const outcome = await telemetry.write(batch);
    book.stored(batch.commits);
    parts.onStored?.(records, performance.now() - startedMs);
    count(live.state, "transactions");
    count(live.state, "storedSamples", outcome.written);
    count(live.state, "duplicateSamples", outcome.duplicates);
    tellConflicts(outcome);
    // The first samples of a series came before it had a number, without which the live state could not take them.
    for (const { samples } of fresh.size > 0 ? records : [])
      for (const sample of samples) if (fresh.has(sample.metric)) live.sample(sample, true);
  }

  /** What the store will never take must not stand before what it would: the record is put aside, uncommitted: it stays at its gateway. */
  function refuse({ group, node, record, samples }: QueuedRecord, error: unknown): void {
    if (record) book.release(group, node, record);
    count(live.state, "refusedRecords");
    log.error(
      { code: "RECORD_REFUSED", cause: codeOf(error), err: messageOf(error), node: `${group}/${node}`, record },
      `the store refused a record of ${samples.length} samples`,
    );
  }

  return async (records) => {
    try {
      await write(records);
    } catch (error) {
      if (!batchFaults.has(codeOf(error))) throw error;
      if (records.length === 1) return refuse(records[0] as QueuedRecord, error);
      for (const record of records) {
        await write([record]).catch((fault: unknown) => {
          if (!batchFaults.has(codeOf(fault))) throw fault;
          refuse(record, fault);
        });
      }
    }
  };
}

/**
 * Stores what is queued, one transaction a batch, samples and commit ranges together; only what the store has confirmed is told to the
 * gateways (CONTRACTS 2). A store that fails is asked again with back-off, while the bounded queue sheds.
 * @returns a handle whose close() writes out what is queued, or gives it up, uncommitted, when the store fails, and ends the loop
 */
export function startWriter(parts: WriterParts): { close: () => Promise<void> } {
  const { queue, book, live, bus, clock, log } = parts;
  const write = recordWriter(parts);
  const stop = new AbortController();

  /** Sends the notices that are due. A lost one does no harm: the record comes again and is answered again. */
  function notify(): Promise<unknown> {
    const notices = book.notices(clock.now());
    if (notices.length > 0) count(live.state, "commitNotices", notices.length);
    return Promise.allSettled(
      notices.map(({ topic, payload }) => bus.publish(topic, payload, { qos: 0, retain: false })),
    );
  }

  /** @returns false when the store failed and the writer is closing */
  async function store(records: readonly QueuedRecord[]): Promise<boolean> {
    for (let waitMs = retryMinMs; ; waitMs = Math.min(waitMs * 2, retryMaxMs)) {
      try {
        await write(records);
        return true;
      } catch (error) {
        count(live.state, "storeFailures");
        log.error(
          { code: "STORE_WRITE", err: messageOf(error), records: records.length, waitMs },
          stop.signal.aborted ? "the store took nothing; giving up" : "the store took nothing; asking again",
        );
        if (stop.signal.aborted) return false;
        await pause(waitMs, stop.signal);
      }
    }
  }

  async function run(): Promise<void> {
    let writable = true;
    while (!stop.signal.aborted) {
      await queue.ready(noticeIntervalMs, stop.signal);
      if (queue.samples() > 0 && queue.samples() < parts.batchSamples) await pause(parts.lingerMs, stop.signal);
      const records = queue.take(parts.batchSamples);
      if (records.length > 0) writable = await store(records);
      // Not waited for: a gateway that does not read its socket would hold up everyone's samples.
      void notify();
    }
    while (writable && queue.samples() > 0) writable = await store(queue.take(parts.batchSamples));
    await notify();
  }

  const running = run();
  return {
    close: async () => {
      stop.abort();
      await running;
    },
  };
}
