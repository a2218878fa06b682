import type { CapabilitySum, SiteSums } from "../period-sums.ts";
import { absentFigure, type Figure, type NullReason, nearestReason, share } from "../result.ts";
import { formatRoot, ratioPlaces } from "./fraction.ts";

/** Fewer measured values tell no spread. */
const leastSamples = 2;

/** A capability, as its sign and its square: the root is drawn once, for the figure. */
export type Capability = { readonly negative: boolean; readonly numerator: bigint; readonly denominator: bigint };

/**
 * n(n-1) x variance of the samples, at 12 places: n x sum of squares - square of the sum. Exact, and never below 0.
 */
function spreadOf({ samples: { samples, sum, squares } }: CapabilitySum): bigint {
  return BigInt(samples) * squares - sum * sum;
}

function lackOf({ samples }: CapabilitySum): NullReason | undefined {
  if (samples.samples === 0) return "no_data";
  if (samples.samples < leastSamples) return "too_few";
  return undefined;
}

/** Cp = (USL - LSL) / 6 sigma, with sigma the standard deviation of the samples (n - 1). */
export function cpOf(of: CapabilitySum): Capability | NullReason {
  const lack = lackOf(of);
  if (lack) return lack;
  if (of.lower === undefined || of.upper === undefined) return "no_limits";
  const spread = spreadOf(of);
  if (spread === 0n) return "no_spread";
  const n = BigInt(of.samples.samples);
  const width = of.upper - of.lower;
  return { negative: false, numerator: width * width * n * (n - 1n), denominator: 36n * spread };
}

/** Cpk: the distance of the mean from the nearer limit, over 3 sigma; below 0 where the mean lies outside. With one limit, from that one. */
export function cpkOf(of: CapabilitySum): Capability | NullReason {
  const lack = lackOf(of);
  if (lack) return lack;
  const { samples, sum } = of.samples;
  const n = BigInt(samples);
  const spread = spreadOf(of);
  if (spread === 0n) return "no_spread";
  // n times the distances, so that the mean needs no division.
  const distances = [
    ...(of.upper === undefined ? [] : [of.upper * n - sum]),
    ...(of.lower === undefined ? [] : [sum - of.lower * n]),
  ];
  if (distances.length === 0) return "no_limits";
  const nearer = distances.reduce((a, b) => (a < b ? a : b));
  return { negative: nearer < 0n, numerator: nearer * nearer * (n - 1n), denominator: 9n * n * spread };
}

function isLess(a: Capability, b: Capability): boolean {
  const signed = ({ negative, numerator }: Capability) => (negative ? -numerator : numerator);
  return signed(a) * b.denominator < signed(b) * a.denominator;
}

function format(of: Capability): string {
  const text = formatRoot(of, ratioPlaces);
  return of.negative && text !== "0" ? `-${text}` : text;
}

/** The lowest capability of the machines of a site that have one: those of several metrics have no mean. */
export function capabilityFigure(site: SiteSums, capability: (of: CapabilitySum) => Capability | NullReason): Figure {
  const watched = site.factories.flatMap(({ devices }) =>
    devices.flatMap((device) => (device.capability ? [{ device, of: device.capability }] : [])),
  );
  if (watched.length === 0) return absentFigure("no_limits");
  const found = watched.map(({ of }) => capability(of));
  const coveredMs = watched.reduce(
    (ms, { of, device }) => ms + Math.min(of.samples.coveredMs, Math.max(0, site.elapsedMs - device.lostMs)),
    0,
  );
  const completeness = share(BigInt(coveredMs), BigInt(site.elapsedMs) * BigInt(watched.length));
  const told = found.filter((one) => typeof one !== "string");
  const [first, ...rest] = told;
  if (!first)
    return absentFigure(nearestReason(found.filter((one) => typeof one === "string")) ?? "no_data", completeness);
  const value = format(rest.reduce((least, one) => (isLess(one, least) ? one : least), first));
  return { value, reason: null, completeness, estimatedShare: null, lowerBound: false };
}
