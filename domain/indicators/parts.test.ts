import { describe, expect, test } from "vitest";
import type { Quantity } from "../machine-sums.ts";
import { hourMs } from "../periods.ts";
import { carbonElectricity } from "./carbon-electricity.ts";
import { energyElectricity } from "./energy-electricity.ts";
import { counted, factory, meter, site } from "./examples.ts";

const electricity = (name: string, over: Omit<Partial<Quantity>, "amount"> & { amount?: string } = {}) => {
  const { amount = "0", ...more } = over;
  return meter(name, "electricity", amount, { quantity: counted(amount, more) });
};

describe("a sum over meters and factories", () => {
  test("completeness and estimated share are those of the sums, not the means of the meters'", () => {
    // One meter read for 54 minutes with 90 kWh, the other inside one gap with 10 kWh of which all is an estimate.
    const f1 = factory([
      electricity("m1", { amount: "90", coveredMs: 54 * 60_000 }),
      electricity("m2", { amount: "10", estimated: 10_000_000n, coveredMs: 0 }),
    ]);
    // Of the other's two meters one has never been read.
    const f2 = factory(
      [electricity("m1", { amount: "300" }), meter("m2", "electricity", "0", { quantity: undefined })],
      { id: "f2" },
    );
    const of = (...factories: (typeof f1)[]) => energyElectricity.figure(site([], { factories }));
    expect(of(f1)).toMatchObject({ value: "100", completeness: 0.45, estimatedShare: 0.1, lowerBound: false });
    expect(of(f2)).toMatchObject({ value: "300", completeness: 0.5, estimatedShare: 0, lowerBound: true });
    expect(of(f1, f2)).toMatchObject({ value: "400", completeness: 0.475, estimatedShare: 0.025, lowerBound: true });
    const carbon = carbonElectricity.figure(site([], { level: "cluster", factories: [f1, f2] }));
    // 400 kWh x 0.5306 kgCO2/kWh, the national factor of 2023.
    expect(carbon).toMatchObject({ value: "212.24", completeness: 0.475, lowerBound: true });
  });

  test("completeness is the part of the time that has passed; a clock that runs ahead does not exceed it, lost samples lower it", () => {
    const devices = [
      electricity("m1", { amount: "0.000001", coveredMs: hourMs / 8 }),
      electricity("m2", { amount: "0.000001", coveredMs: hourMs }),
    ];
    const quarter = { elapsedMs: hourMs / 4 };
    expect(energyElectricity.figure(site(devices, quarter))).toMatchObject({ value: "0.000002", completeness: 0.75 });
    const lossy = devices.map((one) => ({ ...one, lostMs: hourMs / 8 }));
    expect(energyElectricity.figure(site(lossy, quarter)).completeness).toBe(0.5);
  });

  test("a register that stood still is 0; one that was read once says nothing", () => {
    expect(energyElectricity.figure(site([electricity("m")]))).toMatchObject({ value: "0", reason: null });
    expect(energyElectricity.figure(site([electricity("m", { told: false, coveredMs: 0 })]))).toMatchObject({
      value: null,
      reason: "no_data",
      completeness: 0,
      estimatedShare: null,
    });
    expect(energyElectricity.figure(site([]))).toMatchObject({ value: null, reason: "no_meter", completeness: null });
  });

  test("an increase that cannot be told makes the sum a lower bound", () => {
    const devices = [electricity("m1", { amount: "5", partial: true }), electricity("m2", { amount: "5" })];
    expect(energyElectricity.figure(site(devices))).toMatchObject({ value: "10", lowerBound: true });
  });

  test("a line has what its meters count that lie behind no other meter of the line", () => {
    const main = meter("main", "electricity", "1000");
    const line = [
      meter("a", "electricity", "60", { point: "feeder", parent: "f1/gw-1/main" }),
      meter("b", "electricity", "40", { point: "feeder", parent: "f1/gw-1/main" }),
      meter("c", "electricity", "15", { point: "feeder", parent: "f1/gw-1/a" }),
    ];
    expect(energyElectricity.figure(site(line, { level: "line" })).value).toBe("100");
    expect(energyElectricity.figure(site([main, ...line])).value).toBe("1000");
    expect(energyElectricity.figure(site(line)).reason).toBe("no_meter");
  });
});
