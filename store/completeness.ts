import type { Account, AccountCounts } from "@jilian/domain/account.ts";
import type { PollSum } from "@jilian/domain/period-sums.ts";
import { dayMs } from "@jilian/domain/periods.ts";

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
  period: "hour" | "day";
  fromMs: number;
  toMs: number;
  /** Also what was dropped by metric: names mean something beside their device alone. */
  byMetric?: boolean;
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
  /** Dropped samples by metric, under an empty name those of others together; empty where not asked for. */
  droppedTags: Record<string, number>;
  /** Source time of the newest account; 0 when there is none. */
  accountMs: number;
};

/** What a gateway accounted for one device. */
export type DevicePolls = PollSum & { readonly device: string };

/** Parts that an hour of a device has at most; a gateway makes another one when it lost its book or had forgotten the hour. */
export const maxParts = 200;
/** How long accounts are kept part by part, and the sums of device hours; both by the hour they are of. */
export const partsKeptMs = 40 * dayMs;
export const hoursKeptMs = 400 * dayMs;

/**
 * The completeness ledger: what gateways say they did, and what is stored, per device and hour. It is a cache of stored samples: brought up
 * to date from the store again, it comes to the same numbers in any order.
 *
 * What is shown of an hour is what belongs together: accounts are kept as they come, and count from the next `writeStored` of their hour on,
 * in one transaction with what is stored of it. What is still to be done is durable: the hours to be counted, and those whose figures differ.
 */
export type CompletenessLedger = {
  /**
   * Takes accounts: of one (device, hour, part) that with the greatest source time counts. Their hours are to be counted.
   * @returns those that are refused, because their hour has `maxParts` parts already
   */
  readonly writeAccounts: (accounts: readonly StoredAccount[]) => StoredAccount[];
  /** Notes hours that are to be counted. */
  readonly noteDue: (hours: readonly DeviceHour[]) => void;
  /** All hours that are to be counted. */
  readonly dueHours: () => DeviceHour[];
  /**
   * Takes counts of stored samples, and with them the accounts of their hours. The hours are not to be counted any more, but for those
   * that are given as `again`; those that tell figures something else now are kept until `notePublished`.
   * @returns the hours whose loss (`lossyHours`) or polls (`polls`) differ now
   */
  readonly writeStored: (counts: readonly (StoredCount & { again?: boolean })[]) => DeviceHour[];
  /** Starts of the hours whose loss or polls differ from what figures were made of. */
  readonly differingHours: () => number[];
  readonly notePublished: (hours: readonly number[]) => void;
  /** The hours that begin in [fromMs, toMs) of which less is stored than was queued. @param devices all when absent */
  readonly lossyHours: (fromMs: number, toMs: number, devices?: readonly string[]) => LossyHour[];
  /** Sums of the hours that begin in [fromMs, toMs), by device; devices without an account in them are absent. */
  readonly polls: (fromMs: number, toMs: number) => DevicePolls[];
  /** Likewise by day, of the days that begin in [fromMs, toMs), which are whole days of Asia/Shanghai; by device and day. */
  readonly pollDays: (fromMs: number, toMs: number) => (DevicePolls & { readonly dayMs: number })[];
  /** By start and entity. */
  readonly completeness: (query: CompletenessQuery) => CompletenessSum[];
  /** Deletes some of what was kept long enough (`partsKeptMs`, `hoursKeptMs`); an hour whose parts are gone keeps its sums. */
  readonly prune: (nowMs: number) => void;
};
