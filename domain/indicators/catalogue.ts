import type { IndicatorDefinition } from "./definition.ts";
import { devicesEverConnected } from "./devices-ever-connected.ts";
import { devicesOnline } from "./devices-online.ts";
import { devicesRegistered } from "./devices-registered.ts";
import { energyComprehensive } from "./energy-comprehensive.ts";
import { energyElectricity } from "./energy-electricity.ts";
import { factoriesConnected } from "./factories-connected.ts";

/** Every indicator of factory level and above. Counters of single devices are figures too, named by their role (roles.ts). */
export const indicators: readonly IndicatorDefinition[] = [
  factoriesConnected,
  devicesRegistered,
  devicesEverConnected,
  devicesOnline,
  energyElectricity,
  energyComprehensive,
];
