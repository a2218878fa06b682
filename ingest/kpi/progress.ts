import { type Period, periodStart, periods, watermarkMs } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";

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

/** Transactions that are folded at once before it is known how much they hold. */
const firstTx = 20;

/**
 * How many transactions are folded at once: so many that the minutes in which they change something stay about the same number. A transaction
 * holds one sample or tens of thousands; what a fold holds in memory must not grow with that.
 * @param mostTx at most, however small they are
 */
export function foldPace(mostTx: number, minutesAtOnce: number) {
  let tx = Math.min(firstTx, mostTx);
  return {
    tx: () => tx,
    /** Some were folded. @param minutes in which they changed something, each counted for each series */
    note: (folded: number, minutes: number): void => {
      const fitting = Math.floor((folded * minutesAtOnce) / Math.max(1, minutes));
      tx = Math.max(1, Math.min(fitting, 2 * tx, mostTx));
    },
  };
}

/**
 * How much of the figures is computed at once. @param asked factories, each counted once for each of its periods; if undefined an hour of minutes
 * of 60 factories, and at least four minutes of all
 */
export function figurePace(versions: () => RegistryVersions, asked: number | undefined) {
  const all = (nowMs: number) => Math.max(1, versions().at(nowMs).factories.size);
  const factories = (nowMs: number) => asked ?? Math.max(3600, 4 * all(nowMs));
  return {
    factories,
    /** Periods of everybody, at least one. */
    periods: (nowMs: number) => Math.max(1, Math.floor(factories(nowMs) / all(nowMs))),
  };
}
