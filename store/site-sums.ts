import { atScale, decimalOf } from "@jilian/domain/decimal.ts";
import { type GaugeSum, gaugeScale, noGauge } from "@jilian/domain/gauge-leaf.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { emptyLeaf } from "@jilian/domain/leaf.ts";
import { type MachineSums, noQuantity, plannedTimeMs, type Quantity, quantityOf } from "@jilian/domain/machine-sums.ts";
import type {
  AlarmSum,
  CapabilitySum,
  DeviceSums,
  FactorySums,
  MeterSums,
  PollSum,
  SiteSums,
} from "@jilian/domain/period-sums.ts";
import type { Carrier } from "@jilian/domain/roles.ts";
import { emptyRollup, partKey, type Rollup } from "@jilian/domain/rollup.ts";
import { type Band, bands, type PricesPer10000 } from "@jilian/domain/tariff.ts";
import { alarmSums, noAlarms } from "./alarm-sums.ts";
import type { DroppedAlarms, StoredAlarm } from "./alarms.ts";
import { countersTold, deviceIn } from "./device-channels.ts";
import type { DeviceSeries, RegistrySeries } from "./device-series.ts";
import { isProductionDevice, type PlacedFactory, type Registry } from "./registry.ts";
import type { Span } from "./spans.ts";

/** Everything that the sums of one period are made of, beside the registry in force. */
export type PeriodInput = {
  readonly span: Span;
  /** Platform time: provisional figures speak of the time until then. */
  readonly asOfMs: number;
  /** By device key, and by factory id what has its demand. */
  readonly rollups: ReadonlyMap<string, Rollup>;
  /** Time that samples which are not stored stand for, ms by device key. */
  readonly lostMs: ReadonlyMap<string, number>;
  /** First birth, UTC ms, by device key. */
  readonly firstBirths: ReadonlyMap<string, number>;
  /** What gateways accounted for, by device key: in the period, and by day before its end. */
  readonly polls: ReadonlyMap<string, PollSum>;
  readonly days: ReadonlyMap<string, readonly PollSum[]>;
  /** What alarms overlap the period, and what was dropped of them. */
  readonly alarms: readonly StoredAlarm[];
  readonly droppedAlarms: Pick<DroppedAlarms, "untilMs">;
};

/** An entity of the tree with the devices under it, by factory. */
export type Site = {
  readonly level: SiteSums["level"];
  readonly entity: string;
  readonly factories: ReadonlyMap<string, readonly string[]>;
};

function machineOf(own: DeviceSeries, rollup: Rollup, input: PeriodInput, lostMs: number): MachineSums | undefined {
  const { plan, counters, states } = own;
  if (!plan) return undefined;
  const { startMs, endMs } = input.span;
  const each = counters.map(({ id, role, product }) => ({
    role,
    product,
    whole: quantityOf(rollup.counters.get(id) ?? emptyLeaf),
    planned: rollup.parts.get(partKey(id, "planned")) ?? noQuantity,
  }));
  return {
    plan,
    counters: countersTold(own, each),
    state: states.length === 0 ? undefined : rollup.state,
    elapsedMs: Math.min(endMs, input.asOfMs) - startMs,
    plannedMs: plannedTimeMs(plan, startMs, endMs, input.asOfMs),
    lostMs,
  };
}

function meterOf(key: string, own: DeviceSeries, rollup: Rollup, registry: Registry): MeterSums | undefined {
  const meter = registry.meters.get(key);
  if (!meter) return undefined;
  const { register, power, source } = own;
  const ofBand = (band: Band): Quantity => rollup.parts.get(partKey(register as number, band)) ?? noQuantity;
  return {
    carrier: meter.carrier,
    point: meter.meteringPoint,
    parent: meter.parent,
    quantity: register === undefined ? undefined : quantityOf(rollup.counters.get(register) ?? emptyLeaf),
    bands:
      source.banded.length === 0
        ? undefined
        : (Object.fromEntries(bands.map((band) => [band, ofBand(band)])) as Record<Band, Quantity>),
    power: power === undefined ? undefined : (rollup.gauges.get(power) ?? noGauge),
    calibrationDueOn: meter.calibrationDueOn,
  };
}

function capabilityOf({ placed, capability: id }: DeviceSeries, rollup: Rollup): CapabilitySum | undefined {
  const declared = placed.device.capability;
  if (!declared) return undefined;
  const { metric, lowerLimit, upperLimit } = declared;
  const exact = (limit: number | undefined) =>
    limit === undefined ? undefined : atScale(decimalOf(limit), gaugeScale);
  const samples = (id === undefined ? undefined : rollup.gauges.get(id)) ?? noGauge;
  return { metric, lower: exact(lowerLimit), upper: exact(upperLimit), samples };
}

/** How long accounts of a device were under way; undefined where its gateway makes none. */
function delayOf({ accounts }: DeviceSeries, rollup: Rollup): GaugeSum | undefined {
  return accounts === undefined ? undefined : (rollup.gauges.get(accounts) ?? noGauge);
}

type Input = PeriodInput & { readonly alarmSums: ReadonlyMap<string, AlarmSum> };

function deviceOf(key: string, overTime: DeviceSeries, registry: Registry, input: Input): DeviceSums {
  const own = deviceIn(overTime, input.span.startMs, input.span.endMs);
  const rollup = input.rollups.get(key) ?? emptyRollup;
  const lostMs = input.lostMs.get(key) ?? 0;
  const { device } = own.placed;
  const untilMs = Math.min(input.span.endMs, input.asOfMs);
  return {
    key,
    production: isProductionDevice(device),
    everConnected: (input.firstBirths.get(key) ?? Number.POSITIVE_INFINITY) < untilMs,
    onlineMs: rollup.onlineMs,
    lostMs,
    polls: input.polls.get(key),
    days: input.days.get(key) ?? [],
    delay: delayOf(own, rollup),
    meter: meterOf(key, own, rollup, registry),
    machine: machineOf(own, rollup, input, lostMs),
    output: device.output === true,
    capability: capabilityOf(own, rollup),
    alarms: input.alarmSums.get(key) ?? (own.watched ? noAlarms(input.span.startMs, input.droppedAlarms) : undefined),
    simulated: own.simulated,
  };
}

/** Declared numbers as integers at so many places. */
function scaled<K extends string>(numbers: Partial<Readonly<Record<K, number>>>, places: number) {
  const entries = Object.entries<number | undefined>(numbers);
  return Object.fromEntries(
    entries.flatMap(([key, value]) => (value === undefined ? [] : [[key, atScale(decimalOf(value), places)]])),
  ) as Partial<Record<K, bigint>>;
}

/** Devices and factories of a period are made once, whatever number of sites they belong to. */
export function siteSums(
  registry: Registry,
  { devices }: RegistrySeries,
  input: PeriodInput,
): (site: Site) => SiteSums {
  const { startMs, endMs, period } = input.span;
  const own = alarmSums(input.alarms, startMs, Math.min(endMs, input.asOfMs), input.droppedAlarms);
  const whole: Input = { ...input, alarmSums: own };
  const made = new Map<string, DeviceSums>();
  const ofDevice = (key: string): DeviceSums | undefined => {
    const own = devices.get(key);
    const known = made.get(key) ?? (own && deviceOf(key, own, registry, whole));
    if (known) made.set(key, known);
    return known;
  };
  const pricesOf = ({ tariff }: PlacedFactory): PricesPer10000 | undefined =>
    tariff && scaled<Band>(tariff.pricesCNYPerKWh, 4);
  const demandOf = (factory: string) => {
    const { demand, untold } = input.rollups.get(factory) ?? emptyRollup;
    return demand && { ...demand, partial: demand.partial || untold };
  };
  const madeFactories = new Map<readonly string[], FactorySums>();
  /** The same for its own level and all above it; formulas remember what they made of it. */
  const ofFactory = (level: SiteSums["level"], id: string, keys: readonly string[]): FactorySums =>
    level === "line" || level === "device"
      ? makeFactory(level, id, keys)
      : getOrMake(madeFactories, keys, () => makeFactory(level, id, keys));
  const makeFactory = (level: SiteSums["level"], id: string, keys: readonly string[]): FactorySums => {
    const factory = registry.factories.get(id) as PlacedFactory;
    return {
      id,
      creditCode: factory.creditCode,
      devices: keys.flatMap((key) => ofDevice(key) ?? []),
      factorsPer100000: scaled<Carrier>(factory.standardCoalFactors ?? {}, 5),
      pricesPer10000: pricesOf(factory),
      // A line has no incoming meters of its own.
      demand: level === "line" || level === "device" ? undefined : demandOf(id),
    };
  };
  return ({ level, entity, factories }) => ({
    ...{ level, entity, period, startMs, endMs },
    elapsedMs: Math.max(1, Math.min(endMs, input.asOfMs) - startMs),
    gridRegion: registry.gridRegion,
    thresholds: registry.thresholds,
    demo: registry.demo,
    factories: [...factories].map(([id, keys]) => ofFactory(level, id, keys)),
  });
}
