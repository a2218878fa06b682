import { expect, test } from "vitest";
import { hourMs, minuteMs } from "./periods.ts";
import { bandsOf, greaterDemand, type Tariff } from "./tariff.ts";

const tariff: Tariff = {
  periods: [
    { kind: "sharp", from: "11:00", to: "12:00", months: [7, 8] },
    { kind: "peak", from: "10:00", to: "12:00" },
    { kind: "valley", from: "22:00", to: "08:00" },
    { kind: "flat", from: "12:00", to: "22:00" },
  ],
  pricesCNYPerKWh: { sharp: 1.5, peak: 1.2, flat: 0.7, valley: 0.3 },
};
/** A time of 2026 in Asia/Shanghai. */
const at = (month: number, day: number, hour: number, minute = 0) =>
  Date.UTC(2026, month - 1, day, hour, minute) - 8 * hourMs;

test("the band of a minute: over midnight, by month, the first that holds it, flat where none does", () => {
  const band = bandsOf(tariff);
  expect([at(6, 30, 11), at(7, 1, 11), at(7, 1, 10, 59), at(7, 1, 12)].map(band)).toEqual([
    "peak",
    "sharp",
    "peak",
    "flat",
  ]);
  expect([at(3, 1, 21, 59), at(3, 1, 22), at(3, 2, 0), at(3, 2, 7, 59)].map(band)).toEqual([
    "flat",
    "valley",
    "valley",
    "valley",
  ]);
  expect(band(at(3, 2, 8))).toBe("flat");
  // The last minute of a year in Shanghai, still the day before in UTC.
  expect(
    bandsOf({ ...tariff, periods: [{ kind: "sharp", from: "00:00", to: "24:00", months: [1] }] })(at(1, 1, 0)),
  ).toBe("sharp");
});

test("every minute of a day has the band that the times say", () => {
  const band = bandsOf(tariff);
  const counts = new Map<string, number>();
  for (let m = 0; m < 24 * 60; m += 1) {
    const own = band(at(8, 5, 0) + m * minuteMs);
    counts.set(own, (counts.get(own) ?? 0) + 1);
  }
  expect(Object.fromEntries(counts)).toEqual({ valley: 600, flat: 720, peak: 60, sharp: 60 });
});

test("the greater demand, of equals the earlier, whatever the order; what one lacks, both lack", () => {
  const a = { amount: 5n, startMs: 900_000, estimated: 1n, partial: false };
  const b = { amount: 5n, startMs: 0, estimated: 0n, partial: false };
  const c = { amount: 4n, startMs: 1, estimated: 0n, partial: true };
  expect(greaterDemand(a, b)).toEqual(b);
  expect(greaterDemand(b, a)).toEqual(b);
  expect(greaterDemand(c, a)).toEqual({ ...a, partial: true });
  expect(greaterDemand(undefined, c)).toEqual(c);
  expect(greaterDemand(greaterDemand(a, b), c)).toEqual(greaterDemand(a, greaterDemand(b, c)));
});
