import { BIGINT, type DuckDBConnection, INTEGER } from "@duckdb/node-api";
import { greatestOf, leastOf } from "@jilian/domain/lists.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { SampleColumns } from "../columns/columns.ts";
import type { ChangedColumns, CountColumns } from "../columns/packing.ts";
import { addToMinutes } from "../columns/windows.ts";
import type { OnlineQuery, SeriesId, Window } from "../telemetry.ts";
import { snapshot, temporary } from "./database.ts";
import { good, readNumberColumns, readSamples, sampleList } from "./rows.ts";

/** A number for a query's text; a time may be ±Infinity where a caller means "all". */
export const whole = (value: number): string => wholeMs(value).toString();

/** Likewise, for a column. */
export function wholeMs(value: number): bigint {
  return BigInt(Math.min(Math.max(Math.ceil(value), Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER));
}

export async function readWindow(connection: DuckDBConnection, window: Window, limit: number): Promise<SampleColumns> {
  const { series, fromMs, toMs } = window;
  const result = await connection.run(`SELECT ${sampleList("sample")} FROM sample
    WHERE series = ${whole(series)} AND source_ms >= ${whole(fromMs)} AND source_ms < ${whole(toMs)}
    ORDER BY source_ms LIMIT ${whole(Math.max(0, limit))}`);
  return await readSamples(result);
}

export async function readChanged(
  connection: DuckDBConnection,
  afterTx: number,
  upToTx: number,
): Promise<ChangedColumns> {
  const result = await connection.run(`
    SELECT series::DOUBLE, (source_ms - source_ms % ${minuteMs})::DOUBLE AS minute_ms, min(source_ms)::DOUBLE, max(source_ms)::DOUBLE
    FROM sample WHERE tx > ${whole(afterTx)} AND tx <= ${whole(upToTx)} GROUP BY series, minute_ms ORDER BY series, minute_ms`);
  return await readNumberColumns(result, 4);
}

export async function readCounts(
  connection: DuckDBConnection,
  series: readonly SeriesId[],
  fromMs: number,
  toMs: number,
): Promise<CountColumns> {
  return await snapshot(connection, async () => {
    await temporary(connection, "counted", series.length, { series: [INTEGER, (i) => series[i] as number] });
    const result = await connection.run(`
      SELECT series::DOUBLE, (source_ms - source_ms % ${hourMs})::DOUBLE AS hour_ms, count(*)::DOUBLE FROM sample
      WHERE source_ms >= ${whole(fromMs)} AND source_ms < ${whole(toMs)} AND series IN (SELECT series FROM counted)
      GROUP BY series, hour_ms ORDER BY series, hour_ms`);
    return await readNumberColumns(result, 3);
  });
}

/**
 * Online time per device and minute. A good sample covers [source time, source time + window of its series). Samples of a device that lie in
 * one slice of time, no longer than the shortest of its windows, cover one stretch without a break: the query returns only these stretches,
 * few against the samples, and they are united here.
 */
export async function readOnline(
  connection: DuckDBConnection,
  devices: readonly OnlineQuery[],
  fromMs: number,
  toMs: number,
): Promise<Float64Array<ArrayBuffer>[]> {
  const online = devices.map(() => new Float64Array(Math.max(0, Math.ceil((toMs - fromMs) / minuteMs))));
  const members = devices.flatMap(({ series }, device) => {
    const windows = series.map(({ windowMs }) => Math.ceil(windowMs));
    const sliceMs = Math.max(1, leastOf(windows));
    return series.map(({ id }, i) => ({ id, device, windowMs: windows[i] as number, sliceMs }));
  });
  const member = (i: number) => members[i] as (typeof members)[number];
  const widestMs = greatestOf([0, ...members.map(({ windowMs }) => windowMs)]);
  const [device, first, last] = await snapshot(connection, async () => {
    await temporary(connection, "member", members.length, {
      series: [INTEGER, (i) => member(i).id],
      device: [INTEGER, (i) => member(i).device],
      window_ms: [BIGINT, (i) => BigInt(member(i).windowMs)],
      slice_ms: [BIGINT, (i) => BigInt(member(i).sliceMs)],
    });
    const stretches = await connection.run(`
      SELECT device::DOUBLE, min(source_ms)::DOUBLE, max(source_ms + window_ms)::DOUBLE FROM sample JOIN member USING (series)
      WHERE source_ms > ${whole(fromMs - widestMs)} AND source_ms < ${whole(toMs)} AND ${good}
      GROUP BY device, source_ms // slice_ms ORDER BY 1, 2`);
    return await readNumberColumns(stretches, 3);
  });
  let [own, startMs, endMs] = [-1, 0, 0];
  const add = () => {
    if (own >= 0) addToMinutes(online[own] as Float64Array, fromMs, startMs, Math.min(endMs, toMs));
  };
  for (const [i, index] of device?.entries() ?? []) {
    const [fromTime, untilTime] = [first?.[i] as number, last?.[i] as number];
    if (index === own && fromTime <= endMs) endMs = Math.max(endMs, untilTime);
    else {
      add();
      [own, startMs, endMs] = [index, fromTime, untilTime];
    }
  }
  add();
  return online;
}
