import { createHash } from "node:crypto";
import { accountMetric } from "@jilian/domain/account.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKeyOf, factoryOf } from "@jilian/domain/identity.ts";
import type { MachinePlan } from "@jilian/domain/machine-sums.ts";
import { carrierRoles, isRole, type Role, roles } from "@jilian/domain/roles.ts";
import type { Channels, RollupSource } from "@jilian/domain/rollup.ts";
import { type Band, bandsOf, type Tariff } from "@jilian/domain/tariff.ts";
import { overStretches, type StretchSeries, stretchesOf } from "./device-channels.ts";
import { machinePlan, type PlacedDevice, type Registry } from "./registry.ts";
import { watches } from "./registry-alarms.ts";
import type { Series, SeriesId } from "./telemetry.ts";

export type CounterSeries = { readonly id: SeriesId; readonly role: Role; readonly product: string | undefined };

/**
 * The series of a registered device that count, and what they are to be rolled up to. Where births of the device have changed, numbers are
 * those of channels (device-channels.ts), and `deviceIn` tells what of it a period has.
 */
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
  /** What it was in each stretch of time; absent where its births always said the same. */
  readonly stretches?: readonly StretchSeries[];
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
  const { key, counters, gauges, states, plan, planned, banded, demand, channels } = source;
  const codes = (own: ReadonlySet<string> | undefined) => own && [...own].sort();
  const facts = [
    [key, counters, gauges, states, planned, banded, demand.map((id) => id ?? 0)],
    plan && [plan.calendar ?? 0, codes(plan.runningCodes) ?? 0, codes(plan.setupCodes) ?? 0],
    banded.length > 0 ? tariff?.periods : 0,
    ...(channels?.size ? [[...channels]] : []),
  ];
  const signature = createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 12);
  return { ...source, signature };
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

/** A device as its births say it: those of simulated series count only in a pilot that is marked as a demonstration (CONTRACTS 6). */
function deviceAsBorn(key: string, placed: PlacedDevice, own: readonly Series[], registry: Registry): DeviceSeries {
  const counted = own.filter(({ definition }) => registry.demo || !definition.simulated);
  const simulated = own.some(({ definition }) => definition.simulated);
  return { ...seriesOfDevice(key, placed, counted, registry), simulated };
}

/** A device whose births have changed: what it is over all of time. */
function deviceOverTime(key: string, placed: PlacedDevice, own: readonly Series[], registry: Registry): DeviceSeries {
  const stretches = stretchesOf(own).map((stretch) => {
    return { ...stretch, device: deviceAsBorn(key, placed, stretch.own, registry) };
  });
  const device = overStretches(stretches);
  const { counters, states, register, power, capability, accounts, plan } = device;
  const { bandAt, channels } = device.source;
  const ids = new Set([...counters.map(({ id }) => id), ...(register === undefined ? [] : [register])]);
  const source = {
    ...{ key, counters: [...ids], states, plan, bandAt, demand: [], ...(channels && { channels }) },
    gauges: [power, capability, accounts].filter((id) => id !== undefined),
    planned: plan ? counters.filter(({ role }) => plannedRoles.includes(role)).map(({ id }) => id) : [],
    banded: bandAt && register !== undefined ? [register] : [],
  };
  return { ...device, source: signed(source, registry.factories.get(placed.factoryId)?.tariff) };
}

/** The channels among some numbers of devices' series. */
function channelsAmong(ids: readonly (number | undefined)[], devices: Iterable<DeviceSeries | undefined>): Channels {
  const found = [...devices].flatMap((device) => [...(device?.source.channels ?? [])]);
  return new Map(found.filter(([id]) => ids.includes(id)));
}

/** The registered devices with the store's series that count for them. Pure. */
export function registrySeries(registry: Registry, series: readonly Series[]): RegistrySeries {
  const members = new Map<string, Series[]>();
  for (const one of series) if (one.device !== "") getOrMake(members, deviceKeyOf(one), () => []).push(one);
  for (const own of members.values()) own.sort((a, b) => a.id - b.id);
  const devices = new Map(
    [...registry.devices].map(([key, placed]): [string, DeviceSeries] => {
      const own = members.get(key) ?? [];
      const made = own.some(({ dated }) => dated) ? deviceOverTime : deviceAsBorn;
      return [key, made(key, placed, own, registry)];
    }),
  );
  const incoming = [...registry.meters.values()].filter(
    ({ carrier, meteringPoint }) => carrier === "electricity" && meteringPoint === "incoming",
  );
  const none = { counters: [], gauges: [], states: [], plan: undefined, planned: [], bandAt: undefined, banded: [] };
  const demands = new Map(
    [...Map.groupBy(incoming, ({ key }) => factoryOf(key))].map(([factory, meters]) => {
      const own = meters.map(({ key }) => devices.get(key));
      const demand = own.map((device) => device?.register);
      const channels = channelsAmong(demand, own);
      return [factory, signed({ key: factory, ...none, demand, ...(channels.size > 0 && { channels }) }, undefined)];
    }),
  );
  return { devices, demands };
}
