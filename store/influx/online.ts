import { minuteMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import { Kind, type SampleColumns } from "../columns/columns.ts";
import { addToMinutes } from "../columns/windows.ts";
import type { OnlineQuery } from "../telemetry.ts";
import type { RecentBook } from "./recent.ts";
import { isGood } from "./samples.ts";
import type { SampleReader } from "./spans.ts";

/** How long a sample keeps its device online. */
type Held = { atMs: number; untilMs: number };

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
 * Online time per device and minute. A good sample covers [source time, source time + window of its series); the union of a device's
 * samples breaks exactly where one begins after all earlier ones have ended.
 */
export async function readOnline(
  devices: readonly OnlineQuery[],
  fromMs: number,
  toMs: number,
  reader: SampleReader,
  recent: RecentBook,
): Promise<Float64Array<ArrayBuffer>[]> {
  const held: Held[][] = devices.map(() => []);
  const hold = (device: number, times: readonly number[], windowMs: number) => {
    for (const atMs of times) held[device]?.push({ atMs, untilMs: atMs + windowMs });
  };
  const missing: { device: number; windowMs: number; series: number; fromMs: number; toMs: number }[] = [];
  for (const [device, { series }] of devices.entries()) {
    for (const { id, windowMs } of series) {
      // A sample that is a whole window old covers nothing.
      const afterMs = fromMs - windowMs + 1;
      const knownMs = recent.completeFromMs(id);
      hold(device, recentTimes(recent, id, Math.max(afterMs, knownMs), toMs), windowMs);
      if (knownMs <= afterMs) continue;
      missing.push({ device, windowMs, series: id, fromMs: afterMs, toMs: Math.min(toMs, knownMs) });
    }
  }
  const read = await reader.times(missing, isGood);
  for (const [k, { device, windowMs }] of missing.entries()) hold(device, read[k] as number[], windowMs);
  return held.map((own) => {
    const minutes = new Float64Array(Math.max(0, Math.ceil((toMs - fromMs) / minuteMs)));
    let untilMs = fromMs;
    for (const one of own.sort((a, b) => a.atMs - b.atMs)) {
      addToMinutes(minutes, fromMs, Math.max(one.atMs, untilMs), Math.min(one.untilMs, toMs));
      untilMs = Math.max(untilMs, one.untilMs);
    }
    return minutes;
  });
}
