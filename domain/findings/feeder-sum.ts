import { formatScaled } from "../decimal.ts";
import { balanceOf } from "../indicators/feeders.ts";
import { isoTime } from "../periods.ts";
import { type FindingCheck, isJudged, percent } from "./definition.ts";

/** The feeders behind the incoming meters count more or less than came in, beyond what the pilot has agreed. */
export const feederSum: FindingCheck = {
  code: "FEEDER_SUM_DEVIATES",
  zh: "分路之和与进线不符",
  en: "the feeders' sum deviates from the incoming meter",
  periods: ["day"],
  check: (site) =>
    site.factories.flatMap((factory) => {
      const balance = balanceOf(factory, site);
      if (balance.reason !== null) return [];
      const { incoming, feeders } = balance;
      // Each side is covered on average over its meters.
      const covered = [incoming, feeders].every(({ coveredMs, dueMs }) =>
        isJudged((coveredMs / dueMs) * site.elapsedMs, site),
      );
      if (!covered || incoming.lowerBound || feeders.lowerBound) return [];
      const most = (incoming.amount * BigInt(Math.round(site.thresholds.meterBalance * 10_000))) / 10_000n;
      const difference = incoming.amount - feeders.amount;
      if ((difference < 0n ? -difference : difference) <= most) return [];
      const share = incoming.amount === 0n ? "all" : percent(Number(difference) / Number(incoming.amount));
      const [came, went] = [incoming, feeders].map(({ amount }) => formatScaled(amount, 6));
      const detail = `the day from ${isoTime(site.startMs)}: ${came} kWh came in, ${went} kWh through the feeders, difference ${share}; allowed ${percent(site.thresholds.meterBalance)}: check ratios, wiring and which loads have no meter`;
      return [{ subject: factory.id, detail }];
    }),
};
