import { formatScaled } from "../decimal.ts";
import { carrierOf, isTold } from "../indicators/parts.ts";
import { isoTime } from "../periods.ts";
import { type FindingCheck, isJudged } from "./definition.ts";
import { piecesOf } from "./production.ts";

/** Machines made pieces while the incoming meters, well read, stood still: a meter that is bridged, or the registers of another plant. */
export const productionWithoutEnergy: FindingCheck = {
  code: "PRODUCTION_WITHOUT_ENERGY",
  zh: "有产量无用能",
  en: "production without energy",
  periods: ["hour", "day"],
  check: (site) =>
    site.factories.flatMap((factory) => {
      const energy = carrierOf(factory, site, "electricity");
      const pieces = piecesOf(factory, site) ?? 0n;
      if (!isTold(energy) || energy.amount > 0n || energy.lowerBound || pieces === 0n) return [];
      if (!isJudged((energy.coveredMs / energy.dueMs) * site.elapsedMs, site)) return [];
      const detail = `the ${site.period} from ${isoTime(site.startMs)}: ${formatScaled(pieces, 6)} pieces were counted while the incoming meters stood still: check which register is read`;
      return [{ subject: factory.id, detail }];
    }),
};
