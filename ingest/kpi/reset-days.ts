import { dayMs, periodStart } from "@jilian/domain/periods.ts";
import type { LeafRow, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";

/** Whether a counter has increases that cannot be told on a day of Shanghai. */
export type ResetDay = { readonly series: SeriesId; readonly startMs: number; readonly hasResets: boolean };

/**
 * The days on which increases that cannot be told come up or go with leaves that are about to be written.
 * @param fresh leaves that differ from what is written
 * @param before what is written in the place of one
 */
export async function resetDays(
  telemetry: Pick<Telemetry, "readLeaves">,
  fresh: readonly LeafRow[],
  before: (row: LeafRow) => LeafRow | undefined,
): Promise<ResetDay[]> {
  const changed = fresh.filter((row) => row.leaf.resets !== (before(row)?.leaf.resets ?? 0));
  const byDay = Map.groupBy(changed, (row) => `${row.series} ${periodStart("day", row.minuteMs)}`);
  const found: ResetDay[] = [];
  for (const rows of byDay.values()) {
    const { series, minuteMs } = rows[0] as LeafRow;
    const startMs = periodStart("day", minuteMs);
    const comesUp = rows.some(({ leaf }) => leaf.resets > 0);
    found.push({ series, startMs, hasResets: comesUp || (await hasOthers(telemetry, rows, startMs)) });
  }
  return found;
}

/** Whether minutes of the day other than these have some. */
async function hasOthers(
  telemetry: Pick<Telemetry, "readLeaves">,
  rows: readonly LeafRow[],
  startMs: number,
): Promise<boolean> {
  const gone = new Set(rows.map(({ minuteMs }) => minuteMs));
  const stored = await telemetry.readLeaves([(rows[0] as LeafRow).series], startMs, startMs + dayMs);
  return stored.some(({ minuteMs, leaf }) => leaf.resets > 0 && !gone.has(minuteMs));
}
