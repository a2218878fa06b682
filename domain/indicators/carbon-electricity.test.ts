import { expect, test } from "vitest";
import { carbonElectricity } from "./carbon-electricity.ts";
import { meter, site } from "./examples.ts";
import { gridFactorName, gridRegions } from "./factors.ts";

test("by hand: 1,000.5 kWh at the grids' factors of 2023, exactly", () => {
  const values = gridRegions.map((gridRegion) => {
    const of = site([meter("m1", "electricity", "1000.5")], { gridRegion });
    return [gridRegion, carbonElectricity.figure(of).value];
  });
  expect(Object.fromEntries(values)).toEqual({
    national: "530.8653",
    east: "550.275",
    central: "527.36355",
    south: "404.4021",
  });
});

test("a figure names year and grid of its factor", () => {
  expect(gridFactorName("south")).toBe("CN grid CO2 2023, south");
  expect(carbonElectricity.factors?.(site([]))).toBe("CN grid CO2 2023, national");
});
