import { describe, expect, test } from "vitest";
import { dayMs, hourMs } from "../periods.ts";
import { collectedOf, isCollected } from "./connection.ts";
import { collectionRate } from "./data-collection-rate.ts";
import { dataCompleteness } from "./data-completeness.ts";
import { devicesEffective } from "./devices-effective.ts";
import { devicesNetworkingRate } from "./devices-networking-rate.ts";
import { device, polls, site } from "./examples.ts";

const span = (days: number, elapsed = days) => ({
  period: "month" as const,
  endMs: site([]).startMs + days * dayMs,
  elapsedMs: elapsed * dayMs,
});
const good = polls(1000, 900);
const poor = polls(1000, 899);
const days = (goodDays: number, poorDays: number) => [
  ...Array.from({ length: goodDays }, () => good),
  ...Array.from({ length: poorDays }, () => poor),
];

describe("good polls", () => {
  test("of an answered poll the share of readings that are good and stored", () => {
    expect(collectedOf(polls(10, 8, { polled: 24, bad: 3, missing: 3 }))).toEqual({ good: 6_000_000n, scheduled: 10n });
    expect(collectedOf(polls(10, 0))).toEqual({ good: 0n, scheduled: 10n });
    // More is missing than was read well: samples that mark a lost device were dropped too.
    expect(collectedOf(polls(10, 8, { bad: 7, missing: 3 })).good).toBe(0n);
  });

  test("the threshold counts itself, and what was never scheduled is not collected", () => {
    expect([good, poor, polls(0, 0), undefined].map((sum) => isCollected(sum, 0.9))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(isCollected(poor, 0.85)).toBe(true);
  });
});

describe("effectively connected", () => {
  const count = (goodDays: number, over: Parameters<typeof site>[1]) =>
    devicesEffective.figure(site([device("f1/gw-1/a", { days: days(goodDays, 30 - goodDays) })], over)).value;

  test("on 20 of the last 30 days; in a shorter period on two thirds, rounded up", () => {
    expect([count(20, span(31)), count(19, span(31))]).toEqual(["1", "0"]);
    // Ten days that have passed: 6.67, so seven.
    expect([count(7, span(31, 10)), count(6, span(31, 10))]).toEqual(["1", "0"]);
    // Of a year the last 30 days are looked at, as those who give the sums do.
    expect(count(20, span(365))).toBe("1");
  });

  test("as the pilot has agreed", () => {
    const thresholds = { ...site([]).thresholds, effectiveDays: 8, windowDays: 10 };
    expect([count(8, { ...span(31), thresholds }), count(7, { ...span(31), thresholds })]).toEqual(["1", "0"]);
  });

  test("the headline of the networking rate is online before thirty days exist, effective then", () => {
    const devices = [device("f1/gw-1/a", { days: days(30, 0) }), device("f1/gw-1/b", { days: [] })];
    expect(devicesNetworkingRate.figure(site(devices, span(31, 29))).value).toBe("1");
    expect(devicesNetworkingRate.figure(site(devices, span(31, 30))).value).toBe("0.5");
  });
});

test("rates over several devices are made of sums; a device without an account lowers completeness, not the rate", () => {
  const devices = [
    device("f1/gw-1/a", { polls: polls(3000, 3000) }),
    device("f1/gw-1/b", { polls: polls(1000, 500, { queued: 1000, missing: 1000 }) }),
    device("f1/gw-1/c"),
  ];
  expect(collectionRate.figure(site(devices))).toMatchObject({ value: "0.75", completeness: 0.6667 });
  expect(dataCompleteness.figure(site(devices))).toMatchObject({ value: "0.75", completeness: 0.6667 });
  expect(collectionRate.figure(site([device("f1/gw-1/c")]))).toMatchObject({ value: null, reason: "no_account" });
  expect(site(devices).elapsedMs).toBe(hourMs);
});
