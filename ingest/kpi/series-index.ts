import { accountMetric } from "@jilian/domain/account.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKeyOf } from "@jilian/domain/identity.ts";
import { greatestOf } from "@jilian/domain/lists.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { type RegistrySeries, registrySeries } from "@jilian/store/device-series.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { differsSince } from "@jilian/store/series-versions.ts";
import type { OnlineQuery, Series, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import type { MeterVersion } from "./counter.ts";
import { type Fold, foldAt, foldsOf } from "./series-folds.ts";

/** What the engine knows of the store's series. */
export type SeriesIndex = {
  /** Reads the series anew: there are new ones, or a birth has changed what one says of itself. @returns those that it changed */
  readonly learn: () => Promise<ChangedSeries[]>;
  /** How to fold a series over time, in order: one fold, unless its births have changed. Empty for one that is not known. */
  readonly foldsOf: (id: SeriesId) => readonly Fold[];
  /** True for counters, and gauges whose values are summed up: the power of a meter, a metric whose capability is watched, the delay of accounts. */
  readonly isSummed: (id: SeriesId) => boolean;
  /** How long a reading of a machine's state holds at most; undefined when the series never was one. */
  readonly holdOf: (id: SeriesId) => number | undefined;
  readonly seriesOf: (id: SeriesId) => Series | undefined;
  /** Every series of the store, as of the last look. */
  readonly all: () => readonly Series[];
  /** Whose online time a series counts for; undefined for metrics of nodes, and for simulated ones outside of demonstrations. */
  readonly deviceOf: (id: SeriesId) => OnlineDevice | undefined;
  /** How long a good sample of a series keeps its device online at most: three of its own heartbeats, so that a series that is new changes no earlier minute. */
  readonly windowOf: (id: SeriesId) => number;
  /** True for the series of a device's accounts: what a gateway says of its own work is no reading. */
  readonly isAccount: (id: SeriesId) => boolean;
  /** The series of a device's accounts. */
  readonly accountOf: (device: string) => Series | undefined;
  /** Every series of readings of a device, registered, simulated or not. */
  readonly ofDevice: (device: string) => readonly SeriesId[];
  /** What a version of the registry makes of the series. */
  readonly under: (registry: Registry) => RegistrySeries;
  /**
   * Rows of leaves, online time and states that twenty minutes of readings of every series make at most, about: each keeps its device online
   * and its state true for a while. As of the last look.
   */
  readonly presentRows: () => number;
  /** Every counter, gauge and state that is folded, and every device whose online time is: for folding all of it again. */
  readonly folded: () => { series: SeriesId[]; devices: OnlineDevice[] };
};

/** So many minutes of every series are the present. */
const presentMinutes = 20;
/** A reading tells of so many minutes, where heartbeats are hourly: longer ones are too much for one step, and as seldom. */
const longestTold = 180;

/** Minutes that a reading tells something of by itself. */
const toldMinutes = (ms: number | undefined) => Math.min(longestTold, Math.ceil((ms ?? 0) / minuteMs));

/** A device whose online time counts. */
export type OnlineDevice = {
  readonly device: string;
  /** What is asked for its online time in a minute; the same object for minutes in which the same counts. */
  readonly queryAt: (minute: number) => OnlineQuery;
  /** The minutes at which something else begins to count, in order. */
  readonly changes: readonly number[];
};

/** A series of which births say something else than when it was last looked at, and since when at the earliest, UTC ms. */
export type ChangedSeries = { readonly series: Series; readonly before: Series; readonly sinceMs: number };

/** The versions that are in force at some time, in the order of it. */
export function timelineOf(versions: RegistryVersions): { fromMs: number; registry: Registry }[] {
  const starts = [0, ...versions.changesIn(0, Number.POSITIVE_INFINITY)];
  return starts.map((fromMs) => ({ fromMs, registry: versions.at(fromMs) }));
}

/** What the registry says over time of a device with a counter. */
function meterVersions(timeline: ReturnType<typeof timelineOf>, key: string): MeterVersion[] {
  return timeline.map(({ fromMs, registry }) => {
    const { ratedPowerKW } = registry.devices.get(key)?.device ?? {};
    return { fromMs, ratedPowerKW, meter: registry.meters.get(key) };
  });
}

/** True for gauges that figures or findings need; leaves of all others would be most of the leaves there are. */
function isSummed(registry: Registry, key: string, metric: string, { role, unit }: MetricDefinition): boolean {
  const device = registry.devices.get(key)?.device;
  if (device?.kind === "meter") return role === "power.active" && unit === "kW";
  return device?.capability?.metric === metric;
}

/** What of a device's series counts for its online time, minute by minute. */
function onlineDevice(device: string, own: readonly { id: SeriesId; folds: readonly Fold[] }[]): OnlineDevice {
  const edges = own.flatMap(({ folds }) => folds.slice(1).map(({ fromMs }) => fromMs));
  const changes = [...new Set(edges)].sort((a, b) => a - b);
  const queries = [0, ...changes].map((minute): OnlineQuery => {
    const counted = own.map(({ id, folds }) => ({ id, windowMs: foldAt(folds, minute).onlineMs }));
    const series = counted.flatMap(({ id, windowMs }) => (windowMs === undefined ? [] : [{ id, windowMs }]));
    return { device, series };
  });
  const queryAt = (minute: number) => queries[changes.findLastIndex((at) => at <= minute) + 1] as OnlineQuery;
  return { device, changes, queryAt };
}

/** The greatest of what folds say; undefined where none says anything. */
function longest(folds: readonly Fold[], of: "holdMs" | "onlineMs"): number | undefined {
  return folds.reduce<number | undefined>((most, fold) => {
    const own = fold[of];
    return own === undefined ? most : Math.max(most ?? 0, own);
  }, undefined);
}

/**
 * The series of the store as the engine needs them. Simulated series count only in a pilot that is marked as a demonstration (CONTRACTS 6),
 * by the version that was applied last.
 */
export function seriesIndex(telemetry: Pick<Telemetry, "series">, versions: () => RegistryVersions): SeriesIndex {
  let found: Series[] = [];
  let known = new WeakMap<Registry, RegistrySeries>();
  let series = new Map<SeriesId, Series>();
  let folds = new Map<SeriesId, Fold[]>();
  let devices = new Map<string, OnlineDevice>();
  let presentRows = 0;
  let readings = new Map<string, SeriesId[]>();
  let accounts = new Map<string, Series>();

  async function learn(): Promise<ChangedSeries[]> {
    const before = series;
    found = await telemetry.series();
    known = new WeakMap();
    const timeline = timelineOf(versions());
    const { demo } = versions().newest();
    series = new Map(found.map((one) => [one.id, one]));
    folds = new Map();
    readings = new Map();
    accounts = new Map();
    const members = new Map<string, { id: SeriesId; folds: Fold[] }[]>();
    for (const one of found) {
      const key = deviceKeyOf(one);
      const own = foldsOf(one, {
        meters: () => meterVersions(timeline, key),
        isRegistered: timeline.some(({ registry }) => registry.devices.has(key)),
        isSummed: (definition) => timeline.some(({ registry }) => isSummed(registry, key, one.metric, definition)),
        demo,
      });
      folds.set(one.id, own);
      if (one.metric === accountMetric) {
        accounts.set(key, one);
        continue;
      }
      if (one.device !== "") getOrMake(readings, key, () => []).push(one.id);
      if (longest(own, "onlineMs") !== undefined) getOrMake(members, key, () => []).push({ id: one.id, folds: own });
    }
    devices = new Map([...members].map(([device, own]) => [device, onlineDevice(device, own)]));
    presentRows = presentMinutes * found.length;
    for (const own of members.values())
      presentRows += presentMinutes + greatestOf(own.map(({ folds: of }) => toldMinutes(longest(of, "onlineMs"))));
    for (const own of folds.values()) presentRows += toldMinutes(longest(own, "holdMs"));
    return found.flatMap((one) => {
      const was = before.get(one.id);
      const sinceMs = was && differsSince(was, one);
      return was && sinceMs !== undefined ? [{ series: one, before: was, sinceMs }] : [];
    });
  }

  const ofSeries = (id: SeriesId): readonly Fold[] => folds.get(id) ?? [];
  return {
    learn,
    foldsOf: ofSeries,
    isSummed: (id) => ofSeries(id).some(({ counter, gauge }) => counter ?? gauge),
    holdOf: (id) => longest(ofSeries(id), "holdMs"),
    seriesOf: (id) => series.get(id),
    all: () => found,
    deviceOf: (id) => {
      if (longest(ofSeries(id), "onlineMs") === undefined) return undefined;
      const own = series.get(id);
      return own && devices.get(deviceKeyOf(own));
    },
    windowOf: (id) => longest(ofSeries(id), "onlineMs") ?? 0,
    isAccount: (id) => series.get(id)?.metric === accountMetric,
    accountOf: (device) => accounts.get(device),
    ofDevice: (device) => readings.get(device) ?? [],
    under: (registry) => getOrMake(known, registry, () => registrySeries(registry, found)),
    presentRows: () => presentRows,
    folded: () => ({
      series: found.flatMap(({ id }) =>
        ofSeries(id).some(({ counter, gauge, holdMs }) => counter ?? gauge ?? holdMs) ? [id] : [],
      ),
      devices: [...devices.values()],
    }),
  };
}
