import { JilianError } from "@jilian/domain/errors.ts";
import type { SeriesId } from "../telemetry.ts";
import { Kind, type SampleColumns } from "./columns.ts";

export function unknownSeries(id: SeriesId): JilianError {
  return new JilianError(`no series has the number ${id}`, {
    code: "SERIES_UNKNOWN",
    action: "write samples",
    remedy: "get the number from ensureSeries of this store",
  });
}

function misfit(name: string, what: string): JilianError {
  return new JilianError(`${name}: ${what} cannot be stored`, {
    code: "VALUE_MISFIT",
    action: "write samples",
    device: name,
    remedy: "store null with a bad status instead; nothing of this batch was stored",
  });
}

/** What is checked against: the series of a store, and how late its times can be. */
export type Known = { has: (id: SeriesId) => boolean; nameOf: (id: SeriesId) => string; lastTimeMs: number };

/** @throws JilianError SERIES_UNKNOWN, VALUE_MISFIT naming the series */
export function checkSamples(batch: SampleColumns, { has, nameOf, lastTimeMs }: Known): void {
  const isTime = (ms: number | undefined) => Number.isSafeInteger(ms) && (ms as number) >= 0;
  for (let i = 0; i < batch.length; i += 1) {
    const id = batch.series[i] as number;
    if (!has(id)) throw unknownSeries(id);
    const kind = batch.kind[i];
    if (kind === Kind.number && !Number.isFinite(batch.number[i])) throw misfit(nameOf(id), `${batch.number[i]}`);
    if (kind === Kind.misfit) throw misfit(nameOf(id), "an integer beyond 64 bits");
    const sourceMs = batch.sourceMs[i] as number;
    if (sourceMs > lastTimeMs) throw misfit(nameOf(id), `the time ${sourceMs}`);
    for (const ms of [sourceMs, batch.gatewayMs[i], batch.ingestMs[i]]) {
      if (!isTime(ms)) throw misfit(nameOf(id), `the time ${ms}`);
    }
  }
}
