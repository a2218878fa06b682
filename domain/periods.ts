/** The periods of figures. Half-open [start, end) in Asia/Shanghai, labelled by their start (facts, KPI definitions). */
export const periods = ["minute", "hour", "day"] as const;
export type Period = (typeof periods)[number];

export const timeZone = "Asia/Shanghai";
export const minuteMs = 60_000;
export const hourMs = 3_600_000;
export const dayMs = 86_400_000;

/** Asia/Shanghai is UTC+8 without daylight saving since 1991-09-15; a test compares this with the ICU zone data. */
const offsetMs = 8 * hourMs;

const lengths: Record<Period, number> = { minute: minuteMs, hour: hourMs, day: dayMs };

/** A figure becomes final this long after its period's end; later data makes a revision (CONTRACTS 4). */
export const watermarkMs = 15 * minuteMs;

export function periodLengthMs(period: Period): number {
  return lengths[period];
}

/** Start of the period that holds a time, UTC ms. */
export function periodStart(period: Period, timeMs: number): number {
  const length = lengths[period];
  return Math.floor((timeMs + offsetMs) / length) * length - offsetMs;
}

/** ISO 8601 with the zone's offset: 2026-11-22T08:00:00+08:00 (milliseconds only where there are some). */
export function isoTime(timeMs: number): string {
  const text = new Date(timeMs + offsetMs).toISOString();
  return `${text.slice(0, text.endsWith(".000Z") ? 19 : 23)}+08:00`;
}
