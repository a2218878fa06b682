import { dayMs, type Period } from "@jilian/domain/periods.ts";

/** Rows of one page, when nothing is asked for and at most. */
export const defaultLimit = 500;
export const maxLimit = 5_000;

/** Longest range of one question, so that no question makes the store sort without bound. */
export const maxSpanMs: Readonly<Record<Period, number>> = {
  minute: 7 * dayMs,
  quarter_hour: 31 * dayMs,
  hour: 366 * dayMs,
  shift: 366 * dayMs,
  day: 3_660 * dayMs,
  month: 36_600 * dayMs,
  quarter: 36_600 * dayMs,
  year: 36_600 * dayMs,
  pilot: 36_600 * dayMs,
};

/** Range that is taken when none is asked for, back from now. */
export const defaultSpanMs: Readonly<Record<Period, number>> = {
  minute: 3_600_000,
  quarter_hour: dayMs,
  hour: dayMs,
  shift: 7 * dayMs,
  day: 31 * dayMs,
  month: 366 * dayMs,
  quarter: 3 * 366 * dayMs,
  year: 10 * 366 * dayMs,
  pilot: 10 * 366 * dayMs,
};

/** Likewise for readings. */
export const maxReadingsSpanMs = 31 * dayMs;
export const defaultReadingsSpanMs = 3_600_000;

/** Likewise for alarms. */
export const maxAlarmsSpanMs = 366 * dayMs;
export const defaultAlarmsSpanMs = 7 * dayMs;

/** All of them, as `/info` tells them: of figures and the completeness ledger by kind of period, of readings, of alarms. */
export const allMaxSpansMs = { ...maxSpanMs, readings: maxReadingsSpanMs, alarms: maxAlarmsSpanMs };

/** Leaves that one page of device figures may read; a page over it is shorter than asked and has a next one. */
export const maxLeavesPerPage = 200_000;

/** Device hours that one page of the completeness ledger may add up; a page over it is shorter than asked and has a next one. */
export const maxDeviceHoursPerPage = 100_000;

/** Names that a refusal lists; a longer list names where to find them all. */
export const maxKnownNamed = 20;
