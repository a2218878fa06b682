import { describe, expect, test } from "vitest";
import { type Calendar, dateNumber, lengthOf, plannedIntervals, shiftMinutes } from "./calendar.ts";
import { dayMs, hourMs, isoTime, minuteMs } from "./periods.ts";

const everyDay = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
const shanghai = (text: string) => Date.parse(`${text}:00+08:00`);
const planned = (calendar: Calendar, from: string, to: string) =>
  plannedIntervals(calendar, shanghai(from), shanghai(to)).map(({ fromMs, toMs }) =>
    [fromMs, toMs].map((ms) => isoTime(ms).slice(0, 16)),
  );

describe("shifts", () => {
  const twoShifts: Calendar = {
    shifts: [
      { days: ["mon", "tue", "wed", "thu", "fri"], from: "08:00", to: "16:30" },
      { days: ["fri"], from: "22:00", to: "06:00" },
    ],
  };

  test("one across midnight belongs to the date on which it begins", () => {
    // 27 November 2026 is a Friday.
    expect(planned(twoShifts, "2026-11-27T00:00", "2026-11-30T12:00")).toEqual([
      ["2026-11-27T08:00", "2026-11-27T16:30"],
      ["2026-11-27T22:00", "2026-11-28T06:00"],
      ["2026-11-30T08:00", "2026-11-30T12:00"],
    ]);
    expect(planned(twoShifts, "2026-11-28T00:00", "2026-11-28T01:00")).toEqual([
      ["2026-11-28T00:00", "2026-11-28T01:00"],
    ]);
    expect(planned(twoShifts, "2026-11-28T06:00", "2026-11-29T23:59")).toEqual([]);
  });

  test("time that is planned twice counts once", () => {
    const overlapping: Calendar = {
      shifts: [
        { days: ["mon"], from: "08:00", to: "16:00" },
        { days: ["mon"], from: "12:00", to: "20:00" },
        { days: ["mon"], from: "20:00", to: "21:00" },
        { days: ["mon"], from: "09:00", to: "10:00" },
      ],
    };
    expect(planned(overlapping, "2026-11-30T00:00", "2026-12-01T00:00")).toEqual([
      ["2026-11-30T08:00", "2026-11-30T21:00"],
    ]);
  });

  test("equal times, or 24:00, make a whole day", () => {
    expect(shiftMinutes({ from: "08:00", to: "08:00" })).toBe(1440);
    expect(shiftMinutes({ from: "00:00", to: "24:00" })).toBe(1440);
    expect(shiftMinutes({ from: "20:00", to: "08:00" })).toBe(720);
    for (const from of ["00:00", "08:00", "23:59"]) {
      const always: Calendar = { shifts: [{ days: everyDay, from, to: from }] };
      const fromMs = shanghai("2026-11-27T00:00");
      expect(lengthOf(plannedIntervals(always, fromMs, fromMs + 9 * dayMs))).toBe(9 * dayMs);
    }
  });
});

describe("exceptions", () => {
  const calendar: Calendar = {
    shifts: [{ days: everyDay, from: "20:00", to: "04:00" }],
    exceptions: [
      { date: "2026-10-01", untilDate: "2026-10-03", shifts: [] },
      { date: "2026-10-10", shifts: [{ from: "06:00", to: "07:00" }] },
    ],
  };

  test("a holiday has no shift that begins on it; the one of the day before goes on", () => {
    expect(planned(calendar, "2026-09-30T12:00", "2026-10-05T00:00")).toEqual([
      ["2026-09-30T20:00", "2026-10-01T04:00"],
      ["2026-10-04T20:00", "2026-10-05T00:00"],
    ]);
  });

  test("another day has shifts of its own", () => {
    expect(planned(calendar, "2026-10-10T04:00", "2026-10-11T12:00")).toEqual([
      ["2026-10-10T06:00", "2026-10-10T07:00"],
    ]);
  });
});

test("a day is the sum of its minutes, whatever the calendar", () => {
  const calendar: Calendar = {
    shifts: [
      { days: ["thu", "fri"], from: "23:10", to: "05:05" },
      { days: ["fri"], from: "04:00", to: "09:41" },
    ],
    exceptions: [{ date: "2026-11-28", shifts: [{ from: "00:00", to: "01:00" }] }],
  };
  const fromMs = shanghai("2026-11-26T00:00");
  let sum = 0;
  for (let at = fromMs; at < fromMs + 4 * dayMs; at += minuteMs)
    sum += lengthOf(plannedIntervals(calendar, at, at + minuteMs));
  expect(sum).toBe(lengthOf(plannedIntervals(calendar, fromMs, fromMs + 4 * dayMs)));
  // Thursday's 5 h 55 min; Friday's later one reaches 4 h 36 min beyond it; Friday's night 5 h 55 min, in which Saturday's hour lies.
  expect(sum).toBe(5 * hourMs + 55 * minuteMs + 4 * hourMs + 36 * minuteMs + 5 * hourMs + 55 * minuteMs);
});

test("dates that do not exist are none", () => {
  expect(dateNumber("1970-01-02")).toBe(1);
  expect(dateNumber("2028-02-29")).toBe(21_243);
  for (const text of ["2026-02-29", "2026-13-01", "2026-00-10", "26-01-01", "2026-1-1", "", "2026-04-31"])
    expect(dateNumber(text), text).toBeUndefined();
});
