import { expect, test } from "vitest";
import { energyUnitProduct, unitProductEnergy } from "./energy-unit-product.ts";
import { factory, machine, meter, site } from "./examples.ts";

const press = (good: string, product?: string) =>
  machine("press", { pieces: { "production.good": good }, ...(product && { product }) }, { output: true });
const perPiece = (kWh: string, pieces: string) =>
  energyUnitProduct.figure(site([meter("m", "electricity", kWh), press(pieces)]));

test("by hand from the standard's formula: 1,000 kWh are 122.9 kgce; over 4,000 good pieces 0.030725 kgce each", () => {
  expect(perPiece("1000", "4000").value).toBe("0.030725");
  expect(energyUnitProduct.unit).toBe("kgce/pcs");
});

test("it is rounded half up at nine places, and nothing is divided by nothing", () => {
  expect(perPiece("1", "3").value).toBe("0.040966667");
  expect(unitProductEnergy(1n, 0n)).toBe("no_production");
  expect(perPiece("1", "0")).toMatchObject({ value: null, reason: "no_production", completeness: 1 });
});

test("over factories that have both terms; what lacks one counts as due, and different products do not add up", () => {
  const of = (second: ReturnType<typeof factory>) =>
    energyUnitProduct.figure(
      site([], {
        level: "cluster",
        factories: [factory([meter("m", "electricity", "1000"), press("4000", "bar")]), second],
      }),
    );
  const meterOnly = factory([meter("m", "electricity", "500")], { id: "f2" });
  expect(of(meterOnly)).toMatchObject({ value: "0.030725", completeness: 0.5 });
  const gasToo = factory([meter("m", "electricity", "500"), meter("g", "gas", "1"), press("1", "bar")], { id: "f2" });
  expect(of(gasToo)).toMatchObject({ value: "0.030725", completeness: 0.5 });
  const other = factory([meter("m", "electricity", "500"), press("100", "rod")], { id: "f2" });
  expect(of(other)).toMatchObject({ value: null, reason: "mixed_products" });
  expect(of(factory([], { id: "f2" }))).toMatchObject({ value: "0.030725", completeness: 1 });
});
