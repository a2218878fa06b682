import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { expect, test } from "vitest";
import { readRegistry } from "./registry.ts";
import { registryVersions, versionOf } from "./registry-versions.ts";
import { hourSet, piecesOf } from "./rollup-pieces.ts";
import { existsAt, spansOver } from "./spans.ts";

const at = (text: string) => Date.parse(`${text}:00+08:00`);

function registryOf(shifts: string) {
  const checked = readRegistry(
    `cluster: { id: c, name: 集群 }
pilot: { id: p, name: 试点, demo: false, periods: [{ id: base, name: 基期, from: "2026-11-01", until: "2026-11-20" }] }
enterprises:
  - { id: e, name: 甲, creditCode: 91350100M000100Y43, factories: [{ id: f, name: 厂, calendar: { shifts: [${shifts}] }, gateways: [
      { id: g, devices: [{ id: d, name: d, kind: machine }]}]}]}
`,
    "cluster.yaml",
  );
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  return checked.value;
}

test("shifts are of the date on which they begin, and of the calendar in force then", () => {
  const night =
    '{ days: [sun, mon], from: "22:00", to: "06:00", name: 夜班 }, { days: [sun], from: "22:00", to: "23:00" }';
  const versions = registryVersions([
    { number: 1, ...versionOf(registryOf(night)) },
    {
      number: 2,
      ...versionOf(registryOf('{ days: [mon], from: "21:00", to: "23:00" }'), { fromMs: at("2026-11-23T12:00") }),
    },
  ]);
  const over = (from: string, to: string) =>
    spansOver("shift", versions, at(from), at(to), at("2026-12-01T00:00")).map(({ startMs, endMs, name }) => [
      startMs,
      endMs,
      name,
    ]);
  const sunday = [at("2026-11-22T22:00"), at("2026-11-23T06:00"), "夜班"];
  // Across midnight; of two that begin together the longer one.
  expect(over("2026-11-23T05:00", "2026-11-23T05:01")).toEqual([sunday]);
  expect(over("2026-11-23T06:00", "2026-11-23T20:00")).toEqual([]);
  expect(over("2026-11-22T00:00", "2026-11-24T12:00")).toEqual([
    sunday,
    [at("2026-11-23T21:00"), at("2026-11-23T23:00"), undefined],
  ]);
  expect(spansOver("pilot", versions, at("2026-11-20T23:59"), at("2026-11-21T12:00"), at("2026-12-01T00:00"))).toEqual([
    { period: "pilot", startMs: at("2026-11-01T00:00"), endMs: at("2026-11-21T00:00"), name: "基期" },
  ]);
  expect(existsAt("cluster", "shift")).toBe(false);
  expect(existsAt("pilot", "hour")).toBe(false);
});

test("a period is cut into ended months, days and hours, and parts of hours; time without leaves is not read", () => {
  const nowMs = at("2026-12-01T02:20");
  const known = ["2026-10-05T10:00", "2026-11-30T22:00", "2026-12-01T00:00", "2026-12-01T02:00", "2026-12-09T00:00"];
  const pieces = piecesOf(at("2026-10-01T00:00"), at("2027-01-01T00:00"), nowMs, hourSet(known.map(at)));
  const cut = pieces.map(({ unit, fromMs, toMs }) => [
    unit,
    (fromMs - at("2026-12-01T00:00")) / hourMs,
    (toMs - fromMs) / hourMs,
  ]);
  expect(cut).toEqual([
    ["month", -61 * 24, 31 * 24],
    ["month", -30 * 24, 30 * 24],
    ["hour", 0, 1],
    ["none", 1, 1],
    ["part", 2, 1],
  ]);
  const shift = piecesOf(at("2026-11-30T21:50"), at("2026-11-30T23:10"), nowMs, hourSet([at("2026-11-30T22:00")]));
  expect(shift.map(({ unit, toMs, fromMs }) => [unit, (toMs - fromMs) / minuteMs])).toEqual([
    ["none", 10],
    ["hour", 60],
    ["none", 10],
  ]);
});
