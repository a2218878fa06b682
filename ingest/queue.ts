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
  record: { epoch: string; offset: number } | undefined;
  samples: QueuedSample[];
  receivedAtMs: number;
};

/** The bounded queue before the store. It never blocks its source: a full queue refuses, and what it refuses was not committed. */
export type RecordQueue = {
  /** False when the record was shed. Records of nodes without an outbox cannot come again and are shed last. */
  readonly push: (record: QueuedRecord) => boolean;
  /** Takes whole records up to a number of samples, at least one record. */
  readonly take: (maxSamples: number) => QueuedRecord[];
  readonly samples: () => number;
  /** Resolves when something is queued, after `atMostMs`, or when `signal` is aborted. One waiter at a time. */
  readonly ready: (atMostMs: number, signal: AbortSignal) => Promise<void>;
};

export function recordQueue(boundSamples: number): RecordQueue {
  let records: QueuedRecord[] = [];
  let head = 0;
  let samples = 0;
  let wake: (() => void) | undefined;

  return {
    push: (record) => {
      const bound = record.record === undefined ? boundSamples * 1.25 : boundSamples;
      if (samples + record.samples.length > bound && samples > 0) return false;
      records.push(record);
      samples += record.samples.length;
      wake?.();
      return true;
    },
    take: (maxSamples) => {
      const taken: QueuedRecord[] = [];
      let size = 0;
      while (head < records.length) {
        const next = records[head] as QueuedRecord;
        if (taken.length > 0 && size + next.samples.length > maxSamples) break;
        taken.push(next);
        size += next.samples.length;
        head += 1;
      }
      samples -= size;
      if (head === records.length || head > 10_000) {
        records = records.slice(head);
        head = 0;
      }
      return taken;
    },
    samples: () => samples,
    ready: (atMostMs, signal) =>
      new Promise((resolve) => {
        if (head < records.length || signal.aborted) return resolve();
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
