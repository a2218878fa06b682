import { describe, expect, test } from "vitest";
import type { Carrier } from "../roles.ts";
import { energyComprehensive } from "./energy-comprehensive.ts";
import { counted, factory, meter, site } from "./examples.ts";
import { declaredFactors } from "./factors.ts";

const declared = { gas: 121_430n, steam: 9_500_000n };
const of = (devices: ReturnType<typeof meter>[], factorsPer100000: Partial<Record<Carrier, bigint>> = declared) =>
  energyComprehensive.figure(site([], { factories: [factory(devices, { factorsPer100000 })] }));

test("by hand from the standard's formula: 12,345.678 kWh x 0.1229 kgce/kWh = 1,517.2838262 kgce", () => {
  expect(of([meter("m", "electricity", "12345.678")]).value).toBe("1517.2838262");
});

test("each carrier by hand, ten units of it", () => {
  const values = (["electricity", "heat", "water", "compressed_air", "gas", "steam"] as const).map((carrier) => [
    carrier,
    of([meter("m", carrier, "10")]).value,
  ]);
  expect(Object.fromEntries(values)).toEqual({
    electricity: "1.229",
    heat: "0.3412",
    water: "2.571",
    compressed_air: "0.4",
    gas: "12.143",
    steam: "950",
  });
  expect(Object.keys(declaredFactors)).toEqual(Object.keys(declared));
});

describe("what is missing", () => {
  test("a metered carrier without a declared factor is a missing term, whatever the others say", () => {
    const both = [meter("m", "electricity", "10"), meter("g", "gas", "1")];
    expect(of(both, {})).toMatchObject({ value: null, reason: "no_factor", completeness: null });
    expect(of(both).value).toBe("2.4433");
    expect(of([meter("g", "gas", "1", { point: "feeder" })])).toMatchObject({ value: null, reason: "no_meter" });
  });

  test("a carrier whose meter told nothing makes it a lower bound, and so does a factory without a factor in a cluster", () => {
    const silent = meter("g", "gas", "0", { quantity: undefined });
    expect(of([meter("m", "electricity", "10"), silent])).toMatchObject({
      value: "1.229",
      lowerBound: true,
      completeness: 0.5,
    });
    expect(of([silent])).toMatchObject({ value: null, reason: "no_data", completeness: 0 });
    const cluster = site([], {
      level: "cluster",
      factories: [
        factory([meter("m", "electricity", "10")]),
        factory([meter("g", "gas", "1")], { id: "f2" }),
        factory([], { id: "f3" }),
      ],
    });
    expect(energyComprehensive.figure(cluster)).toMatchObject({ value: "1.229", lowerBound: true, completeness: 0.5 });
  });

  test("the estimated share is that of the coal, not of the readings", () => {
    // Of 1.229 kgce nothing is estimated, of 1.2143 all.
    const gas = meter("g", "gas", "1", { quantity: counted("1", { estimated: 1_000_000n }) });
    expect(of([meter("m", "electricity", "10"), gas]).estimatedShare).toBe(0.497);
  });
});

test("a figure names the table, and the declared factors that it used", () => {
  const one = (devices: ReturnType<typeof meter>[]) =>
    energyComprehensive.factors?.(site([], { factories: [factory(devices, { factorsPer100000: declared })] }));
  expect(one([meter("m", "electricity", "1")])).toBe("GB/T 2589-2020");
  expect(one([meter("m", "electricity", "1"), meter("g", "gas", "1")])).toBe("GB/T 2589-2020, gas as declared");
});
