import { alarmsActiveTime } from "./alarms-active-time.ts";
import { alarmsRaised } from "./alarms-raised.ts";
import { carbonElectricity } from "./carbon-electricity.ts";
import { costElectricity } from "./cost-electricity.ts";
import { costFlat } from "./cost-flat.ts";
import { costPeak } from "./cost-peak.ts";
import { costSharp } from "./cost-sharp.ts";
import { costValley } from "./cost-valley.ts";
import { collectionRate } from "./data-collection-rate.ts";
import { dataCompleteness } from "./data-completeness.ts";
import { dataDelay } from "./data-delay.ts";
import type { Indicator } from "./definition.ts";
import { devicesEffective } from "./devices-effective.ts";
import { devicesEverConnected } from "./devices-ever-connected.ts";
import { devicesNetworkingRate } from "./devices-networking-rate.ts";
import { devicesOnline } from "./devices-online.ts";
import { onlineRate } from "./devices-online-rate.ts";
import { devicesRegistered } from "./devices-registered.ts";
import { energyBalance } from "./energy-balance.ts";
import { energyComprehensive } from "./energy-comprehensive.ts";
import { energyCompressedAir } from "./energy-compressed-air.ts";
import { energyDemand } from "./energy-demand.ts";
import { energyElectricity } from "./energy-electricity.ts";
import { energyGas } from "./energy-gas.ts";
import { energyHeat } from "./energy-heat.ts";
import { energySteam } from "./energy-steam.ts";
import { energyUnitProduct } from "./energy-unit-product.ts";
import { energyWater } from "./energy-water.ts";
import { enterprisesConnected } from "./enterprises-connected.ts";
import { factoriesConnected } from "./factories-connected.ts";
import { oee } from "./oee.ts";
import { oeeAvailability } from "./oee-availability.ts";
import { oeeEffectiveness } from "./oee-effectiveness.ts";
import { nee } from "./oee-nee.ts";
import { oeeQuality } from "./oee-quality.ts";
import { throughput } from "./production-throughput.ts";
import { qualityCp } from "./quality-cp.ts";
import { qualityCpk } from "./quality-cpk.ts";
import { qualityFpy } from "./quality-fpy.ts";
import { qualityRatio } from "./quality-ratio.ts";
import { qualityReworkRatio } from "./quality-rework-ratio.ts";
import { qualityScrapRatio } from "./quality-scrap-ratio.ts";
import type { RatioDefinition } from "./ratio.ts";

/**
 * Every indicator of the catalogue: what is listed here is computed, published and served with its definition. Counters of single devices
 * are figures too, named by their role (roles.ts).
 */
export const indicators: readonly Indicator[] = [
  factoriesConnected,
  enterprisesConnected,
  devicesRegistered,
  devicesEverConnected,
  devicesOnline,
  devicesEffective,
  devicesNetworkingRate,
  onlineRate,
  collectionRate,
  dataCompleteness,
  dataDelay,
  energyElectricity,
  energyGas,
  energyWater,
  energySteam,
  energyHeat,
  energyCompressedAir,
  energyComprehensive,
  energyUnitProduct,
  energyDemand,
  energyBalance,
  costElectricity,
  costSharp,
  costPeak,
  costFlat,
  costValley,
  carbonElectricity,
  throughput,
  qualityFpy,
  qualityRatio,
  qualityScrapRatio,
  qualityReworkRatio,
  qualityCp,
  qualityCpk,
  oee,
  oeeAvailability,
  oeeEffectiveness,
  oeeQuality,
  nee,
  alarmsRaised,
  alarmsActiveTime,
];

/** Of devices that an alarm rule watches. */
export const alarmIndicators: readonly Indicator[] = [alarmsRaised, alarmsActiveTime];

/** The ratios of machines, of single ones too. */
export const ratioIndicators: readonly RatioDefinition[] = indicators.filter(
  (indicator): indicator is RatioDefinition => "ratio" in indicator,
);
