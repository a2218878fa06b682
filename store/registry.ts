import { createHash } from "node:crypto";
import type { Calendar } from "@jilian/domain/calendar.ts";
import { type Checked, checkConfig } from "@jilian/domain/check-config.ts";
import type { GridRegion } from "@jilian/domain/indicators/factors.ts";
import type { MachinePlan } from "@jilian/domain/machine-sums.ts";
import { dateStart, dayMs } from "@jilian/domain/periods.ts";
import type { Tariff } from "@jilian/domain/tariff.ts";
import { checkRegistry } from "./registry-check.ts";
import { type ProductRates, planOf } from "./registry-machines.ts";
import { type Meter, placeMeters } from "./registry-meters.ts";
import {
  defaultThresholds,
  type RegistryDevice,
  type RegistryFactory,
  type RegistryFile,
  registrySchema,
  type Thresholds,
} from "./registry-schema.ts";

/** A device with everything above it. */
export type PlacedDevice = {
  readonly device: RegistryDevice;
  readonly enterpriseId: string;
  /** Also the Sparkplug group. */
  readonly factoryId: string;
  /** Also the Sparkplug edge node. */
  readonly gatewayId: string;
  /** Key of its line, `factory/line`; absent where it stands in none. */
  readonly lineKey?: string;
  /** Planned busy time: its own or its factory's; absent where neither has one. */
  readonly calendar?: Calendar;
  /** Planned run times of the registry's products; absent where none has one. */
  readonly productRates?: ProductRates;
};

export type PlacedFactory = {
  readonly id: string;
  readonly name: string;
  readonly enterpriseId: string;
  /** Of its enterprise. */
  readonly creditCode: string;
  /** Its named shifts are those of the shift figures. */
  readonly calendar?: Calendar;
  readonly tariff?: Tariff;
  /** Declared factors to standard coal: gas in kgce/m3, steam in kgce/t. */
  readonly standardCoalFactors?: NonNullable<RegistryFactory["standardCoalFactors"]>;
};

export type PlacedLine = {
  /** `factory/line`, the entity of its figures. */
  readonly key: string;
  readonly id: string;
  readonly name: string;
  readonly factoryId: string;
  /** Keys of its devices, `factory/gateway/device`, in the order of the file. */
  readonly devices: readonly string[];
};

/** A period of the pilot, [fromMs, toMs), UTC ms; both in Asia/Shanghai at midnight. */
export type PilotPeriod = {
  readonly id: string;
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
};

/** The registry as the services use it. */
export type Registry = {
  readonly file: RegistryFile;
  /** First 12 hexadecimal digits of the SHA-256 of the checked content: named by every figure. */
  readonly version: string;
  readonly demo: boolean;
  /** Whose carbon factor the cluster's electricity has. */
  readonly gridRegion: GridRegion;
  /** By `factory/gateway/device`. */
  readonly devices: ReadonlyMap<string, PlacedDevice>;
  readonly factories: ReadonlyMap<string, PlacedFactory>;
  /** `factory/gateway` of every registered gateway. */
  readonly gateways: ReadonlySet<string>;
  /** By `factory/line`. */
  readonly lines: ReadonlyMap<string, PlacedLine>;
  /** Those of `devices` that are meters, by the same key. */
  readonly meters: ReadonlyMap<string, Meter>;
  /** In the order of time, apart from each other. */
  readonly pilotPeriods: readonly PilotPeriod[];
  /** Those of the pilot, defaults where it has none. */
  readonly thresholds: Thresholds;
};

function placeDevices(
  { enterpriseId, factory, rates }: { enterpriseId: string; factory: RegistryFactory; rates: ProductRates },
  put: (key: string, placed: PlacedDevice) => void,
): void {
  for (const { id: gatewayId, devices } of factory.gateways)
    for (const device of devices) {
      const calendar = device.calendar ?? factory.calendar;
      put(`${factory.id}/${gatewayId}/${device.id}`, {
        ...{ device, enterpriseId, factoryId: factory.id, gatewayId },
        ...(device.line === undefined ? {} : { lineKey: `${factory.id}/${device.line}` }),
        ...(calendar && { calendar }),
        ...(rates.size > 0 && device.kind === "machine" && { productRates: rates }),
      });
    }
}

function placeLines({ id: factoryId, lines = [], gateways }: RegistryFactory): PlacedLine[] {
  const members = Map.groupBy(
    gateways.flatMap((gateway) =>
      gateway.devices.map(({ id, line }) => ({ line, key: `${factoryId}/${gateway.id}/${id}` })),
    ),
    ({ line }) => line,
  );
  return lines.map(({ id, name }) => ({
    ...{ key: `${factoryId}/${id}`, id, name, factoryId },
    devices: (members.get(id) ?? []).map(({ key }) => key),
  }));
}

function placeFactory(enterprise: RegistryFile["enterprises"][number], factory: RegistryFactory): PlacedFactory {
  const { id, name, calendar, tariff, standardCoalFactors } = factory;
  return {
    ...{ id, name, enterpriseId: enterprise.id, creditCode: enterprise.creditCode },
    ...(calendar && { calendar }),
    ...(tariff && { tariff }),
    ...(standardCoalFactors && { standardCoalFactors }),
  };
}

/** Indexes a checked registry file. Pure. */
export function indexRegistry(file: RegistryFile): Registry {
  const devices = new Map<string, PlacedDevice>();
  const factories = new Map<string, PlacedFactory>();
  const gateways = new Set<string>();
  const lines = new Map<string, PlacedLine>();
  const meters = new Map<string, Meter>();
  const rates = new Map(
    (file.products ?? []).flatMap(({ id, plannedRunTimePerItemMs: ms }) =>
      ms === undefined ? [] : [[id, ms] as const],
    ),
  );
  for (const enterprise of file.enterprises)
    for (const factory of enterprise.factories) {
      factories.set(factory.id, placeFactory(enterprise, factory));
      for (const { id } of factory.gateways) gateways.add(`${factory.id}/${id}`);
      placeDevices({ enterpriseId: enterprise.id, factory, rates }, (key, placed) => devices.set(key, placed));
      for (const line of placeLines(factory)) lines.set(line.key, line);
      for (const meter of placeMeters(factory.id, factory.gateways)) meters.set(meter.key, meter);
    }
  const { demo, periods = [], thresholds } = file.pilot;
  return {
    ...{ file, demo, devices, factories, gateways, lines, meters },
    version: createHash("sha256").update(JSON.stringify(file)).digest("hex").slice(0, 12),
    gridRegion: file.cluster.gridRegion ?? "national",
    pilotPeriods: periods.map(({ id, name = id, from, until }) => ({
      ...{ id, name, fromMs: dateStart(from) },
      toMs: dateStart(until) + dayMs,
    })),
    thresholds: { ...defaultThresholds, ...thresholds },
  };
}

/** What the ratio figures of a machine need of the registry. */
export function machinePlan({ device, calendar, productRates }: PlacedDevice): MachinePlan {
  return planOf(device, calendar, productRates);
}

/** Whether networking rates count a device: what the registry says, otherwise machines. */
export function isProductionDevice({ kind, production }: RegistryDevice): boolean {
  return production ?? kind === "machine";
}

/** Checks the text of `cluster.yaml` as a whole and indexes it. Pure; all faults at once. */
export function readRegistry(text: string, fileName: string): Checked<Registry> {
  const checked = checkConfig(registrySchema, text, fileName, checkRegistry);
  return checked.ok ? { ok: true, value: indexRegistry(checked.value) } : checked;
}
