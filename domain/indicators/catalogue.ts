import { carbonElectricity } from "./carbon-electricity.ts";
import type { IndicatorDefinition } from "./definition.ts";
import { devicesEverConnected } from "./devices-ever-connected.ts";
import { devicesOnline } from "./devices-online.ts";
import { devicesRegistered } from "./devices-registered.ts";
import { energyComprehensive } from "./energy-comprehensive.ts";
import { energyElectricity } from "./energy-electricity.ts";
import { energyUnitProduct } from "./energy-unit-product.ts";
import { factoriesConnected } from "./factories-connected.ts";
import { oee } from "./oee.ts";
import { oeeAvailability } from "./oee-availability.ts";
import { oeeEffectiveness } from "./oee-effectiveness.ts";
import { oeeQuality } from "./oee-quality.ts";
import { qualityFpy } from "./quality-fpy.ts";
import { qualityRatio } from "./quality-ratio.ts";
import { qualityReworkRatio } from "./quality-rework-ratio.ts";
import { qualityScrapRatio } from "./quality-scrap-ratio.ts";
import type { RatioDefinition } from "./ratio.ts";

/** The ratios of machines, of single ones too. */
export const ratioIndicators: readonly RatioDefinition[] = [
  qualityFpy,
  qualityRatio,
  qualityScrapRatio,
  qualityReworkRatio,
  oee,
  oeeAvailability,
  oeeEffectiveness,
  oeeQuality,
];

/** Every indicator of the catalogue. Counters of single devices are figures too, named by their role (roles.ts). */
export const indicators: readonly IndicatorDefinition[] = [
  factoriesConnected,
  devicesRegistered,
  devicesEverConnected,
  devicesOnline,
  energyElectricity,
  energyComprehensive,
  energyUnitProduct,
  carbonElectricity,
  ...ratioIndicators,
];
