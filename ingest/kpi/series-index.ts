import { accountMetric } from "@jilian/domain/account.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { isRole, roles } from "@jilian/domain/roles.ts";
import { stalenessWindowMs } from "@jilian/domain/sample.ts";
import { type RegistrySeries, registrySeries } from "@jilian/store/device-series.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { OnlineQuery, Series, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { type CounterRule, counterRule, type MeterVersion } from "./counter.ts";
import { delayRule, type GaugeRule, gaugeRule } from "./gauge.ts";
import { holdMs } from "./state.ts";

/** What the engine knows of the store's series. */
export type SeriesIndex = {
  /** Reads the series anew: there are new ones, or a birth has changed what one says of itself. */
  readonly learn: () => Promise<void>;
  readonly knows: (id: SeriesId) => boolean;
  /** How to fold a series; undefined when it is no counter. */
  readonly ruleOf: (id: SeriesId) => CounterRule | undefined;
  /** How to fold a gauge whose values are summed up: the power of a meter, a metric whose capability is watched, the delay of accounts; undefined for others. */
  readonly gaugeOf: (id: SeriesId) => GaugeRule | undefined;
  /** How long a reading of a machine's state holds; undefined when the series is none. */
  readonly holdOf: (id: SeriesId) => number | undefined;
  readonly seriesOf: (id: SeriesId) => Series | undefined;
  /** Whose online time a series counts for; undefined for metrics of nodes, and for simulated ones outside of demonstrations. */
  readonly deviceOf: (id: SeriesId) => OnlineQuery | undefined;
  /** How long a good sample of a series keeps its device online: three of its own heartbeats, so that a series that is new changes no earlier minute. */
  readonly windowOf: (id: SeriesId) => number;
  /** True for the series of a device's accounts: what a gateway says of its own work is no reading. */
  readonly isAccount: (id: SeriesId) => boolean;
  /** The series of a device's accounts. */
  readonly accountOf: (device: string) => Series | undefined;
  /** Every series of readings of a device, registered, simulated or not. */
  readonly ofDevice: (device: string) => readonly SeriesId[];
  /** What a version of the registry makes of the series. */
  readonly under: (registry: Registry) => RegistrySeries;
  /** Every counter, gauge and state that is folded, and every device whose online time is: for folding all of it again. */
  readonly folded: () => { series: SeriesId[]; devices: OnlineQuery[] };
};

function keyOf({ group, node, device }: Series): string {
  return deviceKey(group, node, device);
}

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
function isSummed(registry: Registry, key: string, { metric, definition: { role, unit } }: Series): boolean {
  const device = registry.devices.get(key)?.device;
  if (device?.kind === "meter") return role === "power.active" && unit === "kW";
  return device?.capability?.metric === metric;
}

/**
 * The series of the store as the engine needs them. Simulated series count only in a pilot that is marked as a demonstration (CONTRACTS 6),
 * by the version that was applied last.
 */
export function seriesIndex(telemetry: Telemetry, versions: () => RegistryVersions): SeriesIndex {
  let found: Series[] = [];
  let known = new WeakMap<Registry, RegistrySeries>();
  let series = new Map<SeriesId, Series>();
  let rules = new Map<SeriesId, CounterRule>();
  let gauges = new Map<SeriesId, GaugeRule>();
  let holds = new Map<SeriesId, number>();
  let members = new Map<string, Series[]>();
  let queries = new Map<SeriesId, OnlineQuery>();
  let readings = new Map<string, SeriesId[]>();
  let accounts = new Map<string, Series>();

  async function learn(): Promise<void> {
    found = await telemetry.series();
    known = new WeakMap();
    const timeline = timelineOf(versions());
    const { demo } = versions().newest();
    series = new Map(found.map((one) => [one.id, one]));
    rules = new Map();
    gauges = new Map();
    holds = new Map();
    members = new Map();
    readings = new Map();
    accounts = new Map();
    for (const one of found) {
      const { role, simulated } = one.definition;
      const key = keyOf(one);
      if (one.metric === accountMetric) {
        accounts.set(key, one);
        if (timeline.some(({ registry }) => registry.devices.has(key))) gauges.set(one.id, delayRule);
        continue;
      }
      if (one.device !== "") getOrMake(readings, key, () => []).push(one.id);
      if (one.device !== "" && (demo || !simulated)) getOrMake(members, key, () => []).push(one);
      if (isRole(role) && roles[role].kind === "counter")
        rules.set(one.id, counterRule(one.definition, meterVersions(timeline, key)));
      else if (timeline.some(({ registry }) => isSummed(registry, key, one)))
        gauges.set(one.id, gaugeRule(one.definition));
      if (role === "machine.state") holds.set(one.id, holdMs(one.definition));
    }
    queries = new Map();
    for (const [device, own] of members) {
      const counted = own.map(({ id, definition }) => ({ id, windowMs: stalenessWindowMs(definition.heartbeatMs) }));
      const query = { device, series: counted };
      for (const { id } of counted) queries.set(id, query);
    }
  }

  return {
    learn,
    knows: (id) => series.has(id),
    ruleOf: (id) => rules.get(id),
    gaugeOf: (id) => gauges.get(id),
    holdOf: (id) => holds.get(id),
    seriesOf: (id) => series.get(id),
    deviceOf: (id) => queries.get(id),
    windowOf: (id) => stalenessWindowMs(series.get(id)?.definition.heartbeatMs),
    isAccount: (id) => series.get(id)?.metric === accountMetric,
    accountOf: (device) => accounts.get(device),
    ofDevice: (device) => readings.get(device) ?? [],
    under: (registry) => getOrMake(known, registry, () => registrySeries(registry, found)),
    folded: () => ({
      series: [...new Set([...rules.keys(), ...gauges.keys(), ...holds.keys()])],
      devices: [...new Set(queries.values())],
    }),
  };
}
