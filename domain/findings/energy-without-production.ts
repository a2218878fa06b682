import { formatScaled } from "../decimal.ts";
import { carrierOf, isTold } from "../indicators/parts.ts";
import { hourMs, isoTime } from "../periods.ts";
import { type FindingCheck, isJudged } from "./definition.ts";
import { piecesOf } from "./production.ts";

/**
 * A factory that was planned to work took energy and made nothing: a counter that stands still, or a plan that is wrong. Time without a plan
 * says nothing, because a factory at rest takes energy too.
 */
export const energyWithoutProduction: FindingCheck = {
  code: "ENERGY_WITHOUT_PRODUCTION",
  zh: "有用能无产量",
  en: "energy without production in planned time",
  periods: ["day"],
  check: (site) =>
    site.factories.flatMap((factory) => {
      const plannedMs = Math.max(0, ...factory.devices.map(({ machine }) => machine?.plannedMs ?? 0));
      const energy = carrierOf(factory, site, "electricity");
      if (plannedMs < hourMs || !isTold(energy) || energy.amount === 0n) return [];
      if (!isJudged((energy.coveredMs / energy.dueMs) * site.elapsedMs, site) || piecesOf(factory, site) !== 0n)
        return [];
      const detail = `the day from ${isoTime(site.startMs)}: ${formatScaled(energy.amount, 6)} kWh came in, ${plannedMs / 60_000} min were planned, and no machine counted a piece: check the counters and the calendar`;
      return [{ subject: factory.id, detail }];
    }),
};
