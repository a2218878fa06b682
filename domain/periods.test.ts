import { describe, expect, it } from "vitest";
import {
  calendarPeriods,
  dateStart,
  fixedPeriods,
  isoTime,
  minuteMs,
  periodEnd,
  periodLengthMs,
  periodStart,
  periodStarts,
  timeZone,
} from "./periods.ts";
import { randomFrom } from "./test-random.ts";

const shanghai = new Intl.DateTimeFormat("sv-SE", {
  timeZone,
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

describe("Asia/Shanghai", () => {
  it("is what the zone data says, every 11 hours and at random seconds from 1992 to 2040", () => {
    const from = Date.UTC(1992, 0, 1);
    const to = Date.UTC(2041, 0, 1);
    const random = randomFrom(8);
    // Compared once: 120,000 expectations take seconds.
    const [found, wanted]: [string[], string[]] = [[], []];
    const check = (timeMs: number) => {
      const text = shanghai.format(timeMs).replace(" ", "T");
      for (const start of [timeMs, periodStart("day", timeMs), periodStart("hour", timeMs)]) found.push(isoTime(start));
      for (const start of [text, `${text.slice(0, 10)}T00:00:00`, `${text.slice(0, 13)}:00:00`])
        wanted.push(`${start}+08:00`);
    };
    for (let timeMs = from; timeMs < to; timeMs += 11 * 3_600_000) check(timeMs);
    for (let i = 0; i < 2000; i += 1) check(from + (random.bits() % ((to - from) / 1000)) * 1000);
    expect(found.length).toBeGreaterThan(120_000);
    expect(found.filter((text, i) => text !== wanted[i])).toEqual([]);
  });
});

describe("periods", () => {
  it("are half-open and follow each other: a start belongs to its own period, the millisecond before to the one before", () => {
    for (const period of calendarPeriods) {
      const start = periodStart(period, Date.UTC(2026, 10, 22, 3, 4, 5, 6));
      const end = periodEnd(period, start);
      expect(periodStart(period, start)).toBe(start);
      expect(periodStart(period, end - 1)).toBe(start);
      expect(periodEnd(period, end - 1)).toBe(end);
      expect(periodStart(period, end)).toBe(end);
      expect(periodEnd(period, start - 1)).toBe(start);
      expect([...periodStarts(period, start - 1, end + 1)]).toEqual([start, end]);
      expect([...periodStarts(period, start, end)]).toEqual([start]);
    }
    for (const period of fixedPeriods)
      expect(periodLengthMs(period)).toBe(periodEnd(period, 0) - periodStart(period, 0));
  });

  it("begin months, quarters and years with their first day in Shanghai, leap years included", () => {
    const at = (text: string) => Date.parse(`${text}T00:00:00+08:00`);
    expect(periodStart("month", at("2026-12-01") - 1)).toBe(at("2026-11-01"));
    expect(periodEnd("month", at("2028-02-29"))).toBe(at("2028-03-01"));
    expect([...periodStarts("month", at("2026-11-01"), at("2027-02-01"))]).toEqual(
      ["2026-11-01", "2026-12-01", "2027-01-01"].map(at),
    );
    expect(periodStart("quarter", at("2026-12-31"))).toBe(at("2026-10-01"));
    expect(periodEnd("quarter", at("2026-12-31"))).toBe(at("2027-01-01"));
    expect(periodStart("year", at("2027-01-01") - 1)).toBe(at("2026-01-01"));
    expect(dateStart("2026-11-22")).toBe(at("2026-11-22"));
  });

  it("begin a day at 16:00 UTC of the day before", () => {
    expect(periodStart("day", Date.UTC(2026, 10, 22, 15, 59, 59, 999))).toBe(Date.UTC(2026, 10, 21, 16));
    expect(periodStart("day", Date.UTC(2026, 10, 22, 16))).toBe(Date.UTC(2026, 10, 22, 16));
    expect(periodStart("minute", -1)).toBe(-minuteMs);
  });

  it("show milliseconds only where there are some", () => {
    expect(isoTime(Date.UTC(2026, 10, 22))).toBe("2026-11-22T08:00:00+08:00");
    expect(isoTime(Date.UTC(2026, 10, 22, 16, 0, 0, 7))).toBe("2026-11-23T00:00:00.007+08:00");
  });
});
