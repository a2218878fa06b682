import { dayMs, periodStart } from "@jilian/domain/periods.ts";
import type { LeafRow, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { foldAt } from "./series-folds.ts";
import type { SeriesIndex } from "./series-index.ts";

/** Whether a counter has increases that cannot be told on a day of Shanghai. */
export type ResetDay = { readonly series: SeriesId; readonly startMs: number; readonly hasResets: boolean };

export type ResetDayParts = {
  telemetry: Pick<Telemetry, "readLeaves">;
  index: Pick<SeriesIndex, "foldsOf">;
};

/** Leaves of minutes in which births have made a series something else than a counter are left over, and say nothing. */
const saysReset = ({ index }: Pick<ResetDayParts, "index">, { series, minuteMs, leaf }: LeafRow): boolean =>
  leaf.resets > 0 && foldAt(index.foldsOf(series), minuteMs).counter !== undefined;

/**
 * The days on which increases that cannot be told come up or go with leaves that are about to be written.
 * @param fresh leaves that differ from what is written
 * @param before what is written in the place of one
 */
export async function resetDays(
  parts: ResetDayParts,
  fresh: readonly LeafRow[],
  before: (row: LeafRow) => LeafRow | undefined,
): Promise<ResetDay[]> {
  const changed = fresh.filter((row) => row.leaf.resets !== (before(row)?.leaf.resets ?? 0));
  const byDay = Map.groupBy(changed, (row) => `${row.series} ${periodStart("day", row.minuteMs)}`);
  const found: ResetDay[] = [];
  for (const rows of byDay.values()) {
    const { series, minuteMs } = rows[0] as LeafRow;
    const startMs = periodStart("day", minuteMs);
    const comesUp = rows.some((row) => saysReset(parts, row));
    const gone = new Set(rows.map((row) => row.minuteMs));
    found.push(comesUp ? { series, startMs, hasResets: true } : await resetDay(parts, series, startMs, gone));
  }
  return found;
}

/** What written leaves say of a day of a series. @param except minutes that are left out */
export async function resetDay(
  parts: ResetDayParts,
  series: SeriesId,
  startMs: number,
  except: ReadonlySet<number> = new Set(),
): Promise<ResetDay> {
  const stored = await parts.telemetry.readLeaves([series], startMs, startMs + dayMs);
  return { series, startMs, hasResets: stored.some((row) => !except.has(row.minuteMs) && saysReset(parts, row)) };
}

/** The days on which leaves say so, whatever was written before. */
export function daysWithResets(parts: Pick<ResetDayParts, "index">, leaves: readonly LeafRow[]): ResetDay[] {
  const found = new Map<string, ResetDay>();
  for (const row of leaves) {
    if (!saysReset(parts, row)) continue;
    const { series } = row;
    const startMs = periodStart("day", row.minuteMs);
    found.set(`${series} ${startMs}`, { series, startMs, hasResets: true });
  }
  return [...found.values()];
}
