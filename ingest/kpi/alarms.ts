import { type AlarmEvent, peakOf, raisedMsOf } from "@jilian/domain/alarm.ts";
import { deviceKeyOf, factoryOf } from "@jilian/domain/identity.ts";
import { append, leastOf } from "@jilian/domain/lists.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import type { AlarmLedger, AlarmStretch, AlarmTrackKey, AlarmWrite, StoredAlarm } from "@jilian/store/alarms.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { ChangedMinute, Series, SeriesId, StoredRow, Telemetry } from "@jilian/store/telemetry.ts";
import { addFresh, clipped, type Followed, firstLook, judgeSince, type Quick } from "./alarm-followed.ts";
import { type AlarmOutcome, goOn, type LookParts, lookBack, type RowBudget } from "./alarm-look.ts";
import { type AlarmMatch, differingStretches, matchAlarms, sameEvent } from "./alarm-matches.ts";
import { orphansOf } from "./alarm-orphans.ts";
import { type AlarmBook, type AlarmTrack, alarmBook, factsOf, sameSeries, tracksOf } from "./alarm-tracks.ts";
import { newestTimes, readTogether } from "./read-together.ts";
import type { ChangedSeries, SeriesIndex } from "./series-index.ts";

/** Judges the stored readings by the alarm rules of the registry, and keeps their events in the ledger. */
export type AlarmKeeper = {
  /**
   * Takes what new readings, and time, have changed. Events are a function of the stored readings, however they arrived; a reading that is
   * in is judged when this returns, unless `isBusy`. @param told the last transaction whose readings were told by now, and whether later ones are stored
   */
  readonly judge: (changed: readonly ChangedMinute[], told: Told, nowMs: number) => Promise<void>;
  /** The stretches of time whose counts and times of alarms differ since they were asked for last. */
  readonly differing: () => DifferingStretch[];
  /** Has the readings in [fromMs, toMs) judged again; noted in the ledger until it is done, so that a kill does not lose it. */
  readonly again: (fromMs: number, toMs: number) => void;
  /** Has judged again, with the next look, what births changed of known series since then. Whoever tells it notes it, until it is done. */
  readonly reborn: (changed: readonly ChangedSeries[]) => void;
  /** True while a look back is not at its end; `isBehind` only where new readings made it necessary, not another rule. */
  readonly isBusy: () => boolean;
  readonly isBehind: () => boolean;
  /** True while a birth or the registry made a track another one, and it is not looked at to its end: the next engine knows nothing of a birth that is noted. */
  readonly isChanging: () => boolean;
  /** Notes in the ledger what has been judged: to be called once every figure that depends on it is published. */
  readonly noteProgress: () => void;
};

/** Of which factory's devices they are; of all of them where that was not kept over a restart. */
export type DifferingStretch = AlarmStretch & { readonly factory?: string };

export type Told = { readonly upToTx: number; readonly isBehind: boolean };

export type AlarmKeeperParts = {
  telemetry: Pick<Telemetry, "read" | "readMany" | "latest">;
  ledger: AlarmLedger & Pick<Ledger, "getNumber" | "setNumber" | "transaction">;
  index: Pick<SeriesIndex, "seriesOf" | "ofDevice">;
  versions: () => RegistryVersions;
};

/** A reading is on its way at most so long; until then a delay that runs out without one is not believed to be over. */
const graceMs = 5000;
/** Readings judged in one tick at most; more than that goes on in the next. */
const rowsPerTick = 100_000;
/** Tracks that are looked back at together, and series that are asked for together. */
const together = 40;
const windowsTogether = 1000;

const horizonName = "alarms.horizonMs";
const seenName = "alarms.registrySeen";

function written({ track }: AlarmOutcome, event: AlarmEvent | undefined): AlarmWrite["event"] {
  return event && { ...event, ...peakOf(track.condition.test, event) };
}

export function alarmKeeper({ telemetry, ledger, index, versions }: AlarmKeeperParts): AlarmKeeper {
  const followed = new Map<SeriesId, { series: Series; tracks: Map<string, Followed> }>();
  let known: RegistryVersions | undefined;
  let book: AlarmBook | undefined;
  /** Number of the last version of the registry that is taken up. */
  let seenNumber: number | undefined;
  /** Up to when time counts where no reading tells it, and up to when everything is judged. */
  let horizonMs = Number.NEGATIVE_INFINITY;
  let judgedMs = Number.NEGATIVE_INFINITY;
  let busy = { any: false, behind: false, changing: false };
  /** Stretches to be judged again are noted in the ledger. */
  let isAgain = false;
  /** What never was, and is not written yet. */
  let lost: AlarmWrite[] = [];
  /** Births that the next look takes up. */
  let reborn: readonly ChangedSeries[] = [];
  const stretches: DifferingStretch[] = [];

  function differ({ device }: AlarmTrackKey, match: AlarmMatch, nowMs: number): void {
    const factory = factoryOf(device);
    for (const stretch of differingStretches(match, nowMs)) stretches.push({ ...stretch, factory });
  }

  /** The tracks of a series as the registry and its births have them now. @param changedMs since when the registry is another one */
  function follow(id: SeriesId, nowMs: number, changedMs?: number): Followed[] {
    const series = index.seriesOf(id);
    const before = followed.get(id);
    if (!series || !book) return [];
    if (before && changedMs === undefined && sameSeries(before.series, series)) {
      // The look that was compared last: the next comparison is of one object with itself.
      followed.set(id, { series, tracks: before.tracks });
      return [...before.tracks.values()];
    }
    const tracks = new Map<string, Followed>();
    for (const track of tracksOf(series, book)) {
      const fresh = [firstLook(track, nowMs, changedMs)];
      const isWhole = changedMs !== undefined && changedMs < track.toMs;
      const own = before?.tracks.get(track.key);
      tracks.set(track.key, own ?? { track, fresh, isWhole, tail: undefined, job: undefined });
    }
    followed.set(id, { series, tracks });
    return [...tracks.values()];
  }

  /** Every series of a registered device, and of what was one. */
  function watchable(): Set<SeriesId> {
    const devices = new Set((book?.timeline ?? []).flatMap(({ registry }) => [...registry.devices.keys()]));
    return new Set([...[...devices].flatMap(index.ofDevice), ...followed.keys()]);
  }

  /** At the first look: which versions are taken into account, what figures lack, and up to when time was judged. */
  function begin(now: RegistryVersions): number | undefined {
    seenNumber = ledger.getNumber(seenName);
    if (seenNumber === undefined) {
      seenNumber = now.all().at(-1)?.number ?? 0;
      ledger.setNumber(seenName, seenNumber);
    }
    append(stretches, ledger.alarmStretches());
    const judged = ledger.getNumber(horizonName);
    if (judged !== undefined) horizonMs = judged;
    return judged;
  }

  /** Takes up versions of the registry that were applied since the last look, and, once, what came to pass while nothing ran. */
  function takeUp(nowMs: number): void {
    const now = versions();
    if (known === now) return;
    const isFirst = known === undefined;
    const fromMs = isFirst ? begin(now) : undefined;
    const applied = now.all().filter(({ number }) => number > (seenNumber ?? 0));
    const changedMs = applied.length > 0 ? leastOf(applied.map((one) => one.fromMs)) : undefined;
    [known, book, seenNumber] = [now, alarmBook(now), now.all().at(-1)?.number];
    for (const id of watchable())
      for (const one of follow(id, nowMs, changedMs)) {
        const range = fromMs === undefined ? undefined : clipped(one.track, fromMs, fromMs);
        if (range) one.fresh.push(range);
      }
    if (isFirst) ledger.alarmsAgain().forEach(lookAgain);
    if (changedMs === undefined) return;
    const all = [...followed.values()].flatMap(({ tracks }) => [...tracks.values()].map(({ track }) => track));
    lose(all, changedMs, nowMs);
  }

  /** Withdraws alarms that nothing watches any more at the time at which they were raised. */
  function lose(
    tracks: readonly AlarmTrack[],
    changedMs: number,
    nowMs: number,
    isAsked: (track: AlarmTrackKey) => boolean = () => true,
  ): void {
    const known = new Set(lost.map(({ id }) => id));
    for (const { track, before } of orphansOf(ledger, tracks, changedMs, isAsked)) {
      if (known.has(before.id)) continue;
      differ(track, { before, event: undefined }, nowMs);
      lost.push({ id: before.id, track, facts: before, event: undefined });
    }
  }

  /** Has judged again, since a birth that came late, what it makes another track. */
  function takeUpBirths(nowMs: number): void {
    if (!book || reborn.length === 0) return;
    const tracks: AlarmTrack[] = [];
    for (const { series, before, sinceMs } of reborn) {
      const known = new Set(tracksOf(before, book).map(({ key }) => key));
      for (const one of follow(series.id, nowMs, sinceMs)) {
        tracks.push(one.track);
        if (!known.has(one.track.key)) judgeSince(one, sinceMs);
      }
    }
    const metricOf = (device: string, metric: string) => JSON.stringify([device, metric]);
    const own = new Set(reborn.map(({ series }) => metricOf(deviceKeyOf(series), series.metric)));
    const sinceMs = leastOf(reborn.map((one) => one.sinceMs));
    lose(tracks, sinceMs, nowMs, ({ device, metric }) => own.has(metricOf(device, metric)));
    reborn = [];
  }

  function note(changed: readonly ChangedMinute[], nowMs: number): void {
    for (const { series, firstMs, lastMs } of changed)
      for (const one of follow(series, nowMs)) {
        const range = clipped(one.track, firstMs, lastMs);
        if (range) addFresh(one, range);
      }
  }

  /** Looks back at a track, from its first new reading on or where it left off. @returns undefined while it has to go on */
  async function look(one: Followed, parts: LookParts, nowMs: number, budget: RowBudget) {
    const { tail, fresh, track, isWhole } = one;
    const endMs = Math.min(tail?.state.atMs ?? nowMs, track.toMs - 1);
    one.job ??= { look: lookBack(track, fresh, { isWhole, endMs }), taken: fresh.length };
    return await one.job.look.step(parts, budget);
  }

  /** Goes on with tracks of which nothing is new but what comes after their last readings: the normal case. */
  async function goOnAll(quick: readonly Quick[], parts: LookParts): Promise<[Followed, AlarmOutcome][]> {
    const windows = new Map<SeriesId, { fromMs: number; toMs: number }>();
    for (const { one, tail } of quick) {
      if (one.fresh.length === 0) continue;
      const { id } = one.track.series;
      const known = windows.get(id) ?? { fromMs: Infinity, toMs: -Infinity };
      const toMs = one.fresh.reduce((high, { lastMs }) => Math.max(high, lastMs + 1), known.toMs);
      windows.set(id, { fromMs: Math.min(known.fromMs, tail.state.atMs + 1), toMs });
    }
    const asked = [...windows].map(([series, window]) => ({ series, ...window }));
    const rows = new Map<SeriesId, readonly StoredRow[]>();
    for (let i = 0; i < asked.length; i += windowsTogether) {
      const some = asked.slice(i, i + windowsTogether);
      const found = await telemetry.readMany(some);
      for (const [n, { series }] of some.entries()) rows.set(series, found[n] ?? []);
    }
    return quick.map(({ one, tail }) => {
      const own = one.fresh.length === 0 ? [] : (rows.get(one.track.series.id) ?? []);
      return [one, goOn(one.track, tail, parts, own)];
    });
  }

  /** What is to be written of a look, and the stored alarms that the next reading may still change, by their place among the writes. */
  function compared(result: AlarmOutcome, writes: AlarmWrite[], nowMs: number) {
    const { track, before: rows, events, state } = result;
    const open: (StoredAlarm | number)[] = [];
    for (const match of matchAlarms(rows, events)) {
      const { before, event } = match;
      const isSame = before && event && sameEvent(before, event);
      if (!isSame) {
        const facts = before ?? factsOf(track, raisedMsOf(event as AlarmEvent), versions());
        differ(track.id, match, nowMs);
        writes.push({ id: before?.id, track: track.id, facts, event: written(result, event) });
      }
      if (event && (event.clearedMs ?? Infinity) > state.atMs) open.push(isSame ? before : writes.length - 1);
    }
    return open;
  }

  /** Writes what came of some looks, and what never was, in one transaction, with the time that figures may lack it. */
  function keep(outcomes: readonly (readonly [Followed, AlarmOutcome])[], nowMs: number): void {
    const writes = [...lost];
    const open = outcomes.map(([, result]) => compared(result, writes, nowMs));
    const write = () => {
      ledger.noteAlarmStretches(stretches);
      return ledger.writeAlarms(writes, nowMs);
    };
    const ids = writes.length === 0 ? [] : ledger.transaction(write);
    lost = [];
    for (const [i, [one, { state, nextMs }]] of outcomes.entries()) {
      const rows = (open[i] ?? []).flatMap((row) =>
        typeof row === "number" ? (ledger.alarm(ids[row] as number) ?? []) : row,
      );
      one.tail = { state, nextMs, rows };
      one.fresh.splice(0, one.job?.taken ?? one.fresh.length);
      one.isWhole = false;
      one.job = undefined;
    }
  }

  /** Those with new readings or whose time has come, and those that have to be looked back at. */
  function due(): [quick: Quick[], waiting: Followed[]] {
    const quick: Quick[] = [];
    const waiting: Followed[] = [];
    for (const { tracks } of followed.values())
      for (const one of tracks.values()) {
        const { job, fresh, tail, isWhole } = one;
        if (!job && fresh.length === 0 && (tail?.nextMs ?? Infinity) > horizonMs) continue;
        const isAfter = tail && !job && !isWhole && fresh.every(({ firstMs }) => firstMs > tail.state.atMs);
        if (isAfter) quick.push({ one, tail });
        else waiting.push(one);
      }
    return [quick, waiting];
  }

  async function judge(changed: readonly ChangedMinute[], { upToTx, isBehind }: Told, nowMs: number): Promise<void> {
    takeUp(nowMs);
    takeUpBirths(nowMs);
    note(changed, nowMs);
    // What time alone says, is said when all readings that are there are in; what it has said stays said.
    if (!isBehind) horizonMs = Math.max(horizonMs, nowMs - graceMs);
    const reads = { telemetry: { read: readTogether(telemetry) }, newestMs: newestTimes(telemetry) };
    const parts: LookParts = { ...reads, ledger, horizonMs, upToTx };
    const budget: RowBudget = { rows: rowsPerTick };
    const [quick, waiting] = due();
    try {
      const outcomes = await goOnAll(quick, parts);
      for (let i = 0; i < waiting.length; i += together) {
        const some = waiting.slice(i, i + together);
        const made = await Promise.all(some.map((one) => look(one, parts, nowMs, budget)));
        for (const [n, result] of made.entries()) if (result) outcomes.push([some[n] as Followed, result]);
      }
      keep(outcomes, nowMs);
    } catch (error) {
      // What was looked at and not written is looked at again, from its beginning.
      for (const one of waiting) one.job = undefined;
      throw error;
    }
    const left = waiting.filter(({ job }) => job);
    const changing = left.filter(({ isWhole }) => isWhole).length;
    busy = { any: left.length > 0, behind: changing < left.length, changing: changing > 0 };
    if (busy.any) return;
    judgedMs = horizonMs;
    if (isAgain) ledger.forgetAlarmsAgain();
    isAgain = false;
  }

  function lookAgain({ fromMs, toMs }: AlarmStretch): void {
    isAgain = true;
    for (const { tracks } of followed.values())
      for (const { track, fresh } of tracks.values()) {
        const range = clipped(track, fromMs, toMs - 1);
        if (range) fresh.push(range);
      }
  }

  return {
    judge,
    differing: () => stretches.splice(0),
    again: (fromMs, toMs) => {
      ledger.noteAlarmsAgain({ fromMs, toMs });
      lookAgain({ fromMs, toMs });
    },
    reborn: (changed) => {
      reborn = [...reborn, ...changed];
    },
    isBusy: () => busy.any,
    isBehind: () => busy.behind,
    isChanging: () => busy.changing || reborn.length > 0,
    noteProgress: () => {
      if (busy.any) return;
      const put = (name: string, value: number) => {
        if (ledger.getNumber(name) !== value) ledger.setNumber(name, value);
      };
      put(seenName, seenNumber ?? 0);
      ledger.forgetAlarmStretches();
      if (judgedMs - (ledger.getNumber(horizonName) ?? 0) >= minuteMs) put(horizonName, judgedMs);
    },
  };
}
