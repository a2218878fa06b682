import { accountMetric } from "@jilian/domain/account.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { isRole, type Role, roles } from "@jilian/domain/roles.ts";
import { deviceWindowMs } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { OnlineQuery, Series, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { type CounterRule, counterRule } from "./counter.ts";
import { holdMs } from "./state.ts";

/** What the engine knows of the store's series. */
export type SeriesIndex = {
  /** Reads the series anew: there are new ones, or a birth has changed what one says of itself. */
  readonly learn: () => Promise<void>;
  readonly knows: (id: SeriesId) => boolean;
  /** How to fold a series; undefined when it is no counter. */
  readonly ruleOf: (id: SeriesId) => CounterRule | undefined;
  /** How long a reading of a machine's state holds; undefined when the series is none. */
  readonly holdOf: (id: SeriesId) => number | undefined;
  readonly seriesOf: (id: SeriesId) => Series | undefined;
  /** Whose online time a series counts for; undefined for metrics of nodes, and for simulated ones outside of demonstrations. */
  readonly deviceOf: (id: SeriesId) => OnlineQuery | undefined;
  /** True for the series of a device's accounts: what a gateway says of its own work is no reading. */
  readonly isAccount: (id: SeriesId) => boolean;
  /** The series of a device's accounts. */
  readonly accountOf: (device: string) => Series | undefined;
  /** Every series of readings of a device, registered, simulated or not. */
  readonly ofDevice: (device: string) => readonly SeriesId[];
  /** The series of a role that count for a device, in the order of their numbers. */
  readonly ofRole: (role: Role, device: string) => Series[];
};

function keyOf({ group, node, device }: Series): string {
  return deviceKey(group, node, device);
}

/** Simulated series count only in a pilot that is marked as a demonstration (CONTRACTS 6). */
export function seriesIndex(telemetry: Telemetry, registry: Registry): SeriesIndex {
  let series = new Map<SeriesId, Series>();
  let rules = new Map<SeriesId, CounterRule>();
  let holds = new Map<SeriesId, number>();
  let members = new Map<string, Series[]>();
  let queries = new Map<SeriesId, OnlineQuery>();
  let readings = new Map<string, SeriesId[]>();
  let accounts = new Map<string, Series>();

  async function learn(): Promise<void> {
    const found = await telemetry.series();
    series = new Map(found.map((one) => [one.id, one]));
    rules = new Map();
    holds = new Map();
    members = new Map();
    readings = new Map();
    accounts = new Map();
    for (const one of found) {
      const { role, simulated } = one.definition;
      const key = keyOf(one);
      if (one.metric === accountMetric) {
        accounts.set(key, one);
        continue;
      }
      if (one.device !== "") getOrMake(readings, key, () => []).push(one.id);
      if (one.device !== "" && (registry.demo || !simulated)) getOrMake(members, key, () => []).push(one);
      if (isRole(role) && roles[role].kind === "counter")
        rules.set(one.id, counterRule(one.definition, registry.devices.get(key)?.device.ratedPowerKW));
      if (role === "machine.state") holds.set(one.id, holdMs(one.definition));
    }
    queries = new Map();
    for (const [device, own] of members) {
      const ids = own.map((s) => s.id);
      const query = { device, series: ids, windowMs: deviceWindowMs(own.map((s) => s.definition.heartbeatMs)) };
      for (const id of ids) queries.set(id, query);
    }
  }

  return {
    learn,
    knows: (id) => series.has(id),
    ruleOf: (id) => rules.get(id),
    holdOf: (id) => holds.get(id),
    seriesOf: (id) => series.get(id),
    deviceOf: (id) => queries.get(id),
    isAccount: (id) => series.get(id)?.metric === accountMetric,
    accountOf: (device) => accounts.get(device),
    ofDevice: (device) => readings.get(device) ?? [],
    ofRole: (role, device) =>
      (members.get(device) ?? []).filter((s) => s.definition.role === role).sort((a, b) => a.id - b.id),
  };
}
