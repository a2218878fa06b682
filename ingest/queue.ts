import type { RecordHeader } from "@jilian/domain/commit.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import type { BornMetric } from "./sessions.ts";

/** A sample on its way to the store. */
export type QueuedSample = {
  metric: BornMetric;
  value: Value;
  status: number;
  sourceTimeMs: number;
  gatewayTimeMs: number;
};

/** The samples of one payload, with the outbox record they came in, if any. They are stored together or not at all. */
export type QueuedRecord = {
  group: string;
  node: string;
  record: RecordHeader | undefined;
  /** Its offset is stored, but perhaps by another record (commit-book.ts). */
  again?: boolean;
  samples: QueuedSample[];
  receivedAtMs: number;
  /** Newest source time among its samples that are not historical; absent when all are. */
  newestLiveMs?: number | undefined;
};

/** The bounded queue before the store. It never blocks its source: a full queue refuses, and what it refuses was not committed. */
export type RecordQueue = {
  /** False when the record was shed. Records of nodes without an outbox cannot come again and are shed last. */
  readonly push: (record: QueuedRecord) => boolean;
  /** Takes whole records up to a number of samples, at least one record. */
  readonly take: (maxSamples: number) => QueuedRecord[];
  /** Metrics as births say that they are from now on: behind what is queued, shed by nothing, and no part of its size. */
  readonly bear: (metrics: readonly BornMetric[]) => void;
  /** Takes the metrics of births before which nothing is queued any more. */
  readonly takeBirths: () => BornMetric[];
  /** Samples that wait; a record without any counts as one. */
  readonly samples: () => number;
  /** Resolves when a record is queued or a birth can be taken, after `atMostMs`, or when `signal` is aborted. One waiter at a time. */
  readonly ready: (atMostMs: number, signal: AbortSignal) => Promise<void>;
};

/** What nodes without an outbox may fill beyond the bound. */
const reserve = 1.25;
/** Metrics of births that wait. Those beyond it are forgotten, the oldest first: samples of theirs say the same once they come. */
const maxBirths = 200_000;

export function recordQueue(boundSamples: number): RecordQueue {
  const records: QueuedRecord[] = [];
  let samples = 0;
  let wake: (() => void) | undefined;
  /** Records that were pushed before a birth, since ever; and those that were taken. */
  let [pushed, taken] = [0, 0];
  let births: { behind: number; metrics: readonly BornMetric[] }[] = [];
  let bearing = 0;
  const isDue = ({ behind }: { behind: number }) => behind <= taken;
  const sizeOf = (record: QueuedRecord) => Math.max(1, record.samples.length);

  return {
    push: (record) => {
      const bound = record.record === undefined ? boundSamples * reserve : boundSamples;
      if (samples + sizeOf(record) > bound && samples > 0) return false;
      records.push(record);
      pushed += 1;
      samples += sizeOf(record);
      wake?.();
      return true;
    },
    take: (maxSamples) => {
      let size = 0;
      let n = 0;
      for (const record of records) {
        if (n > 0 && size + sizeOf(record) > maxSamples) break;
        size += sizeOf(record);
        n += 1;
      }
      samples -= size;
      taken += n;
      return records.splice(0, n);
    },
    bear: (metrics) => {
      if (metrics.length === 0) return;
      births.push({ behind: pushed, metrics });
      bearing += metrics.length;
      while (bearing > maxBirths && births.length > 1) bearing -= births.shift()?.metrics.length ?? 0;
      wake?.();
    },
    takeBirths: () => {
      const due = births.filter(isDue);
      if (due.length === 0) return [];
      births = births.slice(due.length);
      const metrics = due.flatMap((birth) => birth.metrics);
      bearing -= metrics.length;
      return metrics;
    },
    samples: () => samples,
    ready: (atMostMs, signal) =>
      new Promise((resolve) => {
        if (records.length > 0 || births.some(isDue) || signal.aborted) return resolve();
        const done = () => {
          clearTimeout(timer);
          wake = undefined;
          signal.removeEventListener("abort", done);
          resolve();
        };
        const timer = setTimeout(done, atMostMs);
        wake = done;
        signal.addEventListener("abort", done);
        return undefined;
      }),
  };
}
