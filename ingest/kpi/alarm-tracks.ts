import type { AlarmCondition, AlarmValue } from "@jilian/domain/alarm.ts";
import type { NewReadings } from "@jilian/domain/alarm-review.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { valueAtScale } from "@jilian/domain/decimal.ts";
import { absurdGauge, gaugeScale } from "@jilian/domain/gauge-leaf.ts";
import { deviceKeyOf } from "@jilian/domain/identity.ts";
import { qualityOf } from "@jilian/domain/quality.ts";
import { roles } from "@jilian/domain/roles.ts";
import type { AlarmFacts, AlarmTrackKey } from "@jilian/store/alarms.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { type AlarmRule, conditionOf, watches } from "@jilian/store/registry-alarms.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { definitionAt, differsSince } from "@jilian/store/series-versions.ts";
import type { Series, StoredRow } from "@jilian/store/telemetry.ts";
import { timelineOf } from "./series-index.ts";
import { stateCode } from "./state.ts";

/** One rule on one series for as long as it says the same: [fromMs, toMs). */
export type AlarmTrack = {
  /** Names all that it is judged by. */
  readonly key: string;
  readonly id: AlarmTrackKey;
  readonly series: Series;
  readonly condition: AlarmCondition;
  readonly fromMs: number;
  /** Infinity while no later version says something else. */
  readonly toMs: number;
};

const ruleOf = (registry: Registry, id: string): AlarmRule | undefined =>
  registry.file.alarms?.find((rule) => rule.id === id);

/** The condition as text, for comparing. */
function signatureOf(condition: AlarmCondition): string {
  return JSON.stringify(condition, (_, value: unknown) =>
    typeof value === "bigint" ? String(value) : value instanceof Set ? [...value].sort() : value,
  );
}

/** What the registry over time makes of a rule and a series: its conditions, each from when on; undefined where it does not watch it. */
function conditionAt(registry: Registry, ruleId: string, series: Series, device: string): AlarmCondition | undefined {
  const rule = ruleOf(registry, ruleId);
  const placed = registry.devices.get(device);
  if (!rule || !placed) return undefined;
  const { metric, definition } = series;
  const watched = { device, factoryId: placed.factoryId, deviceKind: placed.device.kind, metric, definition };
  return watches(rule, watched) ? conditionOf(rule, definition) : undefined;
}

/** What readings of a series are, beside what its condition says. Where births never changed it is not asked. */
function meaningOf({ dated, definition: { role, unit, datatype, simulated } }: Series): string {
  return dated ? JSON.stringify([role, unit, datatype, simulated]) : "";
}

/** The moments at which the registry, or what births say of a series, is another one, each with what is in force from then on. */
function momentsOf(series: Series, timeline: AlarmBook["timeline"]) {
  if (!series.dated) return timeline.map((one) => ({ ...one, as: series }));
  const times = [...timeline, ...series.dated.slice(1)].map(({ fromMs }) => fromMs);
  return [...new Set(times)]
    .sort((a, b) => a - b)
    .map((fromMs) => {
      const { registry } = timeline.findLast((one) => one.fromMs <= fromMs) as AlarmBook["timeline"][number];
      return { fromMs, registry, as: { ...series, definition: definitionAt(series, fromMs) } };
    });
}

/** The alarm rules over time. */
export type AlarmBook = {
  readonly timeline: ReturnType<typeof timelineOf>;
  readonly ruleIds: ReadonlySet<string>;
  readonly demo: boolean;
};

export function alarmBook(versions: RegistryVersions): AlarmBook {
  const timeline = timelineOf(versions);
  const ruleIds = new Set(timeline.flatMap(({ registry }) => (registry.file.alarms ?? []).map(({ id }) => id)));
  return { timeline, ruleIds, demo: versions.newest().demo };
}

/**
 * The tracks of a series, by the versions of the registry and what births said at the readings' times. A version, or a birth, that says the
 * same of a rule, whatever else it changes, ends no alarm. Simulated series are watched in demonstrations alone.
 */
export function tracksOf(series: Series, { timeline, ruleIds, demo }: AlarmBook): AlarmTrack[] {
  if (series.device === "") return [];
  const device = deviceKeyOf(series);
  const moments = momentsOf(series, timeline);
  return [...ruleIds].flatMap((rule) => {
    const tracks: AlarmTrack[] = [];
    let last: { fromMs: number; signature: string; condition: AlarmCondition; series: Series } | undefined;
    const close = (toMs: number) => {
      if (!last) return;
      const key = [series.id, rule, last.fromMs, toMs, last.signature].join("|");
      const id = { rule, device, metric: series.metric };
      tracks.push({ key, id, series: last.series, condition: last.condition, fromMs: last.fromMs, toMs });
    };
    for (const { fromMs, registry, as } of moments) {
      const condition = as.definition.simulated && !demo ? undefined : conditionAt(registry, rule, as, device);
      const signature = condition && signatureOf(condition) + meaningOf(as);
      if (signature === last?.signature) continue;
      close(fromMs);
      last = condition && { fromMs, signature: signature as string, condition, series: as };
    }
    close(Infinity);
    return tracks;
  });
}

/** True where two looks at a series give it the same tracks. */
export function sameSeries(a: Series, b: Series): boolean {
  return differsSince(a, b) === undefined;
}

/** What the registry says of an alarm that was raised at a time. */
export function factsOf(
  { id, series, condition }: AlarmTrack,
  raisedMs: number,
  versions: RegistryVersions,
): AlarmFacts {
  const registry = versions.at(raisedMs);
  const rule = ruleOf(registry, id.rule);
  const { role } = rule?.applies ?? {};
  const { kind } = condition.test;
  const unit = (role === undefined ? series.definition.unit : roles[role].unit) ?? null;
  return {
    ...{ kind, priority: rule?.priority ?? "low", zh: rule?.name.zh ?? id.rule, en: rule?.name.en ?? null },
    unit: kind === "state" || unit === null ? null : kind === "rate" ? `${unit}/min` : unit,
    registryVersion: registry.version,
    simulated: series.definition.simulated,
  };
}

/** A stored reading as its track judges it. */
export function alarmValue({ condition, series }: AlarmTrack, { value, status }: StoredRow): AlarmValue | undefined {
  if (qualityOf(status) === "bad") return undefined;
  if (condition.test.kind === "state") return stateCode(value);
  if (typeof value !== "number" && typeof value !== "bigint") return undefined;
  const scaled = valueAtScale(value, gaugeScale, series.definition.datatype === DataType.Float);
  return scaled < absurdGauge && scaled > -absurdGauge ? scaled : undefined;
}

/** New readings by stretches that are apart, in order. @param holesMs stretches closer than this are one */
export function mergedStretches(fresh: readonly NewReadings[], holesMs: number): NewReadings[] {
  const merged: { firstMs: number; lastMs: number }[] = [];
  for (const { firstMs, lastMs } of [...fresh].sort((a, b) => a.firstMs - b.firstMs)) {
    const last = merged.at(-1);
    if (last && firstMs <= last.lastMs + holesMs) last.lastMs = Math.max(last.lastMs, lastMs);
    else merged.push({ firstMs, lastMs });
  }
  return merged;
}
