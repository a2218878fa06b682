import { formatScaled } from "@jilian/domain/decimal.ts";
import { carbonElectricity, carbonOfElectricity } from "@jilian/domain/indicators/carbon-electricity.ts";
import type { IndicatorDefinition } from "@jilian/domain/indicators/definition.ts";
import { comprehensiveEnergy, energyComprehensive } from "@jilian/domain/indicators/energy-comprehensive.ts";
import { energyElectricity } from "@jilian/domain/indicators/energy-electricity.ts";
import {
  energyUnitProduct,
  unitProductEnergy,
  unitProductPlaces,
} from "@jilian/domain/indicators/energy-unit-product.ts";
import type { GridRegion } from "@jilian/domain/indicators/factors.ts";
import { formatFraction } from "@jilian/domain/indicators/fraction.ts";
import { type CounterLeaf, estimatedOf, tellsIncrease } from "@jilian/domain/leaf.ts";
import type { MachineSums } from "@jilian/domain/machine-sums.ts";
import { absentFigure, type Figure, type NullReason, nearestReason, share } from "@jilian/domain/result.ts";
import { scaleOfUnit } from "@jilian/domain/roles.ts";
import type { SeriesId } from "@jilian/store/telemetry.ts";
import type { Machine } from "./machines.ts";
import type { Site } from "./sites.ts";

/** Incoming electricity meters: registered device -> the series of its register; undefined before it was first read. */
export type Meters = ReadonlyMap<string, SeriesId | undefined>;

/** A sum of so many counters, and how complete its input was; `coveredMs` is the sum of theirs. */
type Sum = { amount: bigint; estimated: bigint; coveredMs: number; counters: number; lowerBound: boolean };

/** What has passed of a period, and of it by device the time that samples which are not stored stand for (domain/lost-time.ts). */
export type Due = { readonly elapsedMs: number; readonly lostMs: ReadonlyMap<string, number> };

/** The time that readings of a device cover: what they say, at most what is due and was not lost. */
function coveredBy(ms: number, { elapsedMs, lostMs }: Due, device: string): number {
  return Math.min(ms, Math.max(0, elapsedMs - (lostMs.get(device) ?? 0)));
}

/** The energy of the incoming meters among devices, kWh as an integer at 6 places, or why it is not known. */
function meteredBy(
  devices: readonly string[],
  meters: Meters,
  leaves: ReadonlyMap<SeriesId, CounterLeaf>,
  due: Due,
): Sum | NullReason {
  const own = devices.filter((key) => meters.has(key));
  if (own.length === 0) return "no_meter";
  const told = own.flatMap((key) => {
    const leaf = leaves.get(meters.get(key) as SeriesId);
    return leaf && tellsIncrease(leaf) ? [{ ...leaf, coveredMs: coveredBy(leaf.coveredMs, due, key) }] : [];
  });
  if (told.length === 0) return "no_data";
  return {
    amount: told.reduce((amount, leaf) => amount + leaf.amount, 0n),
    estimated: told.reduce((amount, leaf) => amount + estimatedOf(leaf), 0n),
    coveredMs: told.reduce((ms, leaf) => ms + leaf.coveredMs, 0),
    counters: own.length,
    lowerBound: told.length < own.length || told.some((leaf) => leaf.resets > 0),
  };
}

function figureOf(sum: Sum, value: string, elapsedMs: number): Figure {
  return {
    value,
    reason: null,
    completeness: share(BigInt(sum.coveredMs), BigInt(elapsedMs) * BigInt(sum.counters)),
    estimatedShare: share(sum.estimated, sum.amount),
    lowerBound: sum.lowerBound,
  };
}

/** The energy figures of a site that need its meters alone. */
export function energyFigures(
  site: Site,
  meters: Meters,
  leaves: ReadonlyMap<SeriesId, CounterLeaf>,
  due: Due,
  region: GridRegion,
): [IndicatorDefinition, Figure][] {
  const sum = meteredBy(site.devices, meters, leaves, due);
  const of = (definition: IndicatorDefinition, value: (kWh: bigint) => bigint): [IndicatorDefinition, Figure] => [
    definition,
    typeof sum === "string"
      ? absentFigure(sum, sum === "no_meter" ? null : 0)
      : figureOf(sum, formatScaled(value(sum.amount), scaleOfUnit[definition.unit] as number), due.elapsedMs),
  ];
  return [
    of(energyElectricity, (kWh) => kWh),
    of(energyComprehensive, comprehensiveEnergy),
    of(carbonElectricity, (kWh) => carbonOfElectricity(kWh, region)),
  ];
}

type Output = Sum & { products: Set<string | undefined> };

/** The good production of a factory's output machines, pieces as an integer at 6 places, or why it is not known. */
function outputOf(machines: readonly MachineSums[], elapsedMs: number): Output | NullReason {
  if (machines.length === 0) return "no_output";
  const counters = machines.map(({ counters: own, lostMs }) => {
    const mostMs = Math.max(0, elapsedMs - lostMs);
    return own.filter(({ role }) => role === "production.good").map((counter) => ({ ...counter, mostMs }));
  });
  if (counters.some((own) => own.length === 0)) return "no_register";
  const all = counters.flat();
  const told = all.filter(({ whole }) => whole.told);
  if (told.length === 0) return "no_data";
  return {
    amount: told.reduce((sum, { whole }) => sum + whole.amount, 0n),
    estimated: told.reduce((sum, { whole }) => sum + whole.estimated, 0n),
    coveredMs: told.reduce((ms, { whole, mostMs }) => ms + Math.min(whole.coveredMs, mostMs), 0),
    counters: all.length,
    lowerBound: told.length < all.length || told.some(({ whole }) => whole.partial),
    products: new Set(told.filter(({ whole }) => whole.amount > 0n).map(({ product }) => product)),
  };
}

/** What a factory lacks for good is told before what a period happens to lack. */
function lackOf(energy: Sum | NullReason, output: Output | NullReason): NullReason {
  const lacks = [energy, output].filter((lack) => typeof lack === "string");
  return lacks.find((lack) => lack !== "no_data") ?? "no_data";
}

/**
 * Energy per piece over the factories that have both an incoming meter and an output; sums of both, of the same factories. Completeness is
 * that of the less complete of a factory's two terms, averaged over the factories that have a meter or an output.
 */
export function unitProductFigure(
  site: Site,
  meters: Meters,
  leaves: ReadonlyMap<SeriesId, CounterLeaf>,
  due: Due,
  outputs: readonly Machine[],
  sums: ReadonlyMap<string, MachineSums>,
): [IndicatorDefinition, Figure] {
  const { elapsedMs } = due;
  const reasons: NullReason[] = [];
  const both: { energy: Sum; output: Output }[] = [];
  const products = new Set<string>();
  let factories = 0;
  for (const [factory, devices] of site.factories) {
    const energy = meteredBy(devices, meters, leaves, due);
    const own = outputs.filter(({ key }) => devices.includes(key)).map(({ key }) => sums.get(key) as MachineSums);
    const output = outputOf(own, elapsedMs);
    if (energy === "no_meter" && output === "no_output") {
      reasons.push("no_meter");
      continue;
    }
    factories += 1;
    if (typeof energy !== "string" && typeof output !== "string") {
      both.push({ energy, output });
      // What two factories make without saying what it is, is not the same.
      for (const product of output.products) products.add(product ?? `of ${factory}`);
    } else reasons.push(lackOf(energy, output));
  }
  const covered = both.map(({ energy, output }) =>
    Math.min(Math.floor(energy.coveredMs / energy.counters), Math.floor(output.coveredMs / output.counters)),
  );
  const coveredMs = covered.reduce((ms, own) => ms + own, 0);
  const completeness = factories > 0 ? share(BigInt(coveredMs), BigInt(elapsedMs * factories)) : null;
  const absent = (reason: NullReason): [IndicatorDefinition, Figure] => [
    energyUnitProduct,
    absentFigure(reason, completeness),
  ];
  if (both.length === 0) return absent(nearestReason(reasons) ?? "no_meter");
  if (products.size > 1) return absent("mixed_products");
  const total = (of: (terms: { energy: Sum; output: Output }) => bigint) =>
    both.reduce((sum, terms) => sum + of(terms), 0n);
  const [kWh, pieces] = [total(({ energy }) => energy.amount), total(({ output }) => output.amount)];
  const ratio = unitProductEnergy(comprehensiveEnergy(kWh), pieces);
  if (typeof ratio === "string") return absent(ratio);
  return [
    energyUnitProduct,
    {
      value: formatFraction(ratio, unitProductPlaces),
      reason: null,
      completeness,
      estimatedShare: Math.max(
        share(
          total(({ energy }) => energy.estimated),
          kWh,
        ),
        share(
          total(({ output }) => output.estimated),
          pieces,
        ),
      ),
      lowerBound: both.some(({ energy, output }) => energy.lowerBound || output.lowerBound),
    },
  ];
}
