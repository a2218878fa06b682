import { formatScaled } from "../decimal.ts";
import { getOrMake } from "../get-or-make.ts";
import type { DeviceSums, FactorySums, MeterSums, SiteSums } from "../period-sums.ts";
import { absentFigure, type Figure, type NullReason, nearestReason, share } from "../result.ts";
import { type Carrier, scaleOfUnit } from "../roles.ts";

/** What one factory, or some of them, give for a sum: how much, or why it is not known. */
export type Part =
  | {
      readonly reason: null;
      /** Integer at the scale of its unit. */
      readonly amount: bigint;
      /** The part of it that interpolation over a gap at an edge assigned. */
      readonly estimated: bigint;
      /** Time that readings cover, and time that they ought to; sums over its counters. */
      readonly coveredMs: number;
      readonly dueMs: number;
      /** True when the true amount is not less. */
      readonly lowerBound: boolean;
    }
  | { readonly reason: NullReason; readonly dueMs: number };
export type ToldPart = Extract<Part, { reason: null }>;

export function isTold(part: Part): part is ToldPart {
  return part.reason === null;
}

/**
 * Adds up parts. One that is due and not known makes the sum a lower bound; one that is not due (a factory without such a meter) has no
 * part in it. Null where none is known, for the reason of those that are due.
 */
export function addParts(parts: readonly Part[]): Part {
  const told = parts.filter(isTold);
  const lacking = parts.filter((part) => !isTold(part));
  const dueMs = parts.reduce((ms, part) => ms + part.dueMs, 0);
  if (told.length === 0) {
    const due = lacking.filter((part) => part.dueMs > 0);
    const reasons = (due.length > 0 ? due : lacking).flatMap(({ reason }) => reason ?? []);
    return { reason: nearestReason(reasons) ?? "no_meter", dueMs };
  }
  return {
    reason: null,
    amount: told.reduce((sum, part) => sum + part.amount, 0n),
    estimated: told.reduce((sum, part) => sum + part.estimated, 0n),
    coveredMs: told.reduce((ms, part) => ms + part.coveredMs, 0),
    dueMs,
    lowerBound: told.some((part) => part.lowerBound) || lacking.some((part) => part.dueMs > 0),
  };
}

/** A part in another unit: times an exact factor, whose places the scale of the unit has more. */
export function timesFactor(part: Part, factor: bigint): Part {
  return isTold(part) ? { ...part, amount: part.amount * factor, estimated: part.estimated * factor } : part;
}

/** The figure of a sum. */
export function figureOfPart(part: Part, unit: string): Figure {
  if (!isTold(part)) return absentFigure(part.reason, part.reason === "no_data" ? 0 : null);
  return {
    value: formatScaled(part.amount, scaleOfUnit[unit] as number),
    reason: null,
    completeness: share(BigInt(part.coveredMs), BigInt(part.dueMs)),
    estimatedShare: share(part.estimated, part.amount),
    lowerBound: part.lowerBound,
  };
}

/** The figure of a count: always known, and complete. */
export function countFigure(n: number): Figure {
  return { value: String(n), reason: null, completeness: null, estimatedShare: null, lowerBound: false };
}

const devicesBySite = new WeakMap<SiteSums, readonly DeviceSums[]>();

/** All devices of a site; the same list each time, since most formulas ask for it. */
export const devicesOf = (site: SiteSums): readonly DeviceSums[] =>
  getOrMake(devicesBySite, site, () => site.factories.flatMap(({ devices }) => [...devices]));

type Metered = DeviceSums & { readonly meter: MeterSums };

const isMetered = (device: DeviceSums): device is Metered => device.meter !== undefined;

const metersByFactory = new WeakMap<FactorySums, ReadonlyMap<Carrier, readonly Metered[]>>();

/** All meters of a carrier in a factory. */
export function meteredDevices(factory: FactorySums, carrier: Carrier): readonly Metered[] {
  const meters = getOrMake(metersByFactory, factory, () =>
    Map.groupBy(factory.devices.filter(isMetered), ({ meter }) => meter.carrier),
  );
  return meters.get(carrier) ?? [];
}

const isLine = ({ level }: Pick<SiteSums, "level">): boolean => level === ("line" as string);

/**
 * The meters of a carrier through which all of it comes into a factory: the incoming ones. A line has none of its own; there it is the
 * meters of the line that lie behind no other meter of the line.
 */
export function incomingMeters(
  factory: FactorySums,
  { level }: Pick<SiteSums, "level">,
  carrier: Carrier,
): readonly Metered[] {
  const own = meteredDevices(factory, carrier);
  if (!isLine({ level })) return own.filter(({ meter }) => meter.point === "incoming");
  const keys = new Set(own.map(({ key }) => key));
  return own.filter(({ meter }) => meter.parent === undefined || !keys.has(meter.parent));
}

/** The time that readings of a device cover: what they say, at most what is due and was not lost. */
export function coveredBy(
  coveredMs: number,
  { lostMs }: DeviceSums,
  { elapsedMs }: Pick<SiteSums, "elapsedMs">,
): number {
  return Math.min(coveredMs, Math.max(0, elapsedMs - lostMs));
}

/** What some meters counted together. */
export function countedBy(meters: readonly Metered[], site: SiteSums, whenNone: NullReason): Part {
  const dueMs = site.elapsedMs * meters.length;
  if (meters.length === 0) return { reason: whenNone, dueMs };
  const told = meters.flatMap((device) => {
    const { quantity } = device.meter;
    return quantity?.told ? [{ ...quantity, coveredMs: coveredBy(quantity.coveredMs, device, site) }] : [];
  });
  if (told.length === 0) return { reason: "no_data", dueMs };
  return {
    reason: null,
    amount: told.reduce((sum, quantity) => sum + quantity.amount, 0n),
    estimated: told.reduce((sum, quantity) => sum + quantity.estimated, 0n),
    coveredMs: told.reduce((ms, quantity) => ms + quantity.coveredMs, 0),
    dueMs,
    lowerBound: told.length < meters.length || told.some((quantity) => quantity.partial),
  };
}

type KnownPart = { readonly site: Pick<SiteSums, "level" | "elapsedMs">; readonly part: Part };
const partsByFactory = new WeakMap<FactorySums, Map<Carrier, KnownPart>>();

/** What came into a factory of a carrier, at the scale of its unit. It is remembered: each site that holds the factory asks for it. */
export function carrierOf(factory: FactorySums, site: SiteSums, carrier: Carrier): Part {
  const known = getOrMake(partsByFactory, factory, () => new Map<Carrier, KnownPart>());
  const before = known.get(carrier);
  if (before && before.site.elapsedMs === site.elapsedMs && isLine(before.site) === isLine(site)) return before.part;
  const part = countedBy(incomingMeters(factory, site, carrier), site, "no_meter");
  const { level, elapsedMs } = site;
  known.set(carrier, { site: { level, elapsedMs }, part });
  return part;
}

/** Likewise into all factories of a site. */
export function carrierOfSite(site: SiteSums, carrier: Carrier): Part {
  return addParts(site.factories.map((factory) => carrierOf(factory, site, carrier)));
}
