/**
 * The periods of figures. Half-open [start, end) in Asia/Shanghai, labelled by their start (facts, KPI definitions). A shift is a
 * factory's, out of its calendar, and belongs to the date on which it begins; `pilot` are the periods that a pilot declares.
 */
export const periods = ["minute", "quarter_hour", "hour", "shift", "day", "month", "quarter", "year", "pilot"] as const;
export type Period = (typeof periods)[number];

/** Periods that are as long whenever they are. */
export const fixedPeriods = ["minute", "quarter_hour", "hour", "day"] as const satisfies readonly Period[];
export type FixedPeriod = (typeof fixedPeriods)[number];

/** Periods that the calendar alone tells, the same for everybody. */
export const calendarPeriods = [...fixedPeriods, "month", "quarter", "year"] as const satisfies readonly Period[];
export type CalendarPeriod = (typeof calendarPeriods)[number];

export const timeZone = "Asia/Shanghai";
export const minuteMs = 60_000;
export const quarterHourMs = 900_000;
export const hourMs = 3_600_000;
export const dayMs = 86_400_000;

/** Asia/Shanghai is UTC+8 without daylight saving since 1991-09-15; a test compares this with the ICU zone data. */
const offsetMs = 8 * hourMs;

const lengths: Readonly<Record<FixedPeriod, number>> = {
  minute: minuteMs,
  quarter_hour: quarterHourMs,
  hour: hourMs,
  day: dayMs,
};
const months: Readonly<Record<Exclude<CalendarPeriod, FixedPeriod>, number>> = { month: 1, quarter: 3, year: 12 };

/** A figure becomes final this long after its period's end; later data makes a revision (CONTRACTS 4). */
export const watermarkMs = 15 * minuteMs;

export function isFixedPeriod(period: Period): period is FixedPeriod {
  return (fixedPeriods as readonly Period[]).includes(period);
}

export function isCalendarPeriod(period: Period): period is CalendarPeriod {
  return (calendarPeriods as readonly Period[]).includes(period);
}

export function periodLengthMs(period: FixedPeriod): number {
  return lengths[period];
}

/** Start of the months, so many at a time, that hold a time; `ahead` groups later. */
function monthsStart(count: number, timeMs: number, ahead: number): number {
  const local = new Date(timeMs + offsetMs);
  const first = Math.floor(local.getUTCMonth() / count) * count;
  return Date.UTC(local.getUTCFullYear(), first + ahead * count) - offsetMs;
}

/** Start of the period that holds a time, UTC ms. */
export function periodStart(period: CalendarPeriod, timeMs: number): number {
  if (!isFixedPeriod(period)) return monthsStart(months[period], timeMs, 0);
  const length = lengths[period];
  return Math.floor((timeMs + offsetMs) / length) * length - offsetMs;
}

/** End (exclusive) of the period that holds a time: the start of the next one, UTC ms. */
export function periodEnd(period: CalendarPeriod, timeMs: number): number {
  if (!isFixedPeriod(period)) return monthsStart(months[period], timeMs, 1);
  return periodStart(period, timeMs) + lengths[period];
}

/** Starts of the periods that begin in [fromMs, toMs), in order. */
export function* periodStarts(period: CalendarPeriod, fromMs: number, toMs: number): Generator<number> {
  const first = periodStart(period, fromMs);
  for (let at = first < fromMs ? periodEnd(period, first) : first; at < toMs; at = periodEnd(period, at)) yield at;
}

/** ISO 8601 with the zone's offset: 2026-11-22T08:00:00+08:00 (milliseconds only where there are some). */
export function isoTime(timeMs: number): string {
  const text = new Date(timeMs + offsetMs).toISOString();
  return `${text.slice(0, text.endsWith(".000Z") ? 19 : 23)}+08:00`;
}

/** Start of a date (`2026-11-22`) in Asia/Shanghai, UTC ms. The date must exist. */
export function dateStart(date: string): number {
  return Date.parse(`${date}T00:00:00Z`) - offsetMs;
}
