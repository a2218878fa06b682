import type { Clock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { counterRoles, isRole, roles } from "@jilian/domain/roles.ts";
import { type MetricDefinition, stalenessWindowMs } from "@jilian/domain/sample.ts";
import type { Logger } from "pino";
import type { HistorySetting } from "./history-config.ts";
import {
  addSample,
  closeBefore,
  createSeries,
  type HistoryKind,
  type Quarter,
  quarterMs,
  quarterOf,
  runningOf,
  type Series,
  type SeriesFile,
  settle,
} from "./history-quarter.ts";
import { daysThatFit, tooShort } from "./history-reach.ts";
import { historyStore } from "./history-store.ts";
import type { HistoryTag } from "./history-tables.ts";
import { atMostEvery } from "./log-limit.ts";
import type { CollectorEvents, ShapedSample } from "./model.ts";

/** A reading is taken so long after the end of its quarter hour, in the clock that was passed in. */
export const latenessMs = 60_000;
/**
 * How often what runs is written: what a kill costs at most of means, extremes and seconds. Registers cost nothing: they are read again.
 * Measured with 1,000 tags: 37 MB a day go to the medium (16 without, 121 with one each minute), 6.6 MB of it stay; flash cards wear.
 */
const checkpointMs = 300_000;
const tickMs = 1000;
/** Quarter hours of single tags that wait for a medium which fails; about 5 MB. */
const maxWaiting = 20_000;

export type HistoryStats = {
  /** Whether the last write reached the file. */
  isWritable: boolean;
  /** Size of what the file holds. */
  bytes: number;
  /** Begin of the oldest quarter hour in the file, UTC ms; undefined where there is none. */
  oldestMs: number | undefined;
  /** How many days of the tags of now will fit, reckoned. */
  fitsDays: number;
  /** Rows that wait to be written. */
  waitingRows: number;
  /** Rows lost because the file could not be written for too long. */
  droppedRows: number;
  /** Readings of a quarter hour that was closed already: they count from there on. */
  lateSamples: number;
  /** Readings not later than what is written, after a clock that ran back: left out. */
  olderSamples: number;
  /** Rows that were not written because the file holds later ones of the same time. */
  refusedRows: number;
  /** Faults of the history itself. */
  errors: number;
};

export type HistoryOptions = HistorySetting & {
  group: string;
  node: string;
  clock: Clock;
  log: Logger;
  retryMs?: number;
  checkpointMs?: number;
  tickMs?: number;
};

const plainNumbers: ReadonlySet<number> = new Set([
  ...[DataType.Int8, DataType.Int16, DataType.Int32, DataType.Int64],
  ...[DataType.UInt8, DataType.UInt16, DataType.UInt32, DataType.UInt64],
  ...[DataType.Float, DataType.Double],
]);

function kindOf({ role, datatype }: MetricDefinition): HistoryKind | undefined {
  if (datatype === DataType.Boolean) return "state";
  if (!plainNumbers.has(datatype)) return undefined;
  if (!isRole(role)) return "gauge";
  return (counterRoles as readonly string[]).includes(role) ? "counter" : roles[role].kind;
}

/** What the history keeps of a metric; undefined for a text or a time. */
export function historyTag(device: string, definition: MetricDefinition): HistoryTag | undefined {
  const kind = kindOf(definition);
  if (kind === undefined) return undefined;
  const { name, unit = "", modulus = "", datatype, simulated } = definition;
  const ofCounter = kind === "counter" ? modulus : "";
  return { device, name, kind, unit, modulus: ofCounter, float32: datatype === DataType.Float, simulated };
}

const isSame = (a: HistoryTag, b: HistoryTag): boolean => JSON.stringify(a) === JSON.stringify(b);

/**
 * Keeps the box's own history: of each metric with a number and each quarter hour of UTC its register, mean, extremes and seconds of good
 * quality, for months, whatever becomes of the platform. The technical specification of the national energy monitoring asks an end device
 * for values each 15 minutes and to keep them for more than 6 months and export them easily (《重点用能单位能耗在线监测系统技术规范 第6部分 端设备
 * 技术规范》, as quoted at http://www.fysdcqb.cn/xinwendongtai/808.html; the specification itself was not at hand).
 *
 * It stands beside collection and never in its way: nothing thrown here passes on, a medium that fails disables it, and it goes on by
 * itself. What waits is bounded.
 */
export function startHistory(options: HistoryOptions) {
  const { clock, log } = options;
  const tell = atMostEvery(60_000);
  const store = historyStore({ ...options, retryMs: options.retryMs ?? 10_000, nowMs: clock.now });
  const devices = new Map<string, Map<string, Series<HistoryTag>>>();
  let waiting: (readonly [HistoryTag, Quarter])[] = [];
  let closedBefore = Number.NEGATIVE_INFINITY;
  let checkpointedMs = performance.now();
  let isReckoned = false;
  let fitsDays = options.keepDays;
  let shortTold = "";
  const counts = { droppedRows: 0, lateSamples: 0, olderSamples: 0, refusedRows: 0, errors: 0 };

  function guard(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      counts.errors += 1;
      tell(() =>
        log.error(
          { code: "HISTORY_FAILED", found: messageOf(thrown), err: thrown },
          "the history has a defect; readings go on",
        ),
      );
    }
  }

  function tellOlder(found: string): void {
    tell((heldBack) =>
      log.warn(
        { code: "HISTORY_OLDER_ROWS", found, heldBack },
        "not later than what the history holds of the same time: what it holds is kept",
      ),
    );
  }

  const file: SeriesFile<HistoryTag> = {
    written: store.written,
    before: store.before,
    onEnded: (tag, ended) => {
      waiting.push([tag, ended]);
    },
  };

  function record(tag: HistoryTag, heartbeatMs: number | undefined): Series<HistoryTag> {
    const modulus = tag.modulus === "" ? undefined : Number(tag.modulus);
    return createSeries({ key: tag, file, kind: tag.kind, holdMs: stalenessWindowMs(heartbeatMs), modulus });
  }

  function define(device: string, definitions: readonly MetricDefinition[]): void {
    const before = devices.get(device);
    const now = new Map<string, Series<HistoryTag>>();
    for (const definition of definitions) {
      const tag = historyTag(device, definition);
      if (!tag) continue;
      const known = before?.get(tag.name);
      const goesOn = known !== undefined && isSame(known.key, tag);
      if (goesOn) known.holdMs = stalenessWindowMs(definition.heartbeatMs);
      now.set(tag.name, goesOn ? known : record(tag, definition.heartbeatMs));
    }
    // What is defined otherwise now begins anew; what it was until now is kept.
    for (const [name, series] of before ?? []) {
      const open = now.get(name) === series ? undefined : runningOf(series, clock.now());
      if (open) waiting.push([series.key, open]);
    }
    devices.set(device, now);
    isReckoned = false;
    // At once: a definition that comes back soon goes on from what is written.
    if (waiting.length > 0 && write(waiting)) waiting = [];
  }

  function take(device: string, samples: readonly ShapedSample[]): void {
    const of = devices.get(device);
    let older = 0;
    for (let i = 0; i < samples.length; i += 1) {
      const sample = samples[i] as ShapedSample;
      const series = of?.get(sample.metric);
      const taken = series && addSample(series, sample);
      if (taken === "late") counts.lateSamples += 1;
      else if (taken === "older") older += 1;
    }
    counts.olderSamples += older;
    if (older > 0) tellOlder(`${older} readings of ${device}`);
    if (waiting.length > maxWaiting) drop();
  }

  function drop(): void {
    const tags = [...devices.values()].reduce((sum, { size }) => sum + size, 0);
    const most = Math.max(maxWaiting, 2 * tags);
    if (waiting.length <= most) return;
    counts.droppedRows += waiting.length - most;
    waiting = waiting.slice(-most);
  }

  function* all(): Generator<Series<HistoryTag>> {
    for (const of of devices.values()) yield* of.values();
  }

  /** How far back the history of the tags of now can reach, and a warning where that is less than it is kept for. */
  function reckon(): void {
    isReckoned = true;
    const kinds = [...all()].map(({ kind }) => kind);
    fitsDays = daysThatFit(kinds, options);
    const short = tooShort(kinds, options);
    if (short && short.found !== shortTold)
      log.warn({ code: "HISTORY_SHORT", ...short }, "the history will not reach back six months");
    shortTold = short?.found ?? "";
  }

  function write(rows: readonly (readonly [HistoryTag, Quarter])[]): boolean {
    if (rows.length === 0) return true;
    const refused = store.write(rows);
    if (refused === undefined) return false;
    counts.refusedRows += refused;
    if (refused > 0) tellOlder(`${refused} rows`);
    return true;
  }

  /** Everything that has ended, and what runs as far as it is. */
  function writeAll(isLast = false): void {
    if (isLast) for (const series of all()) settle(series, clock.now());
    const running = [...all()].flatMap((series) => {
      const open = runningOf(series, clock.now());
      return open ? [[series.key, open] as const] : [];
    });
    if (write([...waiting, ...running])) waiting = [];
    checkpointedMs = performance.now();
  }

  function tick(): void {
    // Not in `define`: the devices of a start are told one by one.
    if (!isReckoned) reckon();
    const before = quarterOf(clock.now() - latenessMs);
    if (before !== closedBefore) {
      closedBefore = before;
      for (const series of all()) closeBefore(series, before);
    }
    const interval = (options.checkpointMs ?? checkpointMs) / clock.rate;
    if (performance.now() - checkpointedMs >= interval) writeAll();
    else if (waiting.some((row) => row[1].quarter < before)) {
      const ended = waiting.filter(([, { quarter }]) => quarter < before);
      if (write(ended)) waiting = waiting.filter(([, { quarter }]) => quarter >= before);
    } else store.tidy();
    drop();
  }

  function oldestMs(): number | undefined {
    const oldest = store.oldest();
    return oldest === undefined ? undefined : oldest * quarterMs;
  }

  const timer = setInterval(() => guard(tick), options.tickMs ?? tickMs);
  let closing: Promise<void> | undefined;

  async function closeAll(): Promise<void> {
    clearInterval(timer);
    guard(() => writeAll(true));
    await store.close();
  }

  return {
    /** The events, and what the history takes of them, after them: a reading is on its way before it is counted here. */
    beside: (events: CollectorEvents): CollectorEvents => ({
      onConnection: events.onConnection,
      onDefinitions: (device, definitions) => {
        events.onDefinitions(device, definitions);
        guard(() => define(device, definitions));
      },
      onSamples: (device, samples) => {
        try {
          events.onSamples(device, samples);
        } finally {
          guard(() => take(device, samples));
        }
      },
    }),
    stats: (): HistoryStats => ({
      ...counts,
      isWritable: store.isWritable(),
      bytes: store.bytes(),
      oldestMs: oldestMs(),
      fitsDays,
      waitingRows: waiting.length,
    }),
    /** Writes what is in memory, the quarter hour that runs included, and closes the file. */
    close: (): Promise<void> => {
      closing ??= closeAll();
      return closing;
    },
  };
}

export type History = ReturnType<typeof startHistory>;
