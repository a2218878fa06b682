import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import { count } from "@jilian/store/live.ts";
import {
  type CommitEntry,
  lineFaults,
  type SampleRow,
  type Telemetry,
  type WantedSeries,
  type WriteBatch,
  type WriteOutcome,
} from "@jilian/store/telemetry.ts";
import type { Logger } from "pino";
import type { SparkplugBus } from "./bus.ts";
import type { CommitBook } from "./commit-book.ts";
import type { LedgerNotes } from "./ledger-notes.ts";
import type { LiveWriter } from "./live-writer.ts";
import { pause } from "./pause.ts";
import type { QueuedRecord, QueuedSample, RecordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
import { siftRefused } from "./sift-refused.ts";

export type WriterParts = {
  queue: RecordQueue;
  book: CommitBook;
  telemetry: Telemetry;
  notes: Pick<LedgerNotes, "finding">;
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
/** A store that asks for more patience than this is asked sooner: it may have been wrong about its own trouble. */
const busyMaxMs = 60_000;
/** Repeated records are answered at least this often when nothing new comes; while the store fails, with each attempt. */
const noticeIntervalMs = 250;

/** What is counted of a write that has to wait, by the store's error; of all others that they failed. */
const waitCounters: ReadonlyMap<string, string> = new Map([
  ["STORE_BUSY_REMOTE", "storeBusy"],
  ["STORE_LIMIT", "storeLimited"],
]);

/** Epochs of one batch whose repeats are looked at apart. */
const maxRecheckedEpochs = 16;

/** The offsets of a batch, and others, as ranges, per gateway and epoch. */
function commitsOf(records: readonly QueuedRecord[], others: readonly CommitEntry[] = []): CommitEntry[] {
  const found = new Map<string, { group: string; node: string; epoch: string; set: RangeSet }>();
  const setOf = ({ group, node, epoch }: Omit<CommitEntry, "ranges">): RangeSet =>
    getOrMake(found, `${group}/${node}/${epoch}`, () => ({ group, node, epoch, set: rangeSet() })).set;
  for (const { group, node, record } of records)
    if (record) setOf({ group, node, epoch: record.epoch }).add(record.offset, record.offset);
  for (const entry of others) for (const [first, last] of entry.ranges) setOf(entry).add(first, last);
  return [...found.values()].map(({ set, ...rest }) => ({ ...rest, ranges: set.ranges() }));
}

const wantedOf = ({ key, definition, sinceMs, doubtMs, bornMs, earlier }: BornMetric): WantedSeries => {
  return { ...key, definition, sinceMs, doubtMs, ...(bornMs !== undefined && { bornMs }), ...(earlier && { earlier }) };
};

/** Looks up the numbers of series that are new here. @returns the metrics that got one */
async function numberSeries(telemetry: Telemetry, records: readonly QueuedRecord[]): Promise<Set<BornMetric>> {
  const fresh = new Set<BornMetric>();
  for (const record of records)
    for (const { metric } of record.samples) if (metric.seriesId === undefined) fresh.add(metric);
  if (fresh.size === 0) return fresh;
  const metrics = [...fresh];
  const ids = await telemetry.ensureSeries(metrics.map(wantedOf));
  for (const [i, metric] of metrics.entries()) metric.seriesId = ids[i];
  return fresh;
}

/**
 * Notes what births say of series that the store has. What it never takes is found by halving, told once more by samples, and refused with
 * those: one such metric must not cost what other births said at that moment.
 */
async function redefine(
  { telemetry, log }: Pick<WriterParts, "telemetry" | "log">,
  births: readonly BornMetric[],
): Promise<void> {
  try {
    await telemetry.redefineSeries(births.map(wantedOf));
  } catch (error) {
    if (!lineFaults.has(codeOf(error))) throw error;
    const half = births.length >> 1;
    if (half > 0)
      for (const some of [births.slice(0, half), births.slice(half)]) await redefine({ telemetry, log }, some);
    else
      log.warn(
        { code: "BIRTH_REFUSED", cause: codeOf(error), err: messageOf(error) },
        "what a birth says was not stored",
      );
  }
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
 * The batches of what was taken from the queue. Records whose offset is stored already go apart, those of one epoch together: whether the
 * store leaves out all of their samples tells of this epoch, and of no other, whether they are repeats. After a restart all gateways
 * repeat at once: then a transaction for each would take longer than the answer is worth.
 */
function batchesOf(records: readonly QueuedRecord[]): QueuedRecord[][] {
  if (!records.some(({ again }) => again)) return [[...records]];
  const idOf = ({ group, node, record, again }: QueuedRecord) => (again ? `${group}/${node}/${record?.epoch}` : "");
  const groups = Map.groupBy(records, idOf);
  if (groups.size <= maxRecheckedEpochs) return [...groups.values()];
  return [...Map.groupBy(records, ({ again }) => again === true).values()];
}

/** Tells of conflicting samples: counts each, logs each batch, and notes a finding now and then. */
function tellConflicts({ live, notes, log }: WriterParts, { conflicts, tx }: WriteOutcome): void {
  if (conflicts === 0) return;
  count(live.state, "conflictingSamples", conflicts);
  const detail = "another value was stored already under the same series and time; the first stays";
  log.warn({ code: "SAMPLE_CONFLICT", conflicts, tx }, detail);
  notes.finding({ code: "SAMPLE_CONFLICT", subject: "telemetry", detail: `${conflicts} samples at once: ${detail}` });
}

/** A bound in the store's configuration does not pass by itself: somebody has to be told which one, beside the log. */
function tellLimit({ notes }: WriterParts, error: unknown): void {
  if (!(error instanceof JilianError) || error.code !== "STORE_LIMIT") return;
  notes.finding({
    code: "STORE_LIMIT",
    subject: "telemetry",
    detail: `${error.message}; ${error.remedy}`.slice(0, 500),
  });
}

/** Writes records as one batch; resolves when the store has confirmed them. */
async function writeBatch(parts: WriterParts, records: readonly QueuedRecord[]): Promise<void> {
  const { book, telemetry, live } = parts;
  const fresh = await numberSeries(telemetry, records);
  const commits = commitsOf(records);
  const refused = book.refusedRanges();
  const batch: WriteBatch = { samples: rowsOf(records), commits: commitsOf(records, refused) };
  const startedMs = performance.now();
  const outcome = await telemetry.write(batch);
  book.stored(commits);
  book.refusedStored(refused);
  const [only, ...others] = commits;
  if (records[0]?.again && only && others.length === 0 && outcome.written + outcome.conflicts > 0) {
    book.setBack(only.group, only.node, only.epoch);
  }
  parts.onStored?.(records, performance.now() - startedMs);
  count(live.state, "transactions");
  count(live.state, "storedSamples", outcome.written);
  count(live.state, "duplicateSamples", outcome.duplicates);
  tellConflicts(parts, outcome);
  // The first samples of a series came before it had a number, without which the live state could not take them.
  for (const { samples } of fresh.size > 0 ? records : [])
    for (const sample of samples) if (fresh.has(sample.metric)) live.sample(sample, true);
}

/** Tells that samples of a node without an outbox were refused which nobody has looked at: good ones may be among them, and are lost. */
function tellUnsifted({ live, notes, log }: WriterParts, { group, node }: QueuedRecord, samples: number): void {
  count(live.state, "unsiftedSamples", samples);
  const subject = `${group}/${node}`;
  const detail =
    "so many samples of this node are refused that the rest of a batch was refused with them, good ones too: it has no outbox, so they are lost";
  if (notes.finding({ code: "SAMPLES_UNSIFTED", subject, detail }) === "lately") return;
  log.error({ code: "SAMPLES_UNSIFTED", node: subject }, detail);
}

/** Metrics of refused samples that are named to people. */
const maxNamed = 5;

/**
 * What the store will never take must not stand before what it would: the record is put aside, uncommitted, and its gateway is told.
 * @param refused the samples at fault, all others are stored; undefined when they were not told apart
 */
function refuse(
  { book, live, notes, log }: WriterParts,
  queued: QueuedRecord,
  error: unknown,
  refused?: readonly QueuedSample[],
): void {
  const { group, node, record, samples } = queued;
  const cause = codeOf(error);
  const named = refused?.map(({ metric, sourceTimeMs }) => [metric.key.metric, sourceTimeMs] as const);
  // A store that does not know its own series, or a range, is not believed about the samples: the gateway keeps them.
  const told = lineFaults.has(cause) ? { code: cause, ...(named ? { samples: named } : {}) } : undefined;
  if (record) book.refuse(group, node, record, told);
  count(live.state, "refusedRecords");
  count(live.state, "refusedSamples", refused?.length ?? 0);
  const subject = `${group}/${node}`;
  const metrics = [...new Set(refused?.map(({ metric }) => `${metric.key.device} ${metric.key.metric}`))];
  const what = metrics.length === 0 ? "" : ` (${metrics.slice(0, maxNamed).join(", ")})`;
  const detail = `${cause}${what}: ${messageOf(error)}`.slice(0, 500);
  // A metric that is always refused must not fill the log: counters have each, log and findings one in 10 s of a gateway.
  if (notes.finding({ code: "RECORD_REFUSED", subject, detail }) === "lately") return;
  log.error(
    {
      code: "RECORD_REFUSED",
      cause,
      err: messageOf(error),
      node: subject,
      record,
      metrics: metrics.slice(0, maxNamed),
    },
    `the store refused ${refused?.length ?? "some"} of ${samples.length} samples of a record`,
  );
}

/**
 * Stores what is queued, one transaction a batch, samples and commit ranges together; only what the store has confirmed is told to the
 * gateways (CONTRACTS 2). A store that fails is asked again with back-off, or when it asked to be, while the bounded queue sheds.
 * @returns a handle whose close() writes out what is queued, or gives it up, uncommitted, when the store fails, and ends the loop
 */
export function startWriter(parts: WriterParts): { close: () => Promise<void> } {
  const { queue, book, live, bus, clock, log } = parts;
  const stop = new AbortController();

  /** Sends the notices that are due. A lost one does no harm: the record comes again and is answered again. */
  function notify(): Promise<unknown> {
    const notices = book.notices(clock.now());
    if (notices.length > 0) count(live.state, "commitNotices", notices.length);
    return Promise.allSettled(
      notices.map(({ topic, payload }) => bus.publish(topic, payload, { qos: 0, retain: false })),
    );
  }

  /** Tries until the store has taken the records or said which of them it never will. @returns false when it failed amid closing */
  async function store(records: readonly QueuedRecord[]): Promise<boolean> {
    let toldMs = performance.now();
    const sift = siftRefused(records, {
      write: async (some) => {
        try {
          await writeBatch(parts, some);
        } finally {
          // Sifting can take hundreds of writes, most of them refused: who is stored by the first of them is told meanwhile.
          if (performance.now() - toldMs >= noticeIntervalMs) {
            void notify();
            toldMs = performance.now();
          }
        }
      },
      refuse: (record, error, samples, isUnsifted) => {
        if (isUnsifted) tellUnsifted(parts, record, samples?.length ?? 0);
        refuse(parts, record, error, samples);
      },
      defer: ({ group, node, record }) => {
        if (record) book.release(group, node, record);
        count(live.state, "deferredRecords");
      },
    });
    return await insist(sift, records.length);
  }

  /** Tries some work on the store, with back-off, until it succeeds. @returns false when it failed amid closing */
  async function insist(work: () => Promise<void>, records: number): Promise<boolean> {
    for (let waitMs = retryMinMs; ; waitMs = Math.min(waitMs * 2, retryMaxMs)) {
      try {
        await work();
        return true;
      } catch (error) {
        const askedMs = error instanceof JilianError ? (error.retryAfterMs ?? 0) : 0;
        const pauseMs = Math.min(Math.max(waitMs, askedMs), Math.max(waitMs, busyMaxMs));
        count(live.state, waitCounters.get(codeOf(error)) ?? "storeFailures");
        const remedy = error instanceof JilianError ? error.remedy : undefined;
        tellLimit(parts, error);
        log.error(
          {
            code: "STORE_WRITE",
            cause: codeOf(error),
            err: messageOf(error),
            remedy,
            records,
            waitMs: pauseMs,
          },
          stop.signal.aborted ? "the store took nothing; giving up" : "the store took nothing; asking again",
        );
        if (stop.signal.aborted) return false;
        // What is stored is told although the store fails now, repeats included.
        void notify();
        await pause(pauseMs, stop.signal);
      }
    }
  }

  async function storeAll(records: readonly QueuedRecord[]): Promise<boolean> {
    for (const batch of batchesOf(records)) {
      if (!(await store(batch))) return false;
      // Not waited for: a gateway that does not read its socket would hold up everyone's samples.
      void notify();
    }
    return true;
  }

  /**
   * What births changed of series that the store has, also where no sample follows for long: the time of a birth is known only now. In its
   * turn, when the samples before it have given their series numbers.
   */
  async function storeBirths(): Promise<boolean> {
    const births = queue.takeBirths();
    return births.length === 0 || (await insist(() => redefine(parts, births), 0));
  }

  async function run(): Promise<void> {
    let writable = true;
    while (!stop.signal.aborted) {
      await queue.ready(noticeIntervalMs, stop.signal);
      if (queue.samples() > 0 && queue.samples() < parts.batchSamples) await pause(parts.lingerMs, stop.signal);
      const records = queue.take(parts.batchSamples);
      if (records.length > 0) writable = await storeAll(records);
      else void notify();
      writable = (await storeBirths()) && writable;
    }
    while (writable && queue.samples() > 0) writable = await storeAll(queue.take(parts.batchSamples));
    if (writable) await storeBirths();
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
