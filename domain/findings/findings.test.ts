import { describe, expect, test } from "vitest";
import type { GaugeSum } from "../gauge-leaf.ts";
import { noGauge } from "../gauge-leaf.ts";
import { counted, device, exampleStartMs, factory, machine, meter, site } from "../indicators/examples.ts";
import type { DeviceSums, SiteSums } from "../period-sums.ts";
import { dayMs, hourMs, periods } from "../periods.ts";
import { calibrationExpired } from "./calibration-expired.ts";
import { findingChecks } from "./catalogue.ts";
import type { FindingCheck } from "./definition.ts";
import { energyWithoutProduction } from "./energy-without-production.ts";
import { fasterThanPlanned } from "./faster-than-planned.ts";
import { feederSum } from "./feeder-sum.ts";
import { powerRegister } from "./power-register.ts";
import { productionWithoutEnergy } from "./production-without-energy.ts";
import { simulatedInRealPilot } from "./simulated-in-real-pilot.ts";

const subjects = ({ check }: FindingCheck, devices: DeviceSums[], over: Partial<SiteSums> = {}) =>
  check(site(devices, over)).map(({ subject }) => subject);

test("the checks have different codes, words in two languages, and periods", () => {
  expect(new Set(findingChecks.map(({ code }) => code)).size).toBe(findingChecks.length);
  for (const { code, zh, en, periods: when } of findingChecks) {
    expect(code).toMatch(/^[A-Z][A-Z_]+$/);
    expect(zh).toMatch(/[一-龥]/);
    expect(en).not.toBe("");
    expect(when.length > 0 && when.every((period) => periods.includes(period))).toBe(true);
  }
  for (const { check } of findingChecks) expect(check(site([]))).toEqual([]);
});

describe("FEEDER_SUM_DEVIATES", () => {
  const balance = (feeders: string, over = {}) => [
    meter("main", "electricity", "1000"),
    meter("a", "electricity", feeders, { point: "feeder", ...over }),
  ];
  test("beyond the threshold of the pilot, in either direction", () => {
    expect(subjects(feederSum, balance("950"))).toEqual([]);
    expect(subjects(feederSum, balance("949.99"))).toEqual(["f1"]);
    expect(subjects(feederSum, balance("1050.01"))).toEqual(["f1"]);
    const thresholds = { ...site([]).thresholds, meterBalance: 0.1 };
    expect(subjects(feederSum, balance("949.99"), { thresholds })).toEqual([]);
    expect(feederSum.check(site(balance("900")))[0]?.detail).toContain("1000 kWh came in, 900 kWh through the feeders");
  });
  test("not where readings are missing, cannot be told, or there are no feeders", () => {
    expect(subjects(feederSum, balance("1", { quantity: counted("1", { coveredMs: hourMs * 0.8 }) }))).toEqual([]);
    expect(subjects(feederSum, balance("1", { quantity: counted("1", { partial: true }) }))).toEqual([]);
    expect(subjects(feederSum, [meter("main", "electricity", "1000")])).toEqual([]);
    expect(subjects(feederSum, [meter("main", "electricity", "0"), ...balance("5").slice(1)])).toEqual(["f1"]);
  });
});

describe("POWER_REGISTER_DEVIATES", () => {
  const power = (kWh: number, coveredMs = hourMs): GaugeSum => ({
    ...noGauge,
    integral: BigInt(Math.round(kWh * 1_000_000)) * 3_600_000n,
    coveredMs,
  });
  const with_ = (own: GaugeSum | undefined, over = {}) => [meter("m", "electricity", "100", { power: own, ...over })];
  test("more than a tenth apart, whichever is greater; the part without power is taken like the rest", () => {
    expect(subjects(powerRegister, with_(power(91)))).toEqual([]);
    expect(subjects(powerRegister, with_(power(89)))).toEqual(["f1/gw-1/m"]);
    expect(subjects(powerRegister, with_(power(112)))).toEqual(["f1/gw-1/m"]);
    // 95 % of the time at the same power add up to 95 kWh: no deviation.
    expect(subjects(powerRegister, with_(power(95, hourMs * 0.95)))).toEqual([]);
    // A register that stands still while power flows.
    expect(subjects(powerRegister, with_(power(50), { quantity: counted("0") }))).toEqual(["f1/gw-1/m"]);
  });
  test("not without power, with gaps, for next to nothing, or for other carriers", () => {
    expect(subjects(powerRegister, with_(undefined))).toEqual([]);
    expect(subjects(powerRegister, with_(power(50, hourMs * 0.8)))).toEqual([]);
    expect(subjects(powerRegister, with_(power(0.4), { quantity: counted("0.1") }))).toEqual([]);
    expect(subjects(powerRegister, with_(power(50), { carrier: "heat" }))).toEqual([]);
  });
});

const press = (pieces: string, over = {}) => machine("press", { pieces: { "production.total": pieces }, ...over });

describe("ENERGY_WITHOUT_PRODUCTION", () => {
  test("planned, supplied, and not a piece", () => {
    const of = (pieces: string, kWh: string, plannedMinutes?: number) =>
      subjects(energyWithoutProduction, [
        meter("m", "electricity", kWh),
        press(pieces, plannedMinutes === undefined ? {} : { plannedMinutes }),
      ]);
    expect(of("0", "20", 480)).toEqual(["f1"]);
    expect(of("1", "20", 480)).toEqual([]);
    expect(of("0", "0", 480)).toEqual([]);
    // A Sunday: a plant at rest takes energy too.
    expect(of("0", "20")).toEqual([]);
  });
  test("a counter that was hardly read does not say that nothing was made", () => {
    const silent = press("0", { plannedMinutes: 480 });
    const unread =
      silent.machine?.counters.map((one) => ({ ...one, whole: { ...one.whole, coveredMs: 600_000 } })) ?? [];
    const devices = [
      meter("m", "electricity", "20"),
      { ...silent, machine: silent.machine && { ...silent.machine, counters: unread } },
    ];
    expect(subjects(energyWithoutProduction, devices)).toEqual([]);
  });
});

test("PRODUCTION_WITHOUT_ENERGY: pieces while well-read incoming meters stand still", () => {
  const of = (pieces: string, over = {}) =>
    subjects(productionWithoutEnergy, [meter("m", "electricity", "0", over), press(pieces)]);
  expect(of("5")).toEqual(["f1"]);
  expect(of("0")).toEqual([]);
  expect(of("5", { quantity: counted("0.000001") })).toEqual([]);
  expect(of("5", { quantity: counted("0", { coveredMs: hourMs / 2 }) })).toEqual([]);
  expect(of("5", { quantity: counted("0", { partial: true }) })).toEqual([]);
  expect(of("5", { quantity: undefined })).toEqual([]);
});

test("CALIBRATION_EXPIRED: from the day after the last one on which it counts", () => {
  const of = (calibrationDueOn: string | undefined) =>
    subjects(calibrationExpired, [meter("m", "electricity", "1", { calibrationDueOn })], {
      startMs: exampleStartMs - 8 * hourMs,
      endMs: exampleStartMs - 8 * hourMs + dayMs,
    });
  // The day is 2026-11-23.
  expect(of("2026-11-22")).toEqual(["f1/gw-1/m"]);
  expect(of("2026-11-23")).toEqual([]);
  expect(of(undefined)).toEqual([]);
});

test("SIMULATED_IN_REAL_PILOT: each such device, and none in a demonstration", () => {
  const devices = [device("f1/gw-1/a", { simulated: true }), device("f1/gw-1/b")];
  expect(subjects(simulatedInRealPilot, devices)).toEqual(["f1/gw-1/a"]);
  expect(subjects(simulatedInRealPilot, devices, { demo: true })).toEqual([]);
});

test("FASTER_THAN_PLANNED: effectiveness above 1 of a machine whose time is known", () => {
  const of = (perItemMs: string) =>
    subjects(fasterThanPlanned, [
      machine("press", {
        plannedMinutes: 60,
        runningMinutes: 50,
        perItemMs,
        pieces: { "production.total": "50" },
      }),
    ]);
  expect(of("60000")).toEqual([]);
  expect(of("60001")).toEqual(["f1/gw-1/press"]);
});

test("each factory is judged by itself", () => {
  const own = (id: string, kWh: string) =>
    factory([meter("m", "electricity", kWh), meter("a", "electricity", "80", { point: "feeder" })], { id });
  const found = feederSum.check(site([], { factories: [own("f1", "100"), own("f2", "81")] }));
  expect(found.map(({ subject }) => subject)).toEqual(["f1"]);
});
