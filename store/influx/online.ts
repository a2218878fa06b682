import { minuteMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import { Kind, type SampleColumns } from "../columns/columns.ts";
import { addToMinutes } from "../columns/windows.ts";
import type { OnlineQuery } from "../telemetry.ts";
import type { RecentBook } from "./recent.ts";
import { isGood } from "./samples.ts";
import type { SampleReader } from "./spans.ts";

const keepsOnline = (rows: SampleColumns, i: number) =>
  rows.kind[i] !== Kind.none && (rows.status[i] as number) < Status.Uncertain;

/** Times of a series' good samples in [fromMs, toMs) as far as memory reaches back. */
function recentTimes(recent: RecentBook, series: number, fromMs: number, toMs: number): number[] {
  const rows = recent.rows();
  const times: number[] = [];
  for (const slot of recent.slots(series)) {
    const ms = rows.sourceMs[slot] as number;
    if (ms < fromMs) break;
    if (ms < toMs && keepsOnline(rows, slot)) times.push(ms);
  }
  return times;
}

/**
 * Online time per device and minute. A good sample covers [source time, source time + window); as all windows of a device are equally
 * long, the union of its samples breaks exactly where two neighbours are further apart than one.
 */
export async function readOnline(
  devices: readonly OnlineQuery[],
  fromMs: number,
  toMs: number,
  reader: SampleReader,
  recent: RecentBook,
): Promise<Float64Array<ArrayBuffer>[]> {
  const times: number[][] = devices.map(() => []);
  const missing: { device: number; series: number; fromMs: number; toMs: number }[] = [];
  for (const [device, { series, windowMs }] of devices.entries()) {
    // A sample that is a whole window old covers nothing.
    const afterMs = fromMs - windowMs + 1;
    for (const id of series) {
      const knownMs = recent.completeFromMs(id);
      times[device] = (times[device] as number[]).concat(recentTimes(recent, id, Math.max(afterMs, knownMs), toMs));
      if (knownMs > afterMs) missing.push({ device, series: id, fromMs: afterMs, toMs: Math.min(toMs, knownMs) });
    }
  }
  const read = await reader.times(missing, isGood);
  for (const [k, { device }] of missing.entries())
    times[device] = (times[device] as number[]).concat(read[k] as number[]);
  return devices.map(({ windowMs }, device) => {
    const minutes = new Float64Array(Math.max(0, Math.ceil((toMs - fromMs) / minuteMs)));
    const sorted = Float64Array.from(times[device] as number[]).sort();
    for (let i = 0; i < sorted.length; ) {
      const first = sorted[i] as number;
      let last = first;
      for (i += 1; i < sorted.length && (sorted[i] as number) - last <= windowMs; i += 1) last = sorted[i] as number;
      addToMinutes(minutes, fromMs, first, Math.min(last + windowMs, toMs));
    }
    return minutes;
  });
}
