import { isCalendarPeriod, isoTime, type Period, periodStart } from "@jilian/domain/periods.ts";
import type { ParameterFault } from "./problems.ts";
import { parseTime } from "./time-range.ts";

/**
 * Reads the start of a period. When shifts and the pilot's periods begin, tells the registry: of those any time is taken.
 * Pushes a fault that names the period's own start where the time is another one; the answer is meaningless then.
 * @returns UTC ms
 */
export function readStart(parameter: string, text: string, period: Period, faults: ParameterFault[]): number {
  const timeMs = parseTime(text);
  const startMs = timeMs !== undefined && isCalendarPeriod(period) ? periodStart(period, timeMs) : timeMs;
  if (timeMs !== undefined && startMs === timeMs) return timeMs;
  const example = startMs === undefined || startMs < 0 ? "2026-11-22T08:00:00+08:00" : isoTime(startMs);
  const expected =
    startMs === undefined ? "a time: ISO 8601 with offset, or milliseconds since 1970" : "the start of it";
  faults.push({
    ...{ parameter, found: JSON.stringify(text), expected: `${expected} (${period})` },
    remedy: `write ${example}`,
  });
  return Number.NaN;
}
