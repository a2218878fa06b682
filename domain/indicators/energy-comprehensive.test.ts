import { expect, test } from "vitest";
import { formatScaled } from "../decimal.ts";
import { comprehensiveEnergy } from "./energy-comprehensive.ts";

test("by hand from the standard's formula: 12,345.678 kWh x 0.1229 kgce/kWh = 1,517.2838262 kgce", () => {
  expect(formatScaled(comprehensiveEnergy(12_345_678_000n), 10)).toBe("1517.2838262");
});
