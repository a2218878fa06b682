import { deviceFigureVersion } from "@jilian/domain/device-figures.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import type { Indicator } from "@jilian/domain/indicators/definition.ts";
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
  readonly formulaZh: string;
  readonly source: string;
  /** Which is better; absent where more is neither. */
  readonly better?: Indicator["better"];
  /** A case worked by hand; counter roles have none. */
  readonly example?: { readonly zh: string; readonly en: string; readonly value: string | null };
};

/** What can be asked for: entities by level with their names, indicators by id. */
export type Directory = {
  readonly entities: Readonly<Record<Level, ReadonlyMap<string, string>>>;
  readonly indicators: ReadonlyMap<string, Offered>;
};

function offeredIndicators(catalogue: readonly Indicator[]): Offered[] {
  const offered = catalogue.map(({ id, zh, en, unit, version, example, ...definition }) => ({
    ...{ id, zh, en, unit, definitionVersion: version },
    levels: definition.levels,
    periods: definition.periods,
    // No figure is there before its period has begun.
    reasons: ["not_due", "not_registered", ...definition.reasons] as const,
    formula: definition.formula,
    formulaZh: definition.formulaZh,
    source: definition.source,
    ...(definition.better && { better: definition.better }),
    example: { zh: example.zh, en: example.en, value: example.value },
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
    formulaZh: "该设备此角色各计数器可接受增量之和",
    source: "counter readings; ISO 22400-2 terms, GB/T 2589-2020",
  }));
  return [...offered, ...ofDevices];
}

function entitiesOf(registry: Registry): Directory["entities"] {
  const { cluster, pilot, enterprises } = registry.file;
  return {
    cluster: new Map([[cluster.id, cluster.name]]),
    pilot: new Map([[pilot.id, pilot.name]]),
    enterprise: new Map(enterprises.map((e) => [e.id, e.name])),
    factory: new Map([...registry.factories.values()].map((f) => [f.id, f.name])),
    line: new Map([...registry.lines.values()].map((line) => [line.key, line.name])),
    device: new Map([...registry.devices].map(([key, placed]) => [key, placed.device.name])),
  };
}

/** The directory of the registry in force: made anew when another version is. */
export function createDirectory(registry: Registry, catalogue: readonly Indicator[] = indicators): Directory {
  let { file } = registry;
  let entities = entitiesOf(registry);
  return {
    get entities() {
      if (registry.file !== file) [file, entities] = [registry.file, entitiesOf(registry)];
      return entities;
    },
    indicators: new Map(offeredIndicators(catalogue).map((i) => [i.id, i])),
  };
}
