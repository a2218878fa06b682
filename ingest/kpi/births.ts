import { keyText } from "@jilian/store/columns/series-text.ts";
import type { TakenUp } from "@jilian/store/kpi-ledger.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { datedText, differsSince, readDated, shownDefinitions } from "@jilian/store/series-versions.ts";
import type { Series, SeriesId } from "@jilian/store/telemetry.ts";
import type { ChangedSeries, SeriesIndex } from "./series-index.ts";
import type { Redefine } from "./workshop.ts";

export type BirthParts = {
  ledger: Pick<Ledger, "takenUp" | "noteTakenUp">;
  index: Pick<SeriesIndex, "learn" | "all">;
  redefine: Redefine;
};

const takenUpOf = (series: Series): TakenUp => ({
  series: keyText(series),
  dated: datedText(series.dated ?? [{ fromMs: 0, definition: series.definition }]),
});

/** A series as it was taken up. */
function seriesOf({ dated: _, ...series }: Series, text: string): Series {
  return { ...series, ...shownDefinitions(readDated(text)) };
}

/**
 * Follows what births say of series. What was taken up of each is noted in the ledger once everything that it changes is published, or is
 * certain to be: what the store learned while no engine looked, or one looked and came to nothing, is taken up by the next one, if need be again.
 */
export function birthKeeper({ ledger, index, redefine }: BirthParts) {
  /** Not taken up yet: the index tells each once, and what takes it up may fail. */
  let waiting: readonly ChangedSeries[] = [];
  /** Series as the ledger has them. */
  let noted = new Map<SeriesId, Series>();
  let isNoted = false;
  /** Taken up, and computed again by a recompute of the ledger; not noted yet. */
  let kept: readonly ChangedSeries[] = [];

  return {
    /** The first look. A series of which nothing is noted is new: all of its readings are still to be folded. */
    begin: async (): Promise<void> => {
      await index.learn();
      const taken = new Map(ledger.takenUp().map(({ series, dated }) => [series, dated]));
      const fresh: TakenUp[] = [];
      const changed: ChangedSeries[] = [];
      for (const series of index.all()) {
        const now = takenUpOf(series);
        const text = taken.get(now.series);
        const before = text === undefined || text === now.dated ? series : seriesOf(series, text);
        const sinceMs = differsSince(before, series);
        noted.set(series.id, before);
        if (text === undefined) fresh.push(now);
        if (sinceMs !== undefined) changed.push({ series, before, sinceMs });
      }
      if (fresh.length > 0) ledger.noteTakenUp(fresh);
      waiting = changed;
    },
    /** Looks again, when the store says that something has changed. */
    learn: async (): Promise<void> => {
      isNoted = false;
      waiting = [...waiting, ...(await index.learn())];
      // Before anything of them is folded or judged: what an end of the engine cuts short would else find them new.
      const fresh = index.all().filter(({ id }) => !noted.has(id));
      if (fresh.length > 0) ledger.noteTakenUp(fresh.map(takenUpOf));
      for (const one of fresh) noted.set(one.id, one);
    },
    /** Takes up what waits. @returns starts of the minutes whose leaves may differ now, by factory */
    takeUp: async (nowMs: number, upToTx: number): Promise<ReadonlyMap<string, Set<number>>> => {
      if (waiting.length === 0) return new Map();
      const taken = await redefine(waiting, nowMs, upToTx);
      waiting = [];
      kept = [...kept, ...taken.kept];
      return taken.touched;
    },
    /**
     * Notes those of long ago: to be called once their alarms are judged. What is computed again may take hours more, and an engine that
     * begins meanwhile would ask for all of it once more.
     */
    noteKept: (): void => {
      if (kept.length > 0) ledger.noteTakenUp(kept.map(({ series }) => takenUpOf(series)));
      for (const { series } of kept) noted.set(series.id, series);
      kept = [];
    },
    /** Notes what is taken up: to be called once every figure that depends on it is published. */
    note: (): void => {
      if (isNoted || waiting.length > 0) return;
      const own = index.all();
      const fresh = own.filter((one) => differsSince(noted.get(one.id) ?? one, one) !== undefined);
      if (fresh.length > 0) ledger.noteTakenUp(fresh.map(takenUpOf));
      noted = new Map(own.map((one) => [one.id, one]));
      isNoted = true;
    },
  };
}
