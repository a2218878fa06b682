import { getOrMake } from "./get-or-make.ts";
import { dayMs, hourMs, minuteMs } from "./periods.ts";

/** In the order of `weekdayOf`: the first day of the epoch was a Thursday. */
export const weekdays = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"] as const;
export type Weekday = (typeof weekdays)[number];

/** When a shift begins and ends, `HH:MM` in Asia/Shanghai. An end that is not after the begin is on the next day. */
export type ShiftTimes = { readonly from: string; readonly to: string; readonly name?: string };

/**
 * When machines are planned to be busy (ISO 22400-2, planned busy time: the operation time less planned downtime, so breaks lie between
 * shifts). A shift across midnight belongs to the date on which it begins (facts, Time); time that is planned twice counts once.
 */
export type Calendar = {
  readonly shifts: readonly (ShiftTimes & { readonly days: readonly Weekday[] })[];
  /** Dates (`YYYY-MM-DD`, both inclusive) on which these shifts begin instead: none on a holiday, some on a Sunday that is worked. */
  readonly exceptions?: readonly {
    readonly date: string;
    readonly untilDate?: string;
    readonly shifts: readonly ShiftTimes[];
  }[];
};

/** A stretch of time, [fromMs, toMs), UTC ms. */
export type Interval = { readonly fromMs: number; readonly toMs: number };

/** Asia/Shanghai is eight hours ahead (periods.ts). */
const offsetMs = 8 * hourMs;

/** Number of the date that holds a time. */
function dateAt(timeMs: number): number {
  return Math.floor((timeMs + offsetMs) / dayMs);
}

/** Number of a date, days since 1970-01-01; undefined when there is no such date. */
export function dateNumber(text: string): number | undefined {
  const timeMs = Date.parse(`${text}T00:00:00Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text) || Number.isNaN(timeMs)) return undefined;
  // Date.parse takes 2026-02-30 for the second of March.
  return new Date(timeMs).toISOString().startsWith(text) ? timeMs / dayMs : undefined;
}

function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

/** Length of a shift in minutes: equal times are a whole day. */
export function shiftMinutes({ from, to }: ShiftTimes): number {
  const length = minutesOf(to) - minutesOf(from);
  return length > 0 ? length : length + 24 * 60;
}

/** What is known of the dates of a calendar, which does not change. */
const shiftsByDate = new WeakMap<Calendar, Map<number, readonly ShiftTimes[]>>();

function shiftsOn(calendar: Calendar, date: number): readonly ShiftTimes[] {
  const known = getOrMake(shiftsByDate, calendar, () => new Map<number, readonly ShiftTimes[]>());
  return getOrMake(known, date, () => findShifts(calendar, date));
}

function findShifts(calendar: Calendar, date: number): readonly ShiftTimes[] {
  for (const exception of calendar.exceptions ?? []) {
    const first = dateNumber(exception.date) ?? Number.POSITIVE_INFINITY;
    const last = exception.untilDate === undefined ? first : (dateNumber(exception.untilDate) ?? first);
    if (date >= first && date <= last) return exception.shifts;
  }
  const weekday = weekdays[date % weekdays.length] as Weekday;
  return calendar.shifts.filter(({ days }) => days.includes(weekday));
}

/** A certain shift. */
export type Shift = Interval & { readonly name: string | undefined };

/** The shifts that begin in [fromMs, toMs), date by date. */
export function shiftsIn(calendar: Calendar, fromMs: number, toMs: number): Shift[] {
  const found: Shift[] = [];
  for (let date = dateAt(fromMs); date * dayMs - offsetMs < toMs; date += 1) {
    for (const shift of shiftsOn(calendar, date)) {
      const startMs = date * dayMs - offsetMs + minutesOf(shift.from) * minuteMs;
      if (startMs < fromMs || startMs >= toMs) continue;
      found.push({ fromMs: startMs, toMs: startMs + shiftMinutes(shift) * minuteMs, name: shift.name });
    }
  }
  return found;
}

/** The planned time in [fromMs, toMs), in order, each moment once. */
export function plannedIntervals(calendar: Calendar, fromMs: number, toMs: number): Interval[] {
  // No shift is longer than a day: one that reaches in began the day before at the earliest.
  const found = shiftsIn(calendar, fromMs - dayMs, toMs)
    .map((shift) => ({ fromMs: Math.max(fromMs, shift.fromMs), toMs: Math.min(toMs, shift.toMs) }))
    .filter((interval) => interval.toMs > interval.fromMs);
  const union: { fromMs: number; toMs: number }[] = [];
  for (const next of found.sort((a, b) => a.fromMs - b.fromMs)) {
    const last = union.at(-1);
    if (last && next.fromMs <= last.toMs) last.toMs = Math.max(last.toMs, next.toMs);
    else union.push(next);
  }
  return union;
}

/** Milliseconds in intervals that do not overlap. */
export function lengthOf(intervals: readonly Interval[]): number {
  return intervals.reduce((ms, { fromMs, toMs }) => ms + toMs - fromMs, 0);
}
