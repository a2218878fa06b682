import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type Period, periodStart, periods, watermarkMs } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { ChangedMinute, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";

/** How far the ledger vouches for what is folded: a transaction of the store. */
export const progressName = "kpi.foldedTx";
/** Since when leaves and figures are made, UTC ms. */
export const sinceName = "kpi.sinceMs";
/** Until when periods of a kind are final, UTC ms. */
export const finalName = (period: Period) => `kpi.final.${period}`;

/** Where the engine left off, as the ledger has it; made where it has nothing. */
export async function resume(
  { ledger, telemetry }: { ledger: Ledger; telemetry: Pick<Telemetry, "lastTx"> },
  startedMs: number,
): Promise<number> {
  const lastTx = await telemetry.lastTx();
  ledger.transaction(() => {
    // A store that was replaced by a newer, shorter one is folded from its beginning; so is one whose hours no engine noted.
    const isNew = ledger.getNumber(sinceName) === undefined;
    if (isNew) ledger.setNumber(sinceName, periodStart("minute", startedMs));
    const isReplaced = (ledger.getNumber(progressName) ?? 0) > lastTx;
    if (isNew || isReplaced) ledger.setNumber(progressName, 0);
    if (isReplaced) ledger.forgetTakenUp();
    // What ended before the hour of the start may have readings that come before its watermark.
    const fromMs = Math.min(periodStart("hour", startedMs), periodStart("minute", startedMs - watermarkMs));
    for (const period of periods)
      if (ledger.getNumber(finalName(period)) === undefined) ledger.setNumber(finalName(period), fromMs);
  });
  return ledger.getNumber(progressName) ?? 0;
}

/** Transactions that are asked for at once before it is known how much they hold. */
const firstTx = 20;

/** What several questions about what follows each other answered, as one would have. */
function merged(parts: readonly (readonly ChangedMinute[])[]): readonly ChangedMinute[] {
  if (parts.length < 2) return parts[0] ?? [];
  const bySeries = new Map<SeriesId, Map<number, ChangedMinute>>();
  for (const part of parts)
    for (const one of part) {
      const own = getOrMake(bySeries, one.series, () => new Map<number, ChangedMinute>());
      const before = own.get(one.minuteMs) ?? one;
      const firstMs = Math.min(before.firstMs, one.firstMs);
      own.set(one.minuteMs, { ...one, firstMs, lastMs: Math.max(before.lastMs, one.lastMs) });
    }
  return [...bySeries.values()].flatMap((own) => [...own.values()]);
}

/**
 * Reads what transactions changed, as many as a fold can hold in memory: a transaction holds one sample or tens of thousands.
 * @param mostTx at most, however small they are
 * @param mostMinutes that they change, each counted for each series, about
 */
export function changeReader(telemetry: Pick<Telemetry, "changedMinutes">, mostTx: number, mostMinutes: number) {
  let pace = firstTx;
  /** @returns what the transactions in (afterTx, upToTx] changed, and which those are */
  return async (afterTx: number, lastTx: number): Promise<{ changed: readonly ChangedMinute[]; upToTx: number }> => {
    const endTx = Math.min(lastTx, afterTx + mostTx);
    const parts: ChangedMinute[][] = [];
    let upToTx = afterTx;
    for (let minutes = 0; upToTx < endTx && minutes < mostMinutes / 2; ) {
      const nextTx = Math.min(endTx, upToTx + pace);
      const part = await telemetry.changedMinutes(upToTx, nextTx);
      parts.push(part);
      minutes += part.length;
      const fitting = Math.floor(((nextTx - upToTx) * mostMinutes) / Math.max(1, part.length));
      pace = Math.max(1, Math.min(fitting, 2 * pace, mostTx));
      upToTx = nextTx;
    }
    return { changed: merged(parts), upToTx };
  };
}

/** How many figures a factory has in a period of a kind, and what their making takes, as a multiple of those of a minute, about. */
export const figuresWeight: Readonly<Record<Period, number>> = {
  ...{ minute: 1, quarter_hour: 1, hour: 5, shift: 2, day: 5 },
  ...{ month: 5, quarter: 5, year: 5, pilot: 5 },
};

/** Divides a whole among those that need some: none gets more than it needs, and what it leaves is shared by those that need more. Pure. */
export function shares<K>(needs: ReadonlyMap<K, number>, whole: number): Map<K, number> {
  const found = new Map<K, number>();
  const inOrder = [...needs].sort(([, a], [, b]) => a - b);
  let left = whole;
  for (const [i, [key, need]] of inOrder.entries()) {
    const share = Math.min(need, left / (inOrder.length - i));
    found.set(key, share);
    left -= share;
  }
  return found;
}

/**
 * How much is done at once. @param asked factories whose figures are computed, each counted once for each of its periods; if undefined an
 * hour of minutes of 60 factories, and at least four minutes of all
 * @param askedRows rows that are folded; if undefined 200,000, and so many that the present of every series is folded in one step: finals
 * are made when everything stored is
 */
export function workPace(versions: () => RegistryVersions, asked: number | undefined, askedRows: number | undefined) {
  const all = (nowMs: number) => Math.max(1, versions().at(nowMs).factories.size);
  const factories = (nowMs: number) => asked ?? Math.max(3600, 4 * all(nowMs));
  return {
    all,
    /** Rows of leaves, online time and states. @param present what the last minutes of every series make */
    rows: (present: number) => askedRows ?? Math.max(200_000, present),
    /** Of all kinds of periods together, in minutes' worth; minutes alone have as much again. */
    factories,
    /** The same of all kinds of periods together that are made final, in minutes' worth: the ends of a midnight, and minutes beside them. */
    finals: (nowMs: number) => asked ?? Math.max(3600, 12 * all(nowMs)),
    /** Periods of everybody, at least one. */
    periods: (nowMs: number) => Math.max(1, Math.floor(factories(nowMs) / all(nowMs))),
  };
}
