import { calibrationExpired } from "./calibration-expired.ts";
import type { FindingCheck } from "./definition.ts";
import { energyWithoutProduction } from "./energy-without-production.ts";
import { fasterThanPlanned } from "./faster-than-planned.ts";
import { feederSum } from "./feeder-sum.ts";
import { powerRegister } from "./power-register.ts";
import { productionWithoutEnergy } from "./production-without-energy.ts";
import { simulatedInRealPilot } from "./simulated-in-real-pilot.ts";

/**
 * Every check of a period's sums. UNEXPLAINED_RESET is none of them: it is told when the leaf is folded, whatever period it lies in, since
 * it makes every figure above it a lower bound.
 */
export const findingChecks: readonly FindingCheck[] = [
  feederSum,
  powerRegister,
  energyWithoutProduction,
  productionWithoutEnergy,
  calibrationExpired,
  simulatedInRealPilot,
  fasterThanPlanned,
];
