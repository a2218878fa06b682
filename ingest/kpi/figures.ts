import { formatScaled } from "@jilian/domain/decimal.ts";
import type { IndicatorDefinition } from "@jilian/domain/indicators/definition.ts";
import { devicesEverConnected } from "@jilian/domain/indicators/devices-ever-connected.ts";
import { devicesOnline } from "@jilian/domain/indicators/devices-online.ts";
import { devicesRegistered } from "@jilian/domain/indicators/devices-registered.ts";
import { comprehensiveEnergy, energyComprehensive } from "@jilian/domain/indicators/energy-comprehensive.ts";
import { energyElectricity } from "@jilian/domain/indicators/energy-electricity.ts";
import { factoriesConnected } from "@jilian/domain/indicators/factories-connected.ts";
import { factorTable } from "@jilian/domain/indicators/factors.ts";
import { type CounterLeaf, estimatedOf, tellsIncrease } from "@jilian/domain/leaf.ts";
import { type Period, periodLengthMs } from "@jilian/domain/periods.ts";
import { type Level, type NullReason, type Result, share } from "@jilian/domain/result.ts";
import { scaleOfUnit } from "@jilian/domain/roles.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { SeriesId } from "@jilian/store/telemetry.ts";

/** What the figures of one period are computed from. Everything in it can be read from the stores again. */
export type PeriodInput = {
  period: Period;
  startMs: number;
  /** Platform time of computing: provisional figures speak of the time until then. */
  asOfMs: number;
  /** Last store transaction that is in. */
  watermarkTx: number;
  /** Incoming electricity meters: registered device -> the series of its register; undefined before it was first read. */
  meters: ReadonlyMap<string, SeriesId | undefined>;
  leaves: ReadonlyMap<SeriesId, CounterLeaf>;
  /** Milliseconds online, by device key. */
  online: ReadonlyMap<string, number>;
  /** First birth, UTC ms, by device key. */
  firstBirths: ReadonlyMap<string, number>;
};

/** An entity of the tree with what lies under it. */
type Site = { level: Level; entity: string; devices: string[]; factories: string[] };

/** The factories, the enterprises and the cluster, each with its registered devices. */
export function sitesOf(registry: Registry): Site[] {
  const cluster: Site = { level: "cluster", entity: registry.file.cluster.id, devices: [], factories: [] };
  const enterprises = new Map<string, Site>();
  const factories = new Map<string, Site>();
  for (const { id, enterpriseId } of registry.factories.values()) {
    const enterprise = enterprises.get(enterpriseId) ?? {
      level: "enterprise" as const,
      entity: enterpriseId,
      devices: [],
      factories: [],
    };
    enterprises.set(enterpriseId, enterprise);
    enterprise.factories.push(id);
    cluster.factories.push(id);
    factories.set(id, { level: "factory", entity: id, devices: [], factories: [id] });
  }
  for (const [key, { factoryId, enterpriseId }] of registry.devices) {
    for (const site of [factories.get(factoryId), enterprises.get(enterpriseId), cluster]) site?.devices.push(key);
  }
  return [...factories.values(), ...enterprises.values(), cluster];
}

type Figure = Pick<Result, "value" | "reason" | "completeness" | "estimatedShare" | "lowerBound">;

function count(n: number): Figure {
  return { value: String(n), reason: null, completeness: null, estimatedShare: null, lowerBound: false };
}

function absent(reason: NullReason, completeness: number | null): Figure {
  return { value: null, reason, completeness, estimatedShare: null, lowerBound: false };
}

/** The energy of a site's incoming meters, kWh as an integer at 6 places, and how complete its input was. */
function energyOf(
  site: Site,
  input: PeriodInput,
  endMs: number,
): { sum: bigint; figure: (value: string) => Figure } | Figure {
  const meters = site.devices.filter((key) => input.meters.has(key));
  if (meters.length === 0) return absent("no_meter", null);
  const leaves = meters.map((key) => input.leaves.get(input.meters.get(key) as SeriesId));
  const told = leaves.filter((leaf): leaf is CounterLeaf => leaf !== undefined && tellsIncrease(leaf));
  if (told.length === 0) return absent("no_data", 0);
  const elapsedMs = Math.max(1, Math.min(endMs, input.asOfMs) - input.startMs);
  const coveredMs = told.reduce((ms, leaf) => ms + Math.min(leaf.coveredMs, elapsedMs), 0);
  const sum = told.reduce((amount, leaf) => amount + leaf.amount, 0n);
  const estimated = told.reduce((amount, leaf) => amount + estimatedOf(leaf), 0n);
  return {
    sum,
    figure: (value) => ({
      value,
      reason: null,
      completeness: share(BigInt(coveredMs), BigInt(elapsedMs) * BigInt(meters.length)),
      estimatedShare: share(estimated, sum),
      lowerBound: told.length < meters.length || told.some((leaf) => leaf.resets > 0),
    }),
  };
}

function figuresOf(site: Site, input: PeriodInput, endMs: number): [IndicatorDefinition, Figure][] {
  const online = site.devices.filter((key) => (input.online.get(key) ?? 0) > 0);
  const ever = site.devices.filter(
    (key) => (input.firstBirths.get(key) ?? Number.POSITIVE_INFINITY) < Math.min(endMs, input.asOfMs),
  );
  const factories = new Set(online.map((key) => key.slice(0, key.indexOf("/"))));
  const energy = energyOf(site, input, endMs);
  const scale = scaleOfUnit.kWh as number;
  const kgce = scaleOfUnit.kgce as number;
  const electricity = "figure" in energy ? energy.figure(formatScaled(energy.sum, scale)) : energy;
  const comprehensive =
    "figure" in energy ? energy.figure(formatScaled(comprehensiveEnergy(energy.sum), kgce)) : energy;
  const found: [IndicatorDefinition, Figure][] = [
    [devicesRegistered, count(site.devices.length)],
    [devicesEverConnected, count(ever.length)],
    [devicesOnline, count(online.length)],
    [energyElectricity, electricity],
    [energyComprehensive, comprehensive],
  ];
  return site.level === "factory" ? found : [[factoriesConnected, count(factories.size)], ...found];
}

/**
 * Every figure of a period, for all factories, enterprises and the cluster. Pure: the same input gives the same digits. Status and
 * revision are the caller's to set, who knows what was published before; here they are provisional and 0.
 */
export function figures(registry: Registry, sites: readonly Site[], input: PeriodInput): Result[] {
  const endMs = input.startMs + periodLengthMs(input.period);
  return sites.flatMap((site) =>
    figuresOf(site, input, endMs).map(([definition, figure]) => ({
      indicator: definition.id,
      level: site.level,
      entity: site.entity,
      period: input.period,
      startMs: input.startMs,
      endMs,
      ...figure,
      unit: definition.unit,
      status: "provisional" as const,
      revision: 0,
      definitionVersion: definition.version,
      factorTable: definition.id === energyComprehensive.id ? factorTable.name : null,
      registryVersion: registry.version,
      inputWatermark: input.watermarkTx,
      asOfMs: input.asOfMs,
      simulated: registry.demo,
    })),
  );
}
