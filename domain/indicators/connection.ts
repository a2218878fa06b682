import type { DeviceSums, PollSum, SiteSums } from "../period-sums.ts";
import { dayMs } from "../periods.ts";
import { absentFigure, type Figure, type NullReason, share } from "../result.ts";
import { formatFraction, ratioPlaces } from "./fraction.ts";
import { devicesOf } from "./parts.ts";

/** Polls that gave readings which are stored or were suppressed, in millionths, and polls that were due. */
export type Collected = { readonly good: bigint; readonly scheduled: bigint };

/**
 * Good polls of a device: of the answered ones the share of readings that were not bad and are not missing in the store. What a deadband
 * suppressed was read all the same.
 */
export function collectedOf({ scheduled, answered, polled, bad, missing }: PollSum): Collected {
  const kept = Math.max(0, polled - bad - missing);
  const good = polled > 0 ? (BigInt(answered) * BigInt(kept) * 1_000_000n) / BigInt(polled) : 0n;
  return { good, scheduled: BigInt(scheduled) };
}

/** True when at least the agreed share of the polls that were due is collected; the share counts to four places. */
export function isCollected(sum: PollSum | undefined, leastShare: number): boolean {
  if (!sum || sum.scheduled === 0) return false;
  const { good, scheduled } = collectedOf(sum);
  return good * 10_000n >= scheduled * BigInt(Math.round(leastShare * 10_000)) * 1_000_000n;
}

/** True for periods that are told by their days; shorter ones are one span of their own. */
export const toldByDays = ({ startMs, endMs }: Pick<SiteSums, "startMs" | "endMs">): boolean => endMs - startMs > dayMs;

/**
 * Effectively connected (有效联网): collection rate of 90 % on 20 of the last 30 days, or what the pilot has agreed; in a shorter period of
 * the same share of its days, rounded up; in one of a day or less, in the period itself.
 */
export function isEffective(device: DeviceSums, of: SiteSums): boolean {
  const { collectionRate, effectiveDays, windowDays } = of.thresholds;
  if (!toldByDays(of)) return isCollected(device.polls, collectionRate);
  const days = Math.min(windowDays, Math.ceil(of.elapsedMs / dayMs));
  const needed = Math.ceil((days * effectiveDays) / windowDays);
  return device.days.filter((day) => isCollected(day, collectionRate)).length >= needed;
}

export const isOnline = ({ onlineMs }: DeviceSums): boolean => onlineMs > 0;

/** Networked devices as the headline takes them: effective ones where thirty days can tell it, those online before. */
export function isNetworked(device: DeviceSums, of: SiteSums): boolean {
  return of.elapsedMs >= of.thresholds.windowDays * dayMs ? isEffective(device, of) : isOnline(device);
}

/** The figure of a share that no reading covers: of devices, of time. */
export function shareFigure(
  numerator: bigint,
  denominator: bigint,
  whenZero: NullReason,
  completeness: number | null = null,
): Figure {
  if (denominator === 0n) return absentFigure(whenZero, completeness);
  const value = formatFraction({ numerator, denominator }, ratioPlaces);
  return { value, reason: null, completeness, estimatedShare: null, lowerBound: false };
}

/** Of the devices of a site those with an account, and how much of them that is. */
export function accounted(of: SiteSums): { sums: PollSum[]; completeness: number | null } {
  const devices = devicesOf(of);
  const sums = devices.flatMap(({ polls }) => polls ?? []);
  return { sums, completeness: devices.length > 0 ? share(BigInt(sums.length), BigInt(devices.length)) : null };
}
