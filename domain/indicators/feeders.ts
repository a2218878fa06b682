import type { FactorySums, SiteSums } from "../period-sums.ts";
import { carrierOf, countedBy, isTold, meteredDevices, type Part, type ToldPart } from "./parts.ts";

/** What the feeders of a factory count together that lie directly behind its incoming meters; those behind other feeders are in them. */
export function feedersOf(of: FactorySums, within: SiteSums): Part {
  const meters = meteredDevices(of, "electricity");
  const incoming = new Set(meters.filter(({ meter }) => meter.point === "incoming").map(({ key }) => key));
  const own = meters.filter(
    ({ meter }) => meter.point === "feeder" && (meter.parent === undefined || incoming.has(meter.parent)),
  );
  return countedBy(own, within, "no_feeder");
}

/** Both sides of a factory's balance, or why there is none. */
export function balanceOf(
  of: FactorySums,
  within: SiteSums,
): { incoming: ToldPart; feeders: ToldPart; reason: null } | { reason: NonNullable<Part["reason"]>; due: boolean } {
  const incoming = carrierOf(of, within, "electricity");
  const feeders = feedersOf(of, within);
  if (isTold(incoming) && isTold(feeders)) return { incoming, feeders, reason: null };
  const lacks = [incoming.reason, feeders.reason].filter((reason) => reason !== null);
  const lasting = lacks.find((reason) => reason !== "no_data");
  return { reason: lasting ?? "no_data", due: lasting === undefined };
}
