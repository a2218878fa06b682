import { carbonElectricity } from "@jilian/domain/indicators/carbon-electricity.ts";
import { ratioIndicators } from "@jilian/domain/indicators/catalogue.ts";
import type { IndicatorDefinition } from "@jilian/domain/indicators/definition.ts";
import { devicesEverConnected } from "@jilian/domain/indicators/devices-ever-connected.ts";
import { devicesOnline } from "@jilian/domain/indicators/devices-online.ts";
import { devicesRegistered } from "@jilian/domain/indicators/devices-registered.ts";
import { energyComprehensive } from "@jilian/domain/indicators/energy-comprehensive.ts";
import { energyUnitProduct } from "@jilian/domain/indicators/energy-unit-product.ts";
import { factoriesConnected } from "@jilian/domain/indicators/factories-connected.ts";
import { factorTable, gridFactorName } from "@jilian/domain/indicators/factors.ts";
import { oeeEffectiveness } from "@jilian/domain/indicators/oee-effectiveness.ts";
import { ratioFigure } from "@jilian/domain/indicators/ratio.ts";
import type { MachineSums } from "@jilian/domain/machine-sums.ts";
import { type Period, periodLengthMs } from "@jilian/domain/periods.ts";
import type { Figure, Result } from "@jilian/domain/result.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { energyFigures, type Meters, unitProductFigure } from "./energy.ts";
import type { PeriodLeaves } from "./leaf-reader.ts";
import { type Machine, sumsOf } from "./machines.ts";
import type { Site } from "./sites.ts";

/** What the figures of one period are computed from. Everything in it can be read from the stores again. */
export type PeriodInput = {
  period: Period;
  startMs: number;
  /** Platform time of computing: provisional figures speak of the time until then. */
  asOfMs: number;
  /** Last store transaction that is in. */
  watermarkTx: number;
  meters: Meters;
  machines: readonly Machine[];
  leaves: PeriodLeaves;
  /** Of what has passed of the period, the time that samples which are not stored stand for, ms by device key (domain/lost-time.ts). */
  lostMs: ReadonlyMap<string, number>;
  /** First birth, UTC ms, by device key. */
  firstBirths: ReadonlyMap<string, number>;
};

function count(n: number): Figure {
  return { value: String(n), reason: null, completeness: null, estimatedShare: null, lowerBound: false };
}

function figuresOf(
  registry: Registry,
  site: Site,
  input: PeriodInput,
  sums: ReadonlyMap<string, MachineSums>,
): [IndicatorDefinition, Figure][] {
  const { asOfMs, startMs, meters, leaves, machines } = input;
  const untilMs = Math.min(startMs + periodLengthMs(input.period), asOfMs);
  const elapsedMs = Math.max(1, untilMs - startMs);
  const due = { elapsedMs, lostMs: input.lostMs };
  const online = site.devices.filter((key) => (leaves.online.get(key) ?? 0) > 0);
  const ever = site.devices.filter((key) => (input.firstBirths.get(key) ?? Number.POSITIVE_INFINITY) < untilMs);
  const factories = new Set(online.map((key) => key.slice(0, key.indexOf("/"))));
  const own = site.devices.flatMap((key) => sums.get(key) ?? []);
  const outputs = machines.filter((machine) => machine.output);
  const found: [IndicatorDefinition, Figure][] = [
    [factoriesConnected, count(factories.size)],
    [devicesRegistered, count(site.devices.length)],
    [devicesEverConnected, count(ever.length)],
    [devicesOnline, count(online.length)],
    ...energyFigures(site, meters, leaves.counters, due, registry.gridRegion),
  ];
  if (energyUnitProduct.periods.includes(input.period))
    found.push(unitProductFigure(site, meters, leaves.counters, due, outputs, sums));
  for (const definition of ratioIndicators)
    if (definition.periods.includes(input.period)) found.push([definition, ratioFigure(definition, own)]);
  return found.filter(([definition]) => definition.levels.includes(site.level));
}

/** The factors that an indicator's figures name. */
function factorsOf({ id }: IndicatorDefinition, registry: Registry): string | null {
  if (id === energyComprehensive.id || id === energyUnitProduct.id) return factorTable.name;
  return id === carbonElectricity.id ? gridFactorName(registry.gridRegion) : null;
}

/**
 * Every figure of a period, for all factories, enterprises and the cluster. Pure: the same input gives the same digits. Status and
 * revision are the caller's to set, who knows what was published before; here they are provisional and 0.
 */
export function figures(registry: Registry, sites: readonly Site[], input: PeriodInput): Result[] {
  const { period, startMs, asOfMs } = input;
  const endMs = startMs + periodLengthMs(period);
  const sums = sumsOf(input.machines, input.leaves, { startMs, endMs, asOfMs }, input.lostMs);
  return sites.flatMap((site) =>
    figuresOf(registry, site, input, sums).map(([definition, figure]) => ({
      indicator: definition.id,
      level: site.level,
      entity: site.entity,
      period,
      startMs,
      endMs,
      ...figure,
      unit: definition.unit,
      status: "provisional" as const,
      revision: 0,
      definitionVersion: definition.version,
      factorTable: factorsOf(definition, registry),
      registryVersion: registry.version,
      inputWatermark: input.watermarkTx,
      asOfMs,
      simulated: registry.demo,
    })),
  );
}

/** Completeness from which on an effectiveness above 1 is the plan's fault and not that of missing states. */
const judged = 0.9;

/**
 * The machines that produced faster than planned: E > 1 stands as it is, but its planned run time per item is too long, or its running
 * states do not say all (facts, KPI definitions: flagged, not clamped).
 */
export function fasterThanPlanned(input: PeriodInput): { key: string; effectiveness: string }[] {
  const { startMs, asOfMs } = input;
  const endMs = startMs + periodLengthMs(input.period);
  return [...sumsOf(input.machines, input.leaves, { startMs, endMs, asOfMs }, input.lostMs)].flatMap(([key, sums]) => {
    const { value, completeness } = ratioFigure(oeeEffectiveness, [sums]);
    const above = value !== null && Number(value) > 1 && (completeness ?? 0) >= judged;
    return above ? [{ key, effectiveness: value }] : [];
  });
}
