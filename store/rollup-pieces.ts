import { hourMs, periodEnd, periodStart } from "@jilian/domain/periods.ts";
import type { RollupUnit } from "./telemetry.ts";

/** Hours of which leaves exist. Time of which there are none costs nothing. */
export type KnownHours = {
  /** True when [fromMs, toMs) touches a known hour. */
  readonly has: (fromMs: number, toMs: number) => boolean;
  /** Start of the first known hour that ends after a time; undefined when there is none. */
  readonly after: (timeMs: number) => number | undefined;
};

/** Known hours that grow. */
export type HourSet = KnownHours & {
  /** @returns false when it was known */
  readonly add: (hour: number) => boolean;
};

/** @param hours starts of hours, in any order */
export function hourSet(hours: Iterable<number>): HourSet {
  const known = [...new Set(hours)].sort((a, b) => a - b);

  /** Place of the first hour at or after a time. */
  function placeOf(timeMs: number): number {
    let low = 0;
    let high = known.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((known[middle] as number) < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const after = (timeMs: number) => known[placeOf(timeMs - hourMs + 1)];
  return {
    after,
    has: (fromMs, toMs) => (after(fromMs) ?? Number.POSITIVE_INFINITY) < toMs,
    add: (hour) => {
      const place = placeOf(hour);
      if (known[place] === hour) return false;
      known.splice(place, 0, hour);
      return true;
    },
  };
}

/** A piece of a period: an ended hour, day or month, a part of an hour or an hour that has not ended, or time without leaves. */
export type Piece = {
  readonly unit: RollupUnit | "part" | "none";
  readonly fromMs: number;
  readonly toMs: number;
};

const largestFirst = ["month", "day", "hour"] as const satisfies readonly RollupUnit[];

/**
 * Cuts [startMs, endMs) into pieces, each as large as can be, but for those that begin after now: a source whose clock is fast may say
 * something of them, which is not in before their time has come.
 */
export function piecesOf(startMs: number, endMs: number, nowMs: number, hours: KnownHours): Piece[] {
  const pieces: Piece[] = [];
  for (let at = startMs; at < endMs && at <= nowMs; ) {
    const unit = largestFirst.find((one) => {
      const end = periodEnd(one, at);
      return periodStart(one, at) === at && end <= endMs && end <= nowMs;
    });
    const toMs = unit ? periodEnd(unit, at) : Math.min(endMs, periodEnd("hour", at));
    if (!hours.has(at, toMs)) {
      pieces.push({ unit: "none", fromMs: at, toMs });
    } else pieces.push({ unit: unit ?? "part", fromMs: at, toMs });
    at = toMs;
  }
  return pieces;
}
