import type { RecordId } from "@jilian/domain/commit.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import type { MetricDefinition, Sample } from "@jilian/domain/sample.ts";

/**
 * What the parts of a gateway hand to each other. A reading goes driver -> collect -> shape -> outbox -> edge node; nothing goes back
 * toward a machine.
 */

/** What a driver read for one tag: the raw value at its native width, before scaling. */
export type RawReading = {
  /** Position of the tag in the device's configuration. */
  tag: number;
  value: Value;
  /** OPC UA StatusCode: a tag that could not be read turns bad alone, with its reason. */
  status: number;
  /** When the value was true, UTC ms, where the protocol tells; without it the reading is as old as the read. Modbus has none. */
  sourceTimeMs?: number;
};

/**
 * One device of one protocol. A driver reads or throws (JilianError with `status`); it never retries, reconnects or keeps a timer:
 * collect.ts does, once for all protocols.
 */
export type Driver = {
  /** Opens the connection; tells whether a simulator answers (CONTRACTS 6). Callable again after a failure. */
  readonly connect: (signal: AbortSignal) => Promise<{ simulated: boolean }>;
  /**
   * Reads every tag; where the device tells changes by itself, all of them since the last read, of one tag in the order of their times.
   * @throws JilianError when the device as a whole cannot be read
   */
  readonly read: (signal: AbortSignal) => Promise<RawReading[]>;
  readonly close: () => Promise<void>;
};

/** A shaped sample of one metric of a device: scaled, filtered, with a strictly increasing source time. */
export type ShapedSample = Sample & { metric: string };

/** Whether a device can be read, and if not, why: a stable code and one line for people. */
export type Connection = { connected: boolean; status: number; reason: string };

/** What the collector tells the rest of the gateway. */
export type CollectorEvents = {
  /** Samples of one device from one poll that passed shaping. Must be on disk when this returns. */
  readonly onSamples: (device: string, samples: readonly ShapedSample[]) => void;
  readonly onConnection: (device: string, connection: Connection) => void;
  /** The metrics of a device as they are now known (once at start; again when a simulator is recognised). */
  readonly onDefinitions: (device: string, definitions: readonly MetricDefinition[]) => void;
};

/** A sample in the outbox, by the stable id of its metric. */
export type StoredSample = Sample & { metricId: number };

export type OutboxRecord = RecordId & { writtenAtMs: number; device: string; samples: readonly StoredSample[] };

/** A metric that the outbox knows: the stable id is also its Sparkplug alias. */
export type KnownMetric = { id: number; device: string; definition: MetricDefinition };

export type OutboxStats = {
  pendingRecords: number;
  pendingBytes: number;
  /** Time of writing of the oldest pending record, UTC ms. */
  oldestWrittenAtMs: number | undefined;
  /** Samples dropped because the outbox was full or could not be written, since the file was made. */
  droppedSamples: number;
  /** Records set aside because they could not be read back or not be stored by the platform. */
  setAsideRecords: number;
};

/** Every reading on disk until the platform's store has confirmed it (CONTRACTS 2). All calls are synchronous. */
export type Outbox = {
  /** Random per start, 16 hexadecimal digits. */
  readonly epoch: string;
  /** Declares the metrics of a device and gives their stable ids, in the order given. A changed definition keeps its id. */
  readonly declare: (device: string, definitions: readonly MetricDefinition[]) => number[];
  /** Every metric that is declared now or still has samples pending, by id: what births must list. */
  readonly metrics: () => KnownMetric[];
  /** The greatest source time ever written for a device, durable; 0 when none. Seeds shaping after a restart. */
  readonly lastSourceTimeMs: (device: string) => number;
  /** Writes one record; undefined when it had to be dropped (full or unwritable, counted). */
  readonly write: (device: string, samples: readonly StoredSample[]) => OutboxRecord | undefined;
  /** Frees what the store has confirmed. Ranges that are unknown here do no harm. Returns how many records were freed. */
  readonly commit: (epoch: string, ranges: readonly Range[]) => number;
  /** Pending records, oldest first, after a position. */
  readonly pending: (after: number, limit: number) => { record: OutboxRecord; position: number }[];
  readonly pendingOf: (device: string) => number;
  /** Next value of the durable birth/death counter, 0-255 (Sparkplug 3.0, bdSeq). */
  readonly nextBdSeq: () => number;
  readonly setAside: (id: RecordId, reason: string) => void;
  readonly stats: () => OutboxStats;
  readonly close: () => Promise<void>;
};
