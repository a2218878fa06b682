import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataType, type DataTypeNumber } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { MetricDefinition, Sample } from "@jilian/domain/sample.ts";
import { pino } from "pino";
import { expect, vi } from "vitest";
import { type History, type HistoryOptions, startHistory } from "./history.ts";
import { openHistoryToRead } from "./history-file.ts";
import {
  addSample,
  closeBefore,
  createSeries,
  type Quarter,
  quarterMs,
  quarterOf,
  runningOf,
  type SeriesFile,
  type SeriesOptions,
  settle,
} from "./history-quarter.ts";
import { readRows, readTags } from "./history-read.ts";
import type { HistoryRow, KnownTag } from "./history-tables.ts";
import type { CollectorEvents, ShapedSample } from "./model.ts";
import { noEvents } from "./test-collect.ts";

/** For tests: 2026-11-01 00:00 in Shanghai. */
export const firstMs = Date.UTC(2026, 9, 31, 16);

export const energy: MetricDefinition = {
  ...{ name: "energy", datatype: DataType.Double as DataTypeNumber, role: "energy.import", unit: "kWh" },
  ...{ modulus: "1000", heartbeatMs: 60_000, simulated: false },
};
export const power: MetricDefinition = {
  ...{ name: "power", datatype: DataType.Float as DataTypeNumber, unit: "kW", heartbeatMs: 60_000, simulated: false },
};
export const state: MetricDefinition = {
  ...{ name: "state", datatype: DataType.UInt16 as DataTypeNumber, role: "machine.state", unit: "1" },
  ...{ heartbeatMs: 60_000, simulated: false },
};

export type HistoryBench = ReturnType<typeof historyBench>;

/** For tests: histories on real files in a folder of their own, at a time that stands still until it is set. */
export function historyBench() {
  const folder = mkdtempSync(join(tmpdir(), "jilian-history-"));
  const path = join(folder, "outbox.db.history");
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const time = { nowMs: firstMs };
  const open: { history: History; events: CollectorEvents }[] = [];
  const silent: CollectorEvents = noEvents;

  function start(options: Partial<HistoryOptions> = {}, definitions = [energy, power, state], inner = silent) {
    const history = startHistory({
      ...{ path, keepDays: 400, maxBytes: 1e9, group: "factory-1", node: "gateway-1", log },
      ...{ clock: { now: () => time.nowMs, rate: 1 }, tickMs: 5, retryMs: 20, ...options },
    });
    const events = history.beside(inner);
    events.onDefinitions("meter", definitions);
    const started = { history, events };
    open.push(started);
    return started;
  }

  return {
    folder,
    path,
    lines,
    time,
    codes: () => lines.map(({ code }) => code),
    start,
    /** Sets the clock and gives one sample of each metric that has a value. */
    put(
      to: { events: CollectorEvents },
      atMs: number,
      values: Record<string, number | bigint | boolean | null>,
      status = Status.Good as number,
    ) {
      time.nowMs = atMs;
      const samples: ShapedSample[] = Object.entries(values).map(([metric, value]) => ({
        ...{ metric, value, status, sourceTimeMs: atMs, gatewayTimeMs: atMs },
      }));
      to.events.onSamples("meter", samples);
    },
    /** What the file holds, read as another process reads it. */
    read(): { rows: HistoryRow[]; tags: Map<number, KnownTag> } {
      using db = openHistoryToRead(path, "factory-1", "gateway-1");
      const tags = readTags(db);
      return { tags, rows: [...readRows(db, 0, 1e9, new Set(tags.keys()))] };
    },
    async stop(started: { history: History }): Promise<void> {
      await started.history.close();
    },
    async close(): Promise<void> {
      for (const { history } of open) await history.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** For tests: waits until the file has so many quarter hours of a metric. */
export async function written(bench: HistoryBench, count: number): Promise<HistoryRow[]> {
  let rows: HistoryRow[] = [];
  await vi.waitFor(
    () => {
      rows = bench.read().rows;
      expect(rows.length).toBeGreaterThanOrEqual(count);
    },
    { timeout: 10_000, interval: 10 },
  );
  return rows;
}

export const firstQuarter = quarterOf(firstMs);
export const at = (quarters: number, ms = 0): number => firstMs + quarters * quarterMs + ms;

/** A series of its own, with what it reads and writes, driven by methods. */
export function seriesOf(
  setting: Omit<SeriesOptions<undefined>, "key" | "file"> & {
    readonly written?: (quarter: number) => Quarter | undefined;
    readonly before?: (quarter: number) => Quarter | undefined;
    readonly onEnded?: (ended: Quarter) => void;
  },
) {
  const { written = () => undefined, before = () => undefined, onEnded = () => undefined, ...options } = setting;
  const file: SeriesFile<undefined> = {
    written: (_, quarter) => written(quarter),
    before: (_, quarter) => before(quarter),
    onEnded: (_, ended) => onEnded(ended),
  };
  const series = createSeries({ ...options, key: undefined, file });
  return {
    add: (sample: Pick<Sample, "value" | "status" | "sourceTimeMs">) => addSample(series, sample),
    closeBefore: (quarter: number) => closeBefore(series, quarter),
    settle: (toMs: number) => settle(series, toMs),
    running: (nowMs: number) => runningOf(series, nowMs),
  };
}
