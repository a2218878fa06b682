import { expect, test } from "vitest";
import { comprehensiveEnergy } from "./energy-comprehensive.ts";
import { energyUnitProduct, unitProductEnergy, unitProductPlaces } from "./energy-unit-product.ts";
import { type Fraction, formatFraction } from "./fraction.ts";

const perPiece = (kWh: bigint, pieces: bigint) =>
  formatFraction(
    unitProductEnergy(comprehensiveEnergy(kWh * 1_000_000n), pieces * 1_000_000n) as Fraction,
    unitProductPlaces,
  );

test("by hand from the standard's formula: 1,000 kWh are 122.9 kgce; over 4,000 good pieces 0.030725 kgce each", () => {
  expect(perPiece(1000n, 4000n)).toBe("0.030725");
  expect(energyUnitProduct.unit).toBe("kgce/pcs");
});

test("it is rounded half up at nine places, and nothing is divided by nothing", () => {
  expect(perPiece(1n, 3n)).toBe("0.040966667");
  expect(unitProductEnergy(1n, 0n)).toBe("no_production");
});
