import { deviceFigureVersion } from "@jilian/domain/device-figures.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { type Period, periods } from "@jilian/domain/periods.ts";
import type { Level, NullReason } from "@jilian/domain/result.ts";
import { counterRoles, roles } from "@jilian/domain/roles.ts";
import type { Registry } from "@jilian/store/registry.ts";

/** An indicator as the interface offers it: from the catalogue, or a counter role of devices. */
export type Offered = {
  readonly id: string;
  readonly zh: string;
  readonly en: string;
  readonly unit: string;
  readonly definitionVersion: number;
  readonly levels: readonly Level[];
  readonly periods: readonly Period[];
  /** Why its value can be null. */
  readonly reasons: readonly NullReason[];
  readonly formula: string;
  readonly source: string;
};

/** What can be asked for: entities by level with their names, indicators by id. */
export type Directory = {
  readonly entities: Readonly<Record<Level, ReadonlyMap<string, string>>>;
  readonly indicators: ReadonlyMap<string, Offered>;
};

function offeredIndicators(): Offered[] {
  const catalogue = indicators.map(({ id, zh, en, unit, version, levels, periods, reasons, formula, source }) => ({
    id,
    zh,
    en,
    unit,
    definitionVersion: version,
    levels,
    periods,
    // No figure is there before its period has begun.
    reasons: ["not_due", ...reasons] as const,
    formula,
    source,
  }));
  const ofDevices = counterRoles.map((id) => ({
    id,
    zh: roles[id].zh,
    en: roles[id].en,
    unit: roles[id].unit,
    definitionVersion: deviceFigureVersion,
    levels: ["device"] as const,
    periods,
    reasons: ["not_due", "no_data"] as const,
    formula: "sum of the accepted increases of the device's counters of this role",
    source: "counter readings; ISO 22400-2 terms, GB/T 2589-2020",
  }));
  return [...catalogue, ...ofDevices];
}

/** Builds the directory of a registry. Pure. */
export function createDirectory(registry: Registry): Directory {
  const { file } = registry;
  return {
    entities: {
      cluster: new Map([[file.cluster.id, file.cluster.name]]),
      enterprise: new Map(file.enterprises.map((e) => [e.id, e.name])),
      factory: new Map([...registry.factories.values()].map((f) => [f.id, f.name])),
      device: new Map([...registry.devices].map(([key, placed]) => [key, placed.device.name])),
    },
    indicators: new Map(offeredIndicators().map((i) => [i.id, i])),
  };
}
