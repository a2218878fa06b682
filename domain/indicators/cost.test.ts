import { expect, test } from "vitest";
import type { FactorySums } from "../period-sums.ts";
import { hourMs } from "../periods.ts";
import { costElectricity } from "./cost-electricity.ts";
import { costPeak } from "./cost-peak.ts";
import { counted, factory, meter, site } from "./examples.ts";

const bands = { sharp: counted("0"), peak: counted("3"), flat: counted("7"), valley: counted("0") };
const prices = { peak: 12_345n, flat: 6000n };
const of = (over: Partial<FactorySums> = {}, quantity = counted("10")) =>
  factory([meter("m", "electricity", "10", { quantity, bands })], { pricesPer10000: prices, ...over });
const cost = (...factories: FactorySums[]) => costElectricity.figure(site([], { level: "cluster", factories }));

test("each band at its price, to the last digit; bands that the tariff does not have cost nothing", () => {
  expect(cost(of())).toMatchObject({ value: "7.9035", completeness: 1, estimatedShare: 0, lowerBound: false });
  expect(costPeak.figure(site([], { factories: [of()] })).value).toBe("3.7035");
});

test("completeness is that of the meter, and minutes of other bands are no lack", () => {
  const half = counted("10", { coveredMs: hourMs / 2 });
  expect(cost(of({}, half)).completeness).toBe(0.5);
  expect(costPeak.figure(site([], { factories: [of({}, half)] })).completeness).toBe(0.5);
});

test("without a tariff, or a price for a band with energy, it is null; beside a factory that has one a lower bound", () => {
  const bare = factory([meter("m", "electricity", "10")], { id: "f2" });
  expect(cost(bare)).toMatchObject({ value: null, reason: "no_tariff", completeness: null });
  expect(cost(of({ pricesPer10000: { peak: 12_345n } }))).toMatchObject({ value: null, reason: "no_tariff" });
  expect(cost(of(), bare)).toMatchObject({ value: "7.9035", completeness: 0.5, lowerBound: true });
  expect(cost(of(), factory([], { id: "f3" }))).toMatchObject({ value: "7.9035", completeness: 1, lowerBound: false });
  expect(cost(factory([]))).toMatchObject({ value: null, reason: "no_meter" });
  expect(cost(of({}, counted("0", { told: false, coveredMs: 0 })))).toMatchObject({
    reason: "no_data",
    completeness: 0,
  });
});
