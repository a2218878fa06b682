import { formatScaled } from "../decimal.ts";
import { coveredBy } from "../indicators/parts.ts";
import { isoTime } from "../periods.ts";
import { type FindingCheck, isJudged, percent } from "./definition.ts";

/** Largest share of the register by which the power's sum may differ: power is read from time to time, the register counts all of it. */
const mostShare = 0.1;
/** Below this energy, kWh at 6 places, a share says nothing. */
const leastEnergy = 1_000_000n;
const hourMs = 3_600_000n;

/** A meter's power adds up to something else than its register counted: a wrong ratio, scale or unit of one of them. */
export const powerRegister: FindingCheck = {
  code: "POWER_REGISTER_DEVIATES",
  zh: "功率积分与电量不符",
  en: "a meter's power does not add up to its register",
  periods: ["day"],
  check: (site) =>
    site.factories.flatMap(({ devices }) =>
      devices.flatMap((device) => {
        const { carrier, quantity, power } = device.meter ?? {};
        if (carrier !== "electricity" || !quantity?.told || quantity.partial || !power) return [];
        if (!isJudged(coveredBy(quantity.coveredMs, device, site), site) || !isJudged(power.coveredMs, site)) return [];
        // kW ms to kWh, and from the time that it covers to all of it.
        const integral = (power.integral * BigInt(site.elapsedMs)) / (hourMs * BigInt(power.coveredMs));
        const difference = integral > quantity.amount ? integral - quantity.amount : quantity.amount - integral;
        const greater = integral > quantity.amount ? integral : quantity.amount;
        if (greater < leastEnergy || difference * 10_000n <= greater * BigInt(mostShare * 10_000)) return [];
        const [counted, summed] = [quantity.amount, integral].map((amount) => formatScaled(amount, 6));
        const detail = `the day from ${isoTime(site.startMs)}: the register counted ${counted} kWh, the power adds up to ${summed} kWh, a difference of ${percent(Number(difference) / Number(greater))}: check scale, unit and transformer ratio of both`;
        return [{ subject: device.key, detail }];
      }),
    ),
};
