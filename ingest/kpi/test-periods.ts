/** Which figures and periods the tests of the engine compare with the oracle. */
import {
  dayMs,
  type FixedPeriod,
  fixedPeriods,
  hourMs,
  minuteMs,
  type Period,
  periodLengthMs,
  periods,
} from "@jilian/domain/periods.ts";
import { type Oracle, type OracleFigure, oracleFigures } from "./test-oracle.ts";
import { startMs } from "./test-plant.ts";

/** What this oracle knows; tests/kpi holds the others. */
export const judged = new Set([
  "devices.registered",
  "devices.online",
  "devices.ever_connected",
  "factories.connected",
  "energy.electricity",
  "energy.comprehensive",
  "carbon.electricity",
  "energy.unit_product",
  ...["oee", "oee.availability", "oee.effectiveness", "oee.quality"],
  ...["quality.fpy", "quality.ratio", "quality.scrap_ratio", "quality.rework_ratio"],
]);

/** Quarters and years are merged as months are. */
export const compared = periods.filter((period) => period !== "quarter" && period !== "year");

/** The periods of the plant's days, with the factory of a shift. */
export function periodsUntil(nowMs: number): { period: Period; from: number; to: number; factory?: string }[] {
  const spans: { period: Period; from: number; to: number; factory?: string }[] = [];
  for (const period of fixedPeriods) {
    const length = periodLengthMs(period);
    // Figures begin with the hour in which the engine first ran.
    for (let from = startOf(period, startOf("hour", startMs)); from <= nowMs; from += length)
      spans.push({ period, from, to: from + length });
  }
  // By the clock on the wall, in Shanghai: 22:47 on the last of November.
  const at = (text: string) => Date.parse(`2026-${text}:00+08:00`);
  const longer: [Period, string, string, string?][] = [
    ["shift", "11-30T20:00", "11-30T23:30", "f1"],
    ["shift", "11-30T23:45", "12-01T02:00", "f1"],
    ["shift", "12-01T02:10", "12-01T02:30", "f1"],
    ["month", "11-01T00:00", "12-01T00:00"],
    ["month", "12-01T00:00", "12-31T24:00"],
    ["pilot", "11-30T00:00", "12-02T00:00"],
  ];
  for (const [period, from, to, factory] of longer)
    if (at(from) <= nowMs) spans.push({ period, from: at(from), to: at(to), ...(factory && { factory }) });
  return spans;
}

/** What the oracle says of a period where its figures exist. */
export function figuresIn(
  oracle: Oracle,
  { period, from, to, factory }: ReturnType<typeof periodsUntil>[number],
  nowMs: number,
) {
  const figures = new Map<string, OracleFigure>();
  for (const [id, figure] of oracleFigures(oracle, from, to, nowMs, period !== "minute" && period !== "quarter_hour")) {
    const [, level = "", entity = ""] = id.split("|");
    const exists = factory === undefined ? level !== "line" : level === "factory" && entity === factory;
    if (exists && (level !== "pilot" || to - from >= dayMs)) figures.set(`${id}|${period}|${from}`, figure);
  }
  return figures;
}

/** Shanghai is eight hours ahead. */
export function startOf(period: FixedPeriod, atMs: number): number {
  const length = { minute: minuteMs, quarter_hour: 15 * minuteMs, hour: hourMs, day: dayMs }[period];
  return atMs - ((atMs + 8 * hourMs) % length);
}
