import { findingChecks } from "@jilian/domain/findings/catalogue.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKeyOf, factoryOf } from "@jilian/domain/identity.ts";
import { dayMs, type Period } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { type FindingLook, maxFindingPeriods } from "@jilian/store/findings.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { Series, Telemetry } from "@jilian/store/telemetry.ts";
import type { Computed } from "./compute.ts";
import { type ResetDay, resetDay } from "./reset-days.ts";
import type { ChangedSeries, SeriesIndex } from "./series-index.ts";

type ResetParts = {
  ledger: Pick<Ledger, "judgeFindings">;
  index: Pick<SeriesIndex, "seriesOf" | "foldsOf">;
  versions: () => RegistryVersions;
};

/** The checks that are made of a kind of period. */
const checksOf = (period: Period) => findingChecks.filter(({ periods }) => periods.includes(period));

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
    const own = checksOf(period);
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

const resetCode = "UNEXPLAINED_RESET";
const placeOf = (series: Series) => `${deviceKeyOf(series)}/${series.metric}`;

/** Last transaction that is in, platform time, and what other than readings and registry has changed. */
type ResetMoment = { readonly upToTx: number; readonly nowMs: number; readonly cause?: string };

/** Takes what leaves say of increases that cannot be told, day by day of a counter. Of a factory that is not registered nothing is found. */
export function judgeResets(
  { ledger, index, versions }: ResetParts,
  days: readonly ResetDay[],
  { upToTx: inputWatermark, nowMs, cause }: ResetMoment,
): void {
  const looks = days.flatMap(({ series: id, startMs, hasResets }): FindingLook[] => {
    const series = index.seriesOf(id);
    if (!series) return [];
    const subject = deviceKeyOf(series);
    const isRegistered = versions()
      .at(Math.min(startMs + dayMs, nowMs) - 1)
      .factories.has(factoryOf(subject));
    const detail = `${series.metric} fell, or rose faster than its meter can: the increase is unknown, figures are lower bounds`;
    const registryVersion = versions().at(startMs + dayMs - 1).version;
    const stamp = { inputWatermark, registryVersion, codes: [resetCode], ...(cause !== undefined && { cause }) };
    const found = hasResets && isRegistered ? [{ code: resetCode, subject, detail }] : [];
    return [{ place: placeOf(series), period: "day", startMs, ...stamp, found }];
  });
  if (looks.length > 0) ledger.judgeFindings(looks, nowMs);
}

/**
 * Looks again at the days on which resets were found of series whose births have changed: minutes in which such a one is no counter any
 * more are folded by nothing that could say so, and their leaves stay.
 */
export async function judgeResetsAgain(
  parts: ResetParts & { telemetry: Pick<Telemetry, "readLeaves">; ledger: Pick<Ledger, "findingPeriods"> },
  reborn: readonly ChangedSeries[],
  moment: ResetMoment,
): Promise<void> {
  const { ledger, telemetry, index } = parts;
  const days: ResetDay[] = [];
  for (const { series, sinceMs } of reborn) {
    const known = ledger.findingPeriods(resetCode, deviceKeyOf(series), maxFindingPeriods);
    for (const { place, startMs } of known)
      if (place === placeOf(series) && startMs + dayMs > sinceMs)
        days.push(await resetDay({ telemetry, index }, series.id, startMs));
  }
  judgeResets(parts, days, { ...moment, cause: "what births say of the metric has changed" });
}

type WithdrawnParts = ResetParts & {
  ledger: Pick<Ledger, "judgeFindings" | "findingPeriods">;
  index: Pick<SeriesIndex, "seriesOf" | "foldsOf" | "all">;
};

/** Looks again at the resets that were found of the meters of a factory on some days. */
function judgeResetsOf(parts: WithdrawnParts, factory: string, days: ReadonlySet<number>, moment: ResetMoment): void {
  const looks: ResetDay[] = [];
  const byDevice = Map.groupBy(
    parts.index.all().filter(({ group }) => group === factory),
    deviceKeyOf,
  );
  for (const [device, own] of byDevice)
    for (const { place, startMs, closedMs } of parts.ledger.findingPeriods(resetCode, device, maxFindingPeriods)) {
      const series = own.find((one) => placeOf(one) === place);
      if (series && closedMs === null && days.has(startMs)) looks.push({ series: series.id, startMs, hasResets: true });
    }
  judgeResets(parts, looks, moment);
}

/**
 * Looks at the periods of factories whose figures are withdrawn: a site that is not registered has no findings. @param withdrawn figures
 * that were just withdrawn, of any site and period
 */
export function judgeWithdrawn(parts: WithdrawnParts, withdrawn: readonly Result[], nowMs: number): void {
  const looks = new Map<string, FindingLook>();
  const days = new Map<string, Set<number>>();
  let upToTx = 0;
  for (const { level, entity: place, period, startMs, inputWatermark, registryVersion } of withdrawn) {
    if (level !== "factory") continue;
    if (period === "day") getOrMake(days, place, () => new Set()).add(startMs);
    upToTx = inputWatermark;
    const codes = checksOf(period).map(({ code }) => code);
    if (codes.length === 0) continue;
    const look = { place, period, startMs, codes, found: [], inputWatermark, registryVersion };
    looks.set(JSON.stringify([place, period, startMs]), look);
  }
  if (looks.size > 0) parts.ledger.judgeFindings([...looks.values()], nowMs);
  for (const [factory, own] of days) judgeResetsOf(parts, factory, own, { upToTx, nowMs });
}
