import type { SampleColumns } from "../columns/columns.ts";
import type {
  ChangedColumns,
  ConnectionColumns,
  CountColumns,
  LeafColumns,
  ResultColumns,
  RollupColumns,
  StateColumns,
} from "../columns/packing.ts";
import type { ReadingColumns } from "../columns/readings.ts";
import type {
  CommitEntry,
  MinuteResultQuery,
  OnlineQuery,
  RollupUnit,
  Series,
  SeriesId,
  WantedSeries,
  Window,
  WriteOutcome,
} from "../telemetry.ts";

/** Windows as rows of one shared set of columns: window i is rows [firsts[i], firsts[i] + counts[i]). */
export type WindowColumns = { rows: SampleColumns; firsts: Int32Array<ArrayBuffer>; counts: Int32Array<ArrayBuffer> };

/** Likewise of readings. */
export type ReadingWindows = Omit<WindowColumns, "rows"> & { rows: ReadingColumns };

/** The store inside its thread: the contract's calls with rows as columns. What crosses a port is exactly this. */
export type Engine = {
  ensureSeries: (wanted: readonly WantedSeries[]) => Promise<SeriesId[]>;
  redefineSeries: (wanted: readonly WantedSeries[]) => Promise<void>;
  series: () => Promise<Series[]>;
  seriesChanges: () => Promise<number>;
  write: (samples: SampleColumns, commits: readonly CommitEntry[]) => Promise<WriteOutcome>;
  committed: () => Promise<CommitEntry[]>;
  lastTx: () => Promise<number>;
  read: (window: Window, limit: number) => Promise<SampleColumns>;
  readMany: (windows: readonly Window[]) => Promise<WindowColumns>;
  readWithNeighbours: (windows: readonly Window[]) => Promise<ReadingWindows>;
  latest: () => Promise<SampleColumns>;
  changedMinutes: (afterTx: number, upToTx: number) => Promise<ChangedColumns>;
  countSamples: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<CountColumns>;
  onlineMs: (devices: readonly OnlineQuery[], fromMs: number, toMs: number) => Promise<Float64Array<ArrayBuffer>[]>;
  writeLeaves: (leaves: LeafColumns, connections: ConnectionColumns, states: StateColumns) => Promise<void>;
  readLeaves: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<LeafColumns>;
  readStates: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<StateColumns>;
  readConnections: (devices: readonly string[], fromMs: number, toMs: number) => Promise<ConnectionColumns>;
  writeRollups: (rows: RollupColumns) => Promise<void>;
  readRollups: (unit: RollupUnit, keys: readonly string[], fromMs: number, toMs: number) => Promise<RollupColumns>;
  writeMinuteResults: (results: ResultColumns) => Promise<void>;
  readMinuteResults: (query: MinuteResultQuery) => Promise<ResultColumns>;
  showResults: (results: ResultColumns) => Promise<void>;
};

export type RunningEngine = {
  readonly engine: Engine;
  /** For the log: schema version found, number of series, last transaction. */
  readonly found: { schemaVersion: number; series: number; lastTx: number };
  /** Rejects what waits, lets what runs end, saves, checkpoints and releases the file. */
  readonly close: () => Promise<void>;
  /** Likewise without saving: what is acknowledged is on disk anyway. */
  readonly abandon: () => Promise<void>;
};
