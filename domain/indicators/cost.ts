import type { FactorySums, SiteSums } from "../period-sums.ts";
import { absentFigure, type Figure } from "../result.ts";
import type { Band } from "../tariff.ts";
import { addParts, countedBy, figureOfPart, incomingMeters, type Part, timesFactor } from "./parts.ts";

/** What the electricity of one band costs a factory, CNY at 10 places. */
function costOf(of: FactorySums, within: SiteSums, band: Band): Part {
  const meters = incomingMeters(of, within, "electricity");
  const dueMs = within.elapsedMs * meters.length;
  if (meters.length === 0) return { reason: "no_meter", dueMs };
  const price = of.pricesPer10000?.[band];
  const banded = meters.map((device) => {
    const { bands, quantity } = device.meter;
    // Minutes of the period in another band are no lack: what was read of the period covers this one too.
    const own = bands && quantity && { ...bands[band], told: quantity.told, coveredMs: quantity.coveredMs };
    return { ...device, meter: { ...device.meter, quantity: own } };
  });
  if (!of.pricesPer10000) return { reason: "no_tariff", dueMs };
  const part = countedBy(banded, within, "no_meter");
  if (part.reason !== null) return part;
  // A band without a price has no time in the tariff, unless it was left out.
  if (price === undefined && part.amount > 0n) return { reason: "no_tariff", dueMs };
  return timesFactor(part, price ?? 0n);
}

/**
 * What electricity of some bands costs over the factories of a site. A factory whose cost is not known makes the sum a lower bound.
 * Completeness is that of the readings of its incoming meters, whatever band they fall into.
 */
export function costFigure(site: SiteSums, bands: readonly Band[]): Figure {
  const parts = site.factories.map((one): Part => {
    const ofBands = bands.map((band) => costOf(one, site, band));
    const lack = ofBands.find(({ reason }) => reason !== null);
    const sum = addParts(ofBands);
    // The bands share their meters and their time.
    const dueMs = sum.dueMs / bands.length;
    if (lack?.reason || sum.reason !== null) return { reason: lack?.reason ?? sum.reason ?? "no_data", dueMs };
    return { ...sum, dueMs, coveredMs: sum.coveredMs / bands.length };
  });
  const sum = addParts(parts);
  return sum.reason === null ? figureOfPart(sum, "CNY") : absentFigure(sum.reason, sum.reason === "no_data" ? 0 : null);
}
