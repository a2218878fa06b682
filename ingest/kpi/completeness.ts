import { type Account, decodeAccount, hourOf } from "@jilian/domain/account.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { CompletenessLedger, DeviceHour, StoredAccount, StoredCount } from "@jilian/store/completeness.ts";
import type { ChangedMinute, Series, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { runsOf } from "./runs.ts";
import type { SeriesIndex } from "./series-index.ts";

/**
 * Keeps the completeness ledger: takes accounts from what changed in the store, and counts what is stored of the hours that changed. All of
 * it is made of stored samples alone, so what is held here can be lost at any time and folded again.
 */
export type CompletenessKeeper = {
  /** Takes the accounts among changed minutes, and notes the hours that are to be counted. */
  readonly fold: (changed: readonly ChangedMinute[]) => Promise<void>;
  /** Counts the noted hours. @returns the hours whose loss differs since the last time */
  readonly count: () => Promise<DeviceHour[]>;
  /** False when nothing waits to be counted or told. */
  readonly isBehind: () => boolean;
};

/** Accounts read at once. */
const accountsPerPage = 5000;
/** Hours counted by one query. */
const hoursTogether = { most: 24, holes: 2 };

const keyOf = ({ group, node, device }: Series): string => deviceKey(group, node, device);

/** @param onInvalid told of a series whose account cannot be read, once a fold */
export function completenessKeeper(
  telemetry: Telemetry,
  ledger: CompletenessLedger,
  index: SeriesIndex,
  onInvalid: (series: Series, error: unknown) => void,
): CompletenessKeeper {
  /** Hour -> the devices that are to be counted in it. */
  const waiting = new Map<number, Set<string>>();
  const differing = new Map<string, DeviceHour>();

  function differ(hours: readonly DeviceHour[]): void {
    for (const hour of hours) differing.set(`${hour.hourMs}/${hour.device}`, hour);
  }

  /** The newest account of each hour and part in a stretch of a series. */
  async function readAccounts(series: Series, fromMs: number, toMs: number): Promise<StoredAccount[]> {
    const found = new Map<string, StoredAccount>();
    let invalid: unknown;
    for (let from = fromMs; from < toMs; ) {
      const rows = await telemetry.read({ series: series.id, fromMs: from, toMs }, accountsPerPage);
      for (const { value, sourceTimeMs } of rows) {
        let account: Account;
        try {
          account = decodeAccount(String(value));
        } catch (error) {
          invalid = error;
          continue;
        }
        found.set(`${account.hourMs}/${account.part}`, { device: keyOf(series), sourceTimeMs, account });
      }
      from = rows.length < accountsPerPage ? toMs : (rows.at(-1)?.sourceTimeMs ?? toMs) + 1;
    }
    if (invalid !== undefined) onInvalid(series, invalid);
    return [...found.values()];
  }

  function note(device: string, hour: number): void {
    getOrMake(waiting, hour, () => new Set()).add(device);
  }

  async function fold(changed: readonly ChangedMinute[]): Promise<void> {
    const accounts = new Map<Series, number[]>();
    for (const { series: id, minuteMs: minute } of changed) {
      const series = index.seriesOf(id);
      if (!series || series.device === "") continue;
      if (index.isAccount(id)) getOrMake(accounts, series, () => []).push(minute);
      else note(keyOf(series), hourOf(minute));
    }
    const found: StoredAccount[] = [];
    for (const [series, minutes] of accounts)
      for (const { fromMs, toMs } of runsOf(minutes, minuteMs, { holes: 60 }))
        found.push(...(await readAccounts(series, fromMs, toMs)));
    if (found.length > 0) differ(ledger.writeAccounts(found));
    for (const { device, account } of found) note(device, account.hourMs);
  }

  /** Counts some neighbouring hours. */
  async function countRun(hours: readonly number[], fromMs: number, toMs: number): Promise<StoredCount[]> {
    const deviceOf = new Map<SeriesId, string>();
    const stored = new Map<string, StoredCount>();
    for (const hour of hours) {
      for (const device of waiting.get(hour) ?? []) {
        stored.set(`${hour}/${device}`, { device, hourMs: hour, stored: 0 });
        for (const id of index.ofDevice(device)) deviceOf.set(id, device);
      }
    }
    for (const { series, hourMs: hour, samples } of await telemetry.countSamples([...deviceOf.keys()], fromMs, toMs)) {
      const count = stored.get(`${hour}/${deviceOf.get(series)}`);
      if (count) count.stored += samples;
    }
    return [...stored.values()];
  }

  async function count(): Promise<DeviceHour[]> {
    for (const { starts, fromMs, toMs } of runsOf(waiting.keys(), hourMs, hoursTogether)) {
      differ(ledger.writeStored(await countRun(starts, fromMs, toMs)));
      for (const hour of starts) waiting.delete(hour);
    }
    const differed = [...differing.values()];
    differing.clear();
    return differed;
  }

  return { fold, count, isBehind: () => waiting.size + differing.size > 0 };
}
