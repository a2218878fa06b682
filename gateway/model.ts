import type { RecordId, RefusedSample } from "@jilian/domain/commit.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import type { EarlierDefinition, MetricDefinition, Sample } from "@jilian/domain/sample.ts";

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
  /**
   * What has come in and no read has taken, when no read follows; absent where the device tells nothing by itself. Callable while it is
   * connected.
   */
  readonly rest?: () => RawReading[];
  /** Has a group of tags that is read seldom read at the next poll; absent where the protocol has none. @returns whether there is one of that name */
  readonly ask?: (group: string) => boolean;
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
export type KnownMetric = {
  id: number;
  device: string;
  definition: MetricDefinition;
  /** Since when it is so, of source times, UTC ms, where it was something else before; 0 where nothing else is known. */
  sinceMs: number;
  /** What it was before that, earliest first, from the first one on of which a record may be pending. */
  earlier: readonly EarlierDefinition[];
};

/** What is known beside an outbox of the time since when the metrics of a device are what they are. */
export type KnownTimes = {
  /** Of each metric, as another outbox has it; 0 where it has none. */
  readonly sinceMs?: readonly number[];
  /** Of each metric, what it was before that. */
  readonly earlier?: readonly (readonly EarlierDefinition[])[];
  /** Greatest source time among its readings. An outbox alone also knows samples that the gateway made, by its own clock: accounts. */
  readonly lastReadingMs?: number;
};

/** A record that was set aside, with the names of its metrics; without samples when its bytes cannot be read back. */
export type AsideRecord = RecordId & {
  writtenAtMs: number;
  device: string;
  reason: string;
  samples: readonly (StoredSample & { metric: string })[];
};

/** Why readings were dropped: no room, older than `maxAgeMs`, or the medium could not be written. */
export type DropReason = "full" | "age" | "unwritable";

/** What was dropped of one metric since the file was made: samples, and the source times from the first to the last of them, UTC ms. */
export type MetricDrops = { device: string; metric: string; samples: number; firstMs: number; lastMs: number };

/** Who the file is. `box` is random and made with the file: 16 hexadecimal digits. */
export type OutboxIdentity = {
  /** Empty while the file could never be opened and readings wait in memory: unknown, not another box. */
  box: string;
  /**
   * Durable count of the epochs that were begun: one for each opening, this one included, and one for each renewal. So a number comes
   * with two epochs only when a file was copied or set back. 0 where `box` is unknown.
   */
  starts: number;
};

/** What a file knew, when it was opened, of the last of its earlier epochs that it has records of. */
export type PreviousEpoch = RecordId & { writtenAtMs: number };

/** What the platform has not confirmed. */
export type Pending = {
  pendingRecords: number;
  pendingBytes: number;
  /** Time of writing of the oldest of it, UTC ms. */
  oldestWrittenAtMs: number | undefined;
};

/** What is pending is here or, in memory, in the file that was left for it and waits for its medium. */
export type OutboxStats = Pending & {
  /** Samples dropped because the outbox was full or could not be written, or because they were too old, since the file was made. */
  droppedSamples: number;
  /** The same by reason, counted since the program knows reasons: an older file's drops are in the total alone. */
  droppedByReason: Readonly<Record<DropReason, number>>;
  /**
   * Records set aside because they could not be read back or not be stored by the platform, since the file was made; of a damaged file one
   * at once, and in the end what of it could not be read.
   */
  setAsideRecords: number;
  /** Of these, records that are set aside now. */
  asideRecords: number;
  /** Records set aside that are gone: to make room for later ones, or by command. */
  droppedAsideRecords: number;
  /** Earlier definitions of metrics that were forgotten, since there were more than are kept, while readings of their time were pending. */
  forgottenDefinitions: number;
};

/**
 * Note of an outbox: the raise of source times that a power cut made necessary, ms. Kept until the accounts, which have source times of
 * their own, have made theirs as durable and delete it: whoever opens the file first after the power cut may not be the gateway.
 */
export const raiseNote = "raisedMs";

/** Every reading on disk until the platform's store has confirmed it (CONTRACTS 2). All calls are synchronous. */
export type Outbox = {
  /** Under which records are written now, 16 hexadecimal digits: random per start, another after {@link Outbox.renewEpoch}. */
  readonly epoch: string;
  /** The offset that the next record gets in that epoch. */
  readonly nextOffset: () => number;
  readonly identity: OutboxIdentity;
  /**
   * The last record that an earlier epoch of this file can have had, what a power cut may have taken of it included: a later one that
   * the platform has stored came from a newer state of the file, and this one is an image. Undefined where the file does not tell.
   */
  readonly previous: PreviousEpoch | undefined;
  /**
   * Declares the metrics of a device and gives their stable ids, in the order given. A changed definition keeps its id.
   * @param known what others know of the time since when each is so
   */
  readonly declare: (device: string, definitions: readonly MetricDefinition[], known?: KnownTimes) => number[];
  /** Every metric that is declared now or still has samples pending, by id: what births must list. */
  readonly metrics: () => KnownMetric[];
  /** The greatest source time ever written for a device, durable; 0 when none. Seeds shaping after a restart. */
  readonly lastSourceTimeMs: (device: string) => number;
  /** By how much those times were raised, for what a power cut may have taken of them, until {@link raiseNote} is deleted; 0 otherwise. */
  readonly raisedMs: number;
  /** Writes one record; undefined when it could not be: it is written before the next one that can be, or was dropped (counted). */
  readonly write: (device: string, samples: readonly StoredSample[]) => OutboxRecord | undefined;
  /** Frees what the store has confirmed. Ranges that are unknown here do no harm. Returns how many records were freed. */
  readonly commit: (epoch: string, ranges: readonly Range[]) => number;
  /**
   * Whether a record that is pending here has an offset of those ranges and was written at another time, so that another one is meant.
   * @param writtenAtMs one time for each record of the ranges, in their order, UTC ms
   * @returns undefined when the file cannot be read
   */
  readonly isOther: (epoch: string, ranges: readonly Range[], writtenAtMs: readonly number[]) => boolean | undefined;
  /** Pending records, oldest first, after a position. */
  readonly pending: (after: number, limit: number) => { record: OutboxRecord; position: number }[];
  readonly pendingOf: (device: string) => number;
  /** Next value of the durable birth/death counter, 0-255 (Sparkplug 3.0, bdSeq). */
  readonly nextBdSeq: () => number;
  /**
   * Keeps a pending record for a person to look at, and sends it no more; with `only`, those samples of it, and the others are freed.
   * Returns whether that was done: nothing is when the record is not pending or lacks one of the samples, or the file cannot be written.
   */
  readonly setAside: (id: RecordId, reason: string, only?: readonly RefusedSample[]) => boolean;
  /**
   * Replaces a pending record of two or more samples by two, halves in time order, under the current epoch with fresh offsets and the
   * present as their time of writing, in one transaction. Empty when the record is unknown, holds one sample, or the file cannot be written.
   */
  readonly split: (id: RecordId) => OutboxRecord[];
  /** Records set aside, oldest first. */
  readonly asides: (limit: number) => AsideRecord[];
  /**
   * Moves records set aside back into the queue as new ones of the current epoch, oldest first; those that cannot be read stay. Ends soon after
   * `atMost` of them, where that is given. Returns how many.
   */
  readonly replayAsides: (ids: readonly RecordId[] | "all", atMost?: number) => number;
  /** Deletes records set aside for good. Ends soon after `atMost` of them, where that is given. Returns how many. */
  readonly dropAsides: (ids: readonly RecordId[] | "all", atMost?: number) => number;
  /**
   * Gives an epoch another random name: pending records keep their offsets under it, and when it is the current one (as without an
   * argument) the process goes on under it. For a gateway set back to an earlier image, whose (epoch, offset) the platform may know
   * with other content. Returns the epoch in use afterwards.
   */
  readonly renewEpoch: (of?: string) => string;
  /** Keeps a small text (undefined: deletes it), durable with the next transaction whichever it is. */
  readonly note: (key: string, value: string | undefined) => void;
  /** The texts kept under keys that begin so. */
  readonly notes: (prefix: string) => Map<string, string>;
  /**
   * Keeps one short text for a device, durable as a note is, in the row that each record of the device writes anyway. It does not go with
   * the notes when one outbox takes another's place.
   */
  readonly noteDevice: (device: string, text: string) => void;
  /** That text; empty when there is none. */
  readonly noteOf: (device: string) => string;
  /** What was dropped, by metric. */
  readonly droppedByMetric: () => MetricDrops[];
  readonly stats: () => OutboxStats;
  readonly close: () => Promise<void>;
};
