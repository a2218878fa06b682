import type { Clock } from "@jilian/domain/clock.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import { count } from "@jilian/store/live.ts";
import type { CommitEntry, SampleRow, Telemetry, WriteBatch, WriteOutcome } from "@jilian/store/telemetry.ts";
import type { Logger } from "pino";
import type { SparkplugBus } from "./bus.ts";
import type { CommitBook } from "./commit-book.ts";
import type { LiveWriter } from "./live-writer.ts";
import type { QueuedRecord, RecordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";

export type WriterParts = {
  queue: RecordQueue;
  book: CommitBook;
  telemetry: Telemetry;
  live: LiveWriter;
  bus: SparkplugBus;
  clock: Clock;
  log: Logger;
  batchSamples: number;
  lingerMs: number;
};

const retryMinMs = 200;
const retryMaxMs = 10_000;
/** Repeated records are answered at least this often, even when nothing new is stored. */
const noticeIntervalMs = 250;

/** Waits on the machine's timers; ends early when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted || ms <= 0) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    return undefined;
  });
}

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

async function numberSeries(telemetry: Telemetry, records: readonly QueuedRecord[]): Promise<void> {
  const fresh = new Set<BornMetric>();
  for (const record of records)
    for (const { metric } of record.samples) if (metric.seriesId === undefined) fresh.add(metric);
  if (fresh.size === 0) return;
  const metrics = [...fresh];
  const ids = await telemetry.ensureSeries(metrics.map(({ key, definition }) => ({ ...key, definition })));
  for (const [i, metric] of metrics.entries()) metric.seriesId = ids[i];
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

/**
 * Stores what is queued, one transaction a batch, samples and commit ranges together; only what the store has confirmed is told to the
 * gateways (CONTRACTS 2). A store that fails is asked again with back-off, while the bounded queue sheds.
 * @returns a handle whose close() writes out what is queued, within the store's own time, and ends the loop
 */
export function startWriter(parts: WriterParts): { close: () => Promise<void> } {
  const { queue, book, telemetry, live, bus, clock, log } = parts;
  const stop = new AbortController();

  async function notify(): Promise<void> {
    const notices = book.notices(clock.now());
    const sent = notices.map(({ topic, payload }) => bus.publish(topic, payload, { qos: 0, retain: false }));
    // A lost notice does no harm: the record comes again and is answered again.
    await Promise.allSettled(sent);
  }

  async function store(records: readonly QueuedRecord[]): Promise<void> {
    for (let waitMs = retryMinMs; ; waitMs = Math.min(waitMs * 2, retryMaxMs)) {
      try {
        await numberSeries(telemetry, records);
        const batch: WriteBatch = { samples: rowsOf(records), commits: commitsOf(records) };
        const outcome = await telemetry.write(batch);
        book.stored(batch.commits);
        note(outcome);
        return;
      } catch (error) {
        if (stop.signal.aborted) return;
        count(live.state, "storeFailures");
        log.error(
          { code: "STORE_WRITE", err: messageOf(error), records: records.length, waitMs },
          "the store took nothing; asking again",
        );
        await pause(waitMs, stop.signal);
      }
    }
  }

  function note(outcome: WriteOutcome): void {
    count(live.state, "transactions");
    count(live.state, "storedSamples", outcome.written);
    count(live.state, "duplicateSamples", outcome.duplicates);
    if (outcome.conflicts > 0) {
      count(live.state, "conflictingSamples", outcome.conflicts);
      log.warn(
        { code: "SAMPLE_CONFLICT", conflicts: outcome.conflicts, tx: outcome.tx },
        "another value was stored already under the same series and time; the first stays",
      );
    }
  }

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      await queue.ready(noticeIntervalMs, stop.signal);
      if (queue.samples() > 0 && queue.samples() < parts.batchSamples) await pause(parts.lingerMs, stop.signal);
      const records = queue.take(parts.batchSamples);
      if (records.length > 0) await store(records);
      await notify();
    }
    const rest = queue.take(Number.POSITIVE_INFINITY);
    if (rest.length > 0) await store(rest);
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
