import type { GaugeSum } from "./gauge-leaf.ts";
import type { GridRegion } from "./indicators/factors.ts";
import type { MachineSums, Quantity } from "./machine-sums.ts";
import type { Period } from "./periods.ts";
import type { Level } from "./result.ts";
import type { Carrier } from "./roles.ts";
import type { Band, DemandSum, PricesPer10000 } from "./tariff.ts";

/**
 * What indicators and findings are made of: everything that the devices of a site say of one period, as sums that merge, and what the
 * registry in force says of them. Pure data: equal sums give equal digits. Whoever makes them reads leaves and ledgers; the formulas in
 * indicators/ and findings/ see nothing else.
 */
export type SiteSums = {
  readonly level: Level;
  readonly entity: string;
  readonly period: Period;
  readonly startMs: number;
  /** End of the period, exclusive. */
  readonly endMs: number;
  /** What has passed of it; at least 1. */
  readonly elapsedMs: number;
  /** Whose carbon factor its electricity has. */
  readonly gridRegion: GridRegion;
  /** What the pilot has agreed, or the defaults of the facts. */
  readonly thresholds: Thresholds;
  /** True in a pilot that is a demonstration. */
  readonly demo: boolean;
  /** The factories of the site, each with its devices that belong to the site: of a line those of the line. */
  readonly factories: readonly FactorySums[];
};

export type Thresholds = {
  /** Least collection rate of a day that counts as effective. */
  readonly collectionRate: number;
  /** Days that must be effective, of the days that are looked at. */
  readonly effectiveDays: number;
  readonly windowDays: number;
  /** Largest share of the incoming meter by which the sum of its feeders may differ. */
  readonly meterBalance: number;
};

export type FactorySums = {
  readonly id: string;
  /** Unified social credit code of its enterprise. */
  readonly creditCode: string;
  readonly devices: readonly DeviceSums[];
  /** Declared factors to standard coal of carriers that have none in the table, kgce per unit x 10^-5: natural gas, steam. */
  readonly factorsPer100000: Partial<Readonly<Record<Carrier, bigint>>>;
  /** Prices of electricity by band, CNY/kWh x 10^-4; undefined without a tariff. */
  readonly pricesPer10000: PricesPer10000 | undefined;
  /** Greatest mean power of a quarter hour through the incoming electricity meters together; undefined where no quarter is told. */
  readonly demand: DemandSum | undefined;
};

export type DeviceSums = {
  /** `factory/gateway/device`. */
  readonly key: string;
  /** True for what the networking rate counts: machines, unless the registry says otherwise. */
  readonly production: boolean;
  /** It birthed through its own gateway before the end of what has passed. */
  readonly everConnected: boolean;
  /** Time in which a good reading was younger than its window. */
  readonly onlineMs: number;
  /** Of what has passed, the time that samples which are not stored stand for (lost-time.ts). */
  readonly lostMs: number;
  /** What its gateway accounted for; undefined where no account is there. */
  readonly polls: PollSum | undefined;
  /** The same by day over the days that are looked at (`windowDays`, at most those of the period) before the end of what has passed, those without account left out; empty in periods of a day or less. */
  readonly days: readonly PollSum[];
  /** How long its gateway's accounts were under way, ms: one every five minutes, the way of every sample; undefined without accounts. */
  readonly delay: GaugeSum | undefined;
  readonly meter: MeterSums | undefined;
  readonly machine: MachineSums | undefined;
  /** Its good production is the factory's output. */
  readonly output: boolean;
  /** The metric whose process capability is watched; undefined without specification limits. */
  readonly capability: CapabilitySum | undefined;
  /** What alarm rules say of it; undefined where none watches it, or did in the period. */
  readonly alarms: AlarmSum | undefined;
  /** Some of its births say that they are simulated; such readings count in demonstrations alone. */
  readonly simulated: boolean;
};

/** Alarms of a device in a period. */
export type AlarmSum = {
  /** Raised in it. */
  readonly raised: number;
  /** Time in which alarms were active, summed over the alarms. */
  readonly activeMs: number;
  /** The ledger may have dropped some. */
  readonly partial: boolean;
};

/** What a gateway accounted for one device (account.ts), and what is stored of it. Sums of disjoint times add up. */
export type PollSum = {
  /** Polls that were due. */
  readonly scheduled: number;
  readonly answered: number;
  /** Readings of tags in the answers, and those of them with bad quality. */
  readonly polled: number;
  readonly bad: number;
  /** Samples handed to the outbox, and those of them that are not stored. */
  readonly queued: number;
  readonly missing: number;
};

/** A meter of a period. */
export type MeterSums = {
  readonly carrier: Carrier;
  /** Where it sits: incoming meters count toward the factory, feeders lie behind them. */
  readonly point: "incoming" | "feeder";
  /** The meter above it, `factory/gateway/device`; undefined: the incoming ones of its factory. */
  readonly parent: string | undefined;
  /** What its register counted, at the scale of the carrier's unit; undefined before it was first read. */
  readonly quantity: Quantity | undefined;
  /** Its electricity by band of the tariff; undefined without one. */
  readonly bands: Readonly<Record<Band, Quantity>> | undefined;
  /** What its power adds up to, beside its register; undefined when it gives no power. */
  readonly power: GaugeSum | undefined;
  /** Last day on which its calibration is valid, `YYYY-MM-DD`. */
  readonly calibrationDueOn: string | undefined;
};

/** Samples of a metric beside its limits, both at 6 places. */
export type CapabilitySum = {
  readonly metric: string;
  readonly lower: bigint | undefined;
  readonly upper: bigint | undefined;
  readonly samples: GaugeSum;
};
