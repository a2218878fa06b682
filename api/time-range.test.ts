import { hourMs } from "@jilian/domain/periods.ts";
import { describe, expect, it } from "vitest";
import type { ParameterFault } from "./problems.ts";
import { parseTime, readRange } from "./time-range.ts";

const timeMs = Date.UTC(2026, 10, 22, 0, 0, 0);

describe("parseTime", () => {
  it.each([
    ["2026-11-22T08:00:00+08:00", timeMs],
    // A plus sign that the client did not encode.
    ["2026-11-22T08:00:00 08:00", timeMs],
    ["2026-11-22T00:00:00Z", timeMs],
    ["2026-11-21T19:30-04:30", timeMs],
    ["2026-11-22T00:00:00.5Z", timeMs + 500],
    [String(timeMs), timeMs],
    ["0", 0],
  ])("reads %s", (text, expected) => expect(parseTime(text)).toBe(expected));

  it.each([
    "2026-11-22T08:00:00",
    "2026-11-22",
    "2026-02-30T00:00:00Z",
    "2026-11-22T24:00:00Z",
    "2026-11-22T00:00:00+15:00",
    "0050-01-01T00:00:00Z",
    "-1",
    "1e12",
    "999999999999999",
    "gestern",
    "",
  ])("refuses %s", (text) => expect(parseTime(text)).toBeUndefined());
});

describe("readRange", () => {
  const setting = { nowMs: timeMs, defaultMs: hourMs, maxMs: 24 * hourMs };
  const read = (query: { from?: string; to?: string }) => {
    const faults: ParameterFault[] = [];
    return { range: readRange(query, setting, faults), faults: faults.map((f) => f.parameter) };
  };

  it("takes the time before now, or before `to`", () => {
    expect(read({})).toEqual({ range: { fromMs: timeMs - hourMs, toMs: timeMs }, faults: [] });
    expect(read({ to: String(hourMs * 5) }).range).toEqual({ fromMs: 4 * hourMs, toMs: 5 * hourMs });
  });

  it("tells every fault: both times, order, length", () => {
    expect(read({ from: "x", to: "y" }).faults).toEqual(["to", "from"]);
    expect(read({ from: "10", to: "10" }).faults).toEqual(["from"]);
    expect(read({ from: "0", to: String(24 * hourMs + 1) }).faults).toEqual(["from"]);
    expect(read({ from: "0", to: String(24 * hourMs) }).faults).toEqual([]);
  });
});
