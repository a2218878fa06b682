import type { Account, AccountCounts } from "@jilian/domain/account.ts";
import type { Period } from "@jilian/domain/periods.ts";

/** An account as it was stored: of a device (`factory/gateway/device`), with the source time of its sample. */
export type StoredAccount = { device: string; sourceTimeMs: number; account: Account };

export type DeviceHour = { device: string; hourMs: number };

/** Samples of a device's metrics that are stored with source times in an hour; its accounts are not among them. */
export type StoredCount = DeviceHour & { stored: number };

/** An hour of a device of which not everything is stored that was queued; `queued` and `stored` are whole and stored < queued. */
export type LossyHour = DeviceHour & { queued: number; stored: number };

/** A question for the ledger of some devices, by an entity of each and by the periods that begin in [fromMs, toMs). */
export type CompletenessQuery = {
  members: readonly { device: string; entity: string }[];
  period: Exclude<Period, "minute">;
  fromMs: number;
  toMs: number;
};

/** What is known of the devices of an entity in a period: sums over device hours. Periods of which nothing is known are absent. */
export type CompletenessSum = AccountCounts & {
  entity: string;
  /** Start of the period, UTC ms. */
  startMs: number;
  /** Device hours of which there is an account: the counts speak of these alone. */
  accounted: number;
  /** Stored samples of all device hours. */
  stored: number;
  /** Of accounted device hours: queued, not dropped and not stored: on its way, set aside, or lost. */
  missing: number;
  /** Of accounted device hours: stored and not counted: after a power cut a gateway may not know what it had sent. */
  uncounted: number;
  /** Milliseconds in which devices were not read, by reason. */
  gapMs: Record<string, number>;
  /** Source time of the newest account; 0 when there is none. */
  accountMs: number;
};

/**
 * The completeness ledger: what gateways say they did, and what is stored, per device and hour. It is a cache of stored samples: brought up
 * to date from the store again, it comes to the same numbers in any order.
 */
export type CompletenessLedger = {
  /**
   * Takes accounts: of one (device, hour, part) that with the greatest source time counts.
   * @returns the hours whose loss (`lossyHours`) differs now
   */
  readonly writeAccounts: (accounts: readonly StoredAccount[]) => DeviceHour[];
  /** Takes counts of stored samples. @returns likewise */
  readonly writeStored: (counts: readonly StoredCount[]) => DeviceHour[];
  /** The hours that begin in [fromMs, toMs) of which less is stored than was queued. */
  readonly lossyHours: (fromMs: number, toMs: number) => LossyHour[];
  /** By start and entity. */
  readonly completeness: (query: CompletenessQuery) => CompletenessSum[];
};
