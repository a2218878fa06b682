import { findingChecks } from "@jilian/domain/findings/catalogue.ts";
import { deviceKeyOf } from "@jilian/domain/identity.ts";
import { dayMs } from "@jilian/domain/periods.ts";
import type { FindingLook } from "@jilian/store/findings.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { Computed } from "./compute.ts";
import type { ResetDay } from "./reset-days.ts";
import type { SeriesIndex } from "./series-index.ts";

type ResetParts = {
  ledger: Pick<Ledger, "judgeFindings">;
  index: Pick<SeriesIndex, "seriesOf">;
  versions: () => RegistryVersions;
};

/**
 * Makes the checks of final periods, of their factories: of each one once when it becomes final, and again with every later change of what
 * it is made of. @param inputWatermark last store transaction that is in
 */
export function judgeSites(
  ledger: Pick<Ledger, "judgeFindings">,
  computed: readonly Computed[],
  inputWatermark: number,
  nowMs: number,
): void {
  const looks = computed.flatMap(({ span: { period, startMs }, sites, registryVersion }) => {
    const own = findingChecks.filter(({ periods }) => periods.includes(period));
    if (own.length === 0) return [];
    const stamp = { period, startMs, inputWatermark, registryVersion, codes: own.map(({ code }) => code) };
    return sites
      .filter(({ level }) => level === "factory")
      .map(
        (site): FindingLook => ({
          ...stamp,
          place: site.entity,
          found: own.flatMap(({ code, check }) => check(site).map((found) => ({ code, ...found }))),
        }),
      );
  });
  if (looks.length > 0) ledger.judgeFindings(looks, nowMs);
}

/** Takes what leaves say of increases that cannot be told, day by day of a counter. */
export function judgeResets(
  { ledger, index, versions }: ResetParts,
  days: readonly ResetDay[],
  inputWatermark: number,
  nowMs: number,
): void {
  const code = "UNEXPLAINED_RESET";
  const looks = days.flatMap(({ series: id, startMs, hasResets }): FindingLook[] => {
    const series = index.seriesOf(id);
    if (!series) return [];
    const { metric } = series;
    const subject = deviceKeyOf(series);
    const detail = `${metric} fell, or rose faster than its meter can: the increase is unknown, figures are lower bounds`;
    const registryVersion = versions().at(startMs + dayMs - 1).version;
    const stamp = { inputWatermark, registryVersion, codes: [code] };
    const found = hasResets ? [{ code, subject, detail }] : [];
    return [{ place: `${subject}/${metric}`, period: "day", startMs, ...stamp, found }];
  });
  if (looks.length > 0) ledger.judgeFindings(looks, nowMs);
}
