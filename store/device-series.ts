import { createHash } from "node:crypto";
import { accountMetric } from "@jilian/domain/account.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKey, factoryOf } from "@jilian/domain/identity.ts";
import type { MachinePlan } from "@jilian/domain/machine-sums.ts";
import { carrierRoles, isRole, type Role, roles } from "@jilian/domain/roles.ts";
import type { RollupSource } from "@jilian/domain/rollup.ts";
import { type Band, bandsOf, type Tariff } from "@jilian/domain/tariff.ts";
import { machinePlan, type PlacedDevice, type Registry } from "./registry.ts";
import { watches } from "./registry-alarms.ts";
import type { Series, SeriesId } from "./telemetry.ts";

export type CounterSeries = { readonly id: SeriesId; readonly role: Role; readonly product: string | undefined };

/** The series of a registered device that count, and what they are to be rolled up to. */
export type DeviceSeries = {
  readonly placed: PlacedDevice;
  readonly counters: readonly CounterSeries[];
  readonly states: readonly SeriesId[];
  /** Of a meter: its register, and its power; undefined where it has none. */
  readonly register: SeriesId | undefined;
  readonly power: SeriesId | undefined;
  /** Of a machine: its plan, and the metric whose capability is watched. */
  readonly plan: MachinePlan | undefined;
  readonly capability: SeriesId | undefined;
  /** Its gateway's accounts of it: how long they are under way is folded as a gauge. */
  readonly accounts: SeriesId | undefined;
  /** True where an alarm rule watches one of its series. */
  readonly watched: boolean;
  /** Some of its births say so, whether they count or not. */
  readonly simulated: boolean;
  readonly source: RollupSource;
};

/** What a version of the registry makes of the store's series. */
export type RegistrySeries = {
  /** By device key, every registered device. */
  readonly devices: ReadonlyMap<string, DeviceSeries>;
  /** The demand of each factory with incoming electricity meters, by its id. */
  readonly demands: ReadonlyMap<string, RollupSource>;
};

/** Counters of a machine whose part in planned time is asked for: the terms of OEE. */
const plannedRoles: readonly Role[] = ["production.total", "production.good"];

/** A tariff's minutes are worked out once. */
const bandTables = new WeakMap<Tariff, (minuteMs: number) => Band>();

/** @param facts everything that the rollup depends on beside its leaves */
function signed(source: Omit<RollupSource, "signature">, tariff: Tariff | undefined): RollupSource {
  const { key, counters, gauges, states, plan, planned, banded, demand } = source;
  const codes = (own: ReadonlySet<string> | undefined) => own && [...own].sort();
  const facts = [
    [key, counters, gauges, states, planned, banded, demand.map((id) => id ?? 0)],
    plan && [plan.calendar ?? 0, codes(plan.runningCodes) ?? 0, codes(plan.setupCodes) ?? 0],
    banded.length > 0 ? tariff?.periods : 0,
  ];
  const signature = createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 12);
  return { ...source, signature };
}

/** The series of a device that count: simulated ones only in a pilot that is marked as a demonstration (CONTRACTS 6). */
function membersOf(series: readonly Series[], { demo }: Pick<Registry, "demo">): Map<string, Series[]> {
  const members = new Map<string, Series[]>();
  for (const one of series) {
    if (one.device === "" || (one.definition.simulated && !demo)) continue;
    getOrMake(members, deviceKey(one.group, one.node, one.device), () => []).push(one);
  }
  for (const own of members.values()) own.sort((a, b) => a.id - b.id);
  return members;
}

function isWatched(device: string, placed: PlacedDevice, own: readonly Series[], { file }: Registry): boolean {
  const {
    factoryId,
    device: { kind: deviceKind },
  } = placed;
  return (file.alarms ?? []).some((rule) =>
    own.some(({ metric, definition }) => watches(rule, { device, factoryId, deviceKind, metric, definition })),
  );
}

function seriesOfDevice(
  key: string,
  placed: PlacedDevice,
  own: readonly Series[],
  registry: Registry,
): Omit<DeviceSeries, "simulated"> {
  const ofRole = (role: Role) =>
    own.filter(({ definition: { role: one, unit } }) => one === role && unit === roles[role].unit);
  const counters = own.flatMap(({ id, definition: { role, product } }) =>
    isRole(role) && roles[role].kind === "counter" ? [{ id, role, product }] : [],
  );
  const meter = registry.meters.get(key);
  const register = meter && ofRole(carrierRoles[meter.carrier])[0]?.id;
  const power = meter?.carrier === "electricity" ? ofRole("power.active")[0]?.id : undefined;
  const plan = placed.device.kind === "machine" ? machinePlan(placed) : undefined;
  const watched = placed.device.capability?.metric;
  const capability = watched === undefined ? undefined : own.find(({ metric }) => metric === watched)?.id;
  const accounts = own.find(({ metric }) => metric === accountMetric)?.id;
  const states = plan ? own.filter(({ definition }) => definition.role === "machine.state").map(({ id }) => id) : [];
  const tariff = meter?.carrier === "electricity" ? registry.factories.get(placed.factoryId)?.tariff : undefined;
  const bandAt = tariff && getOrMake(bandTables, tariff, () => bandsOf(tariff));
  const source = {
    key,
    counters: counters.map(({ id }) => id),
    gauges: [power, capability, accounts].filter((id) => id !== undefined),
    ...{ states, plan, bandAt },
    planned: plan ? counters.filter(({ role }) => plannedRoles.includes(role)).map(({ id }) => id) : [],
    banded: bandAt && register !== undefined ? [register] : [],
    demand: [],
  };
  return {
    placed,
    counters,
    states,
    register,
    power,
    plan,
    capability,
    accounts,
    watched: isWatched(key, placed, own, registry),
    source: signed(source, tariff),
  };
}

/** The registered devices with the store's series that count for them. Pure. */
export function registrySeries(registry: Registry, series: readonly Series[]): RegistrySeries {
  const members = membersOf(series, registry);
  const told = membersOf(
    series.filter(({ definition }) => definition.simulated),
    { demo: true },
  );
  const devices = new Map(
    [...registry.devices].map(([key, placed]): [string, DeviceSeries] => {
      const own = seriesOfDevice(key, placed, members.get(key) ?? [], registry);
      return [key, { ...own, simulated: told.has(key) }];
    }),
  );
  const incoming = [...registry.meters.values()].filter(
    ({ carrier, meteringPoint }) => carrier === "electricity" && meteringPoint === "incoming",
  );
  const none = { counters: [], gauges: [], states: [], plan: undefined, planned: [], bandAt: undefined, banded: [] };
  const demands = new Map(
    [...Map.groupBy(incoming, ({ key }) => factoryOf(key))].map(([factory, own]) => {
      const demand = own.map(({ key }) => devices.get(key)?.register);
      return [factory, signed({ key: factory, ...none, demand }, undefined)];
    }),
  );
  return { devices, demands };
}
