import type { Clock } from "@jilian/domain/clock.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { deviceKeyOf, factoryOf } from "@jilian/domain/identity.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import type { Indicator } from "@jilian/domain/indicators/definition.ts";
import { periodStart, quarterHourMs } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { hourSet } from "@jilian/store/rollup-pieces.ts";
import { rollupReader } from "@jilian/store/rollups.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { alarmKeeper } from "./alarms.ts";
import { completenessKeeper } from "./completeness.ts";
import { computer } from "./compute.ts";
import { noteDefinitions } from "./definitions.ts";
import { judgeResets, judgeResetsAgain } from "./findings.ts";
import { leafKeeper } from "./leaves.ts";
import { redefiner } from "./redefine.ts";
import { steps } from "./runs.ts";
import { type ChangedSeries, seriesIndex } from "./series-index.ts";

export type WorkshopParts = {
  telemetry: Telemetry;
  ledger: Ledger;
  versions: () => RegistryVersions;
  clock: Clock;
  /** Indicators that are computed; those of this release if absent. */
  catalogue?: readonly Indicator[];
  onCountFailed?: (error: unknown) => void;
  countPatienceMs?: number;
};

/**
 * Takes up births that changed what known series say of themselves. @param upToTx last transaction that is folded
 * @returns starts of the minutes whose leaves may differ now, by factory
 */
export type Redefine = (
  reborn: readonly ChangedSeries[],
  nowMs: number,
  upToTx: number,
) => Promise<ReadonlyMap<string, Set<number>>>;

/** Rollups of one device and stretch that are kept in memory. */
const rollupsKept = 100_000;

/** Leaves, rollups and figures of an engine, and what is to be done with them. */
export function workshop(parts: WorkshopParts, fromTx: number) {
  const { telemetry, ledger, clock, versions } = parts;
  const index = seriesIndex(telemetry, versions);
  const definitions = noteDefinitions(ledger, parts.catalogue ?? indicators, clock.now());
  const hours = hourSet(ledger.knownHours(0, Number.MAX_SAFE_INTEGER));
  const unnoted = new Set<number>();
  function touched(device: string, minute: number): void {
    const hour = periodStart("hour", minute);
    if (hours.add(hour)) unnoted.add(hour);
    reader.touch(device, minute);
    // What a factory's meters say together is made of theirs.
    reader.touch(factoryOf(device), minute);
  }
  const keeper = leafKeeper({
    ...{ telemetry, index, fromTx, onTouched: touched },
    onResets: (days, upToTx, nowMs) => judgeResets({ ledger, index, versions }, days, { upToTx, nowMs }),
  });
  const reader = rollupReader({ telemetry, hours, open: keeper.open, kept: rollupsKept });
  const completeness = completenessKeeper({
    ...{ telemetry, ledger, index },
    onInvalid: (series, error) =>
      ledger.noteFinding(
        { code: "ACCOUNT_INVALID", subject: deviceKeyOf(series), detail: messageOf(error) },
        clock.now(),
      ),
    onFailed: parts.onCountFailed ?? (() => undefined),
    patienceMs: parts.countPatienceMs,
  });
  const alarms = alarmKeeper({ telemetry, ledger, index, versions });
  const foldAgain = redefiner({ ledger, keeper });
  const redefine: Redefine = async (reborn, nowMs, upToTx) => {
    const touched = await foldAgain(reborn, nowMs);
    await judgeResetsAgain({ telemetry, ledger, index, versions }, reborn, { upToTx, nowMs });
    alarms.reborn(reborn);
    return touched;
  };
  return {
    ...{ index, keeper, completeness, hours, alarms },
    compute: computer({ ledger, index, reader, versions, definitions }).compute,
    /** Tells people of births that changed what series say of themselves, and has judged and folded again what they change in the past. */
    redefine,
    /** Folds an hour again from samples, and withdraws what was rolled up of it. */
    refold: async (fromMs: number, toMs: number, nowMs: number) => {
      if (!hours.has(fromMs, toMs)) return;
      await keeper.refold(fromMs, toMs, nowMs);
      alarms.again(fromMs, toMs);
      const keys = new Set(index.folded().devices.map(({ device }) => device));
      for (const key of versions().newest().devices.keys()) keys.add(key);
      for (const at of steps(fromMs, toMs, quarterHourMs)) for (const key of keys) touched(key, at);
    },
    /** Notes the hours that have got leaves: before the transactions are that made them. */
    noteHours: () => {
      if (unnoted.size > 0) ledger.noteHours([...unnoted]);
      unnoted.clear();
    },
    storeRollups: (nowMs: number) => reader.store(nowMs, telemetry.writeRollups),
  };
}
