import type { MessagePort } from "node:worker_threads";
import type { Value } from "@jilian/domain/datatypes.ts";
import type { CounterLeaf } from "@jilian/domain/leaf.ts";
import type { Period } from "@jilian/domain/periods.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import type { Level, Result } from "@jilian/domain/result.ts";
import type { EarlierDefinition, MetricDefinition, SeriesKey } from "@jilian/domain/sample.ts";
import type { StateLeaf } from "@jilian/domain/state-leaf.ts";
import type { Readings } from "./columns/readings.ts";
import type { DatedDefinition } from "./series-versions.ts";

/** Number of a series in this store; small and dense. */
export type SeriesId = number;

/** A series as the store knows it: where it lives and what its newest birth said of it. */
export type Series = SeriesKey & {
  readonly id: SeriesId;
  readonly definition: MetricDefinition;
  /** Everything that births said of it over time, earliest first; absent where they always said the same (series-versions.ts). */
  readonly dated?: readonly DatedDefinition[];
};

/** A series as a birth declares it. */
export type WantedSeries = SeriesKey & {
  readonly definition: MetricDefinition;
  /** From when on it is so, UTC ms; absent for since ever, whatever was known. */
  readonly sinceMs?: number;
  /** From when on it is not certain that it was still what was known before; absent for `sinceMs`. */
  readonly doubtMs?: number;
  /** When the birth was that says so, UTC ms, where `sinceMs` is told by its gateway; absent for `sinceMs`. */
  readonly bornMs?: number;
  /** What it was before `sinceMs`, as its gateway tells, earliest first; each until the next one. */
  readonly earlier?: readonly EarlierDefinition[];
};

/** One sample to store. */
export type SampleRow = {
  series: SeriesId;
  sourceTimeMs: number;
  value: Value;
  /** OPC UA StatusCode. Always written. */
  status: number;
  gatewayTimeMs: number;
  ingestTimeMs: number;
};

/** A stored sample, with the store transaction that wrote it. */
export type StoredRow = SampleRow & { tx: number };

/** What a batch completes: outbox offsets of one gateway, written in the same transaction as the samples. */
export type CommitEntry = { group: string; node: string; epoch: string; ranges: readonly Range[] };

export type WriteBatch = { samples: readonly SampleRow[]; commits: readonly CommitEntry[] };

export type WriteOutcome = {
  /** Number of this transaction; grows by one with each. A batch that leaves nothing to store makes none: then it is the last one's. */
  tx: number;
  /** Samples stored by it. */
  written: number;
  /** Samples whose (series, source time) was stored already with the same content: left out. */
  duplicates: number;
  /** Samples whose key was stored already with another value: left out, the first stays; a finding (CONTRACTS 3). */
  conflicts: number;
};

/** A window of one series, [fromMs, toMs). */
export type Window = { series: SeriesId; fromMs: number; toMs: number };

/** The minutes of a series that got samples in a range of transactions, with the first and last new source time in each. */
export type ChangedMinute = { series: SeriesId; minuteMs: number; firstMs: number; lastMs: number };

/** How many samples of a series are stored whose source time lies in an hour. */
export type SampleCount = { series: SeriesId; hourMs: number; samples: number };

/** A stored counter leaf: one device, role, carrier or product, minute. */
export type LeafRow = {
  series: SeriesId;
  minuteMs: number;
  leaf: CounterLeaf;
};

/** A stored state leaf: one `machine.state` series, minute. */
export type StateRow = { series: SeriesId; minuteMs: number; leaf: StateLeaf };

/** A device's connection in a minute. `device` is `factory/gateway/device`. */
export type ConnectionRow = { device: string; minuteMs: number; onlineMs: number };

/** Stretches of which rollups are kept: whole ones in Asia/Shanghai. */
export type RollupUnit = "hour" | "day" | "month";
/** Merged leaves of a subject over an hour, day or month (domain/rollup.ts): derived from leaves, made again where it is missing. */
export type RollupRow = { unit: RollupUnit; startMs: number; key: string; body: string };
/** Whose online time is asked for: a device, and the series that count for it, each with how long a sample of it keeps the device online. */
export type OnlineQuery = { device: string; series: readonly { id: SeriesId; windowMs: number }[] };

export type ResultQuery = {
  indicator?: string;
  level: Level;
  entity?: string;
  period: Period;
  fromMs: number;
  toMs: number;
  limit: number;
};
/** Of minutes also those of all levels, or of some entities of whatever level. */
export type MinuteResultQuery = Omit<ResultQuery, "level"> & { level?: Level; entities?: readonly string[] };

/** Errors of a write by which a server says that lines are at fault. */
export const lineFaults: ReadonlySet<string> = new Set(["VALUE_MISFIT", "SAMPLE_TOO_LATE"]);
/** Errors of `write` by which a store says that the batch is at fault, and not the store. */
export const batchFaults: ReadonlySet<string> = new Set([...lineFaults, "SERIES_UNKNOWN", "COMMIT_RANGE_INVALID"]);

/**
 * Where samples, leaves and minute results live. Implementations: DuckDB (embedded) and InfluxDB. One suite holds both.
 * Every write is idempotent: writing the same batch twice stores everything once.
 */
export type Telemetry = {
  /** Numbers of the series, made where new; a changed definition is put in its place in time. In the order given. */
  readonly ensureSeries: (wanted: readonly WantedSeries[]) => Promise<SeriesId[]>;
  /** As `ensureSeries`, of the series that the store has: what births say is worth keeping without a sample where it changes something. */
  readonly redefineSeries: (wanted: readonly WantedSeries[]) => Promise<void>;
  readonly series: () => Promise<Series[]>;
  /** A number that is another one whenever `series` answers otherwise than before, until the store is closed. */
  readonly seriesChanges: () => Promise<number>;
  /**
   * Stores a batch and its commit ranges in one transaction; resolves only when it survives a kill of the process.
   * @throws JilianError VALUE_MISFIT for NaN, an infinity, an integer beyond 64 bits, a time that is not whole milliseconds since 1970 or
   * what the server refuses, SAMPLE_TOO_LATE, SERIES_UNKNOWN, COMMIT_RANGE_INVALID: the batch is at fault, and nothing of it counts;
   * anything else: the store is, STORE_BUSY_REMOTE for now and with `retryAfterMs` where it asked for time, STORE_LIMIT until somebody
   * raises a limit of its configuration. DuckDB has then stored nothing; InfluxDB, which has no transactions, perhaps a part, which counts once the batch has come again
   */
  readonly write: (batch: WriteBatch) => Promise<WriteOutcome>;
  /** Every committed range, merged, per gateway and epoch. */
  readonly committed: () => Promise<CommitEntry[]>;
  /** Number of the last transaction. */
  readonly lastTx: () => Promise<number>;
  /** Samples of a series in [fromMs, toMs), by source time, each key once. */
  readonly read: (window: Window, limit: number) => Promise<StoredRow[]>;
  /** Samples of many windows, of any quality, each by source time, each key once: one question for all, where `read` would be one each. */
  readonly readMany: (windows: readonly Window[]) => Promise<StoredRow[][]>;
  /**
   * For each window its usable samples (status good or uncertain, value not null) and the nearest usable one before and after it,
   * by source time: what a leaf depends on (CONTRACTS 4). As columns: most of what is read is folded, and objects would cost more than all else.
   */
  readonly readWithNeighbours: (windows: readonly Window[]) => Promise<Readings[]>;
  /** Newest sample of every series, by source time. */
  readonly latest: () => Promise<StoredRow[]>;
  /** What transactions in (afterTx, upToTx] changed. */
  readonly changedMinutes: (afterTx: number, upToTx: number) => Promise<ChangedMinute[]>;
  /**
   * Stored samples of the series by hour of their source time in [fromMs, toMs), of any quality, each key once; by series as they are
   * numbered and hour, hours without any are absent. fromMs and toMs are whole hours.
   */
  readonly countSamples: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<SampleCount[]>;
  /**
   * Milliseconds per minute in which each device was online: some sample of good quality of its series was younger than the series' window.
   * One row for each device and each minute that begins in [fromMs, toMs), zeros included, by device as asked and minute. Many devices in one
   * call, because they share one scan. fromMs is a whole minute; of a last minute that toMs cuts, the time until toMs counts.
   */
  readonly onlineMs: (devices: readonly OnlineQuery[], fromMs: number, toMs: number) => Promise<ConnectionRow[]>;
  /** Writes leaves; the newest of a (series, minute) counts. */
  readonly writeLeaves: (
    leaves: readonly LeafRow[],
    connections: readonly ConnectionRow[],
    states?: readonly StateRow[],
  ) => Promise<void>;
  /** Leaves of the series in [fromMs, toMs), by series and minute, each once; minutes without a leaf are absent. */
  readonly readLeaves: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<LeafRow[]>;
  /** Likewise for states. */
  readonly readStates: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<StateRow[]>;
  /** Likewise for connections; an empty list of devices means all. */
  readonly readConnections: (devices: readonly string[], fromMs: number, toMs: number) => Promise<ConnectionRow[]>;
  /** Writes rollups; the newest of a (unit, start, key) counts. An empty body withdraws one. */
  readonly writeRollups: (rows: readonly RollupRow[]) => Promise<void>;
  /** Rollups of a unit that begin in [fromMs, toMs), in any order; an empty list of keys means all. */
  readonly readRollups: (
    unit: RollupUnit,
    keys: readonly string[],
    fromMs: number,
    toMs: number,
  ) => Promise<RollupRow[]>;
  /** Appends minute results, and those of lines; the newest of a key counts in reads, older ones stay. */
  readonly writeMinuteResults: (results: readonly Result[]) => Promise<void>;
  /** Minute results, by start, entity, indicator. */
  readonly readMinuteResults: (query: MinuteResultQuery) => Promise<Result[]>;
  /**
   * Shows figures of quarter hours and longer where displays read them: InfluxDB's measurement `kpi`, which also holds the minute results. A store
   * that displays do not read does nothing. Never the truth: that is the ledger.
   */
  readonly showResults: (results: readonly Result[]) => Promise<void>;
  /** A port for another worker thread of this process, to be transferred and given to `connectTelemetry`. */
  readonly port: () => Promise<MessagePort>;
  /** Ends the store; calls that have not begun are rejected (STORE_CLOSED) and did nothing. Over a port: ends this use of it only. */
  readonly close: () => Promise<void>;
};
