import type { Period } from "./periods.ts";

/**
 * Levels of the tree a figure can be asked for (ISA-95: enterprise, site, line; plus cluster and device). The pilot holds what its cluster
 * holds, and has figures of days and longer alone.
 */
export const levels = ["device", "line", "factory", "enterprise", "cluster", "pilot"] as const;
export type Level = (typeof levels)[number];

export type ResultStatus = "provisional" | "final" | "revised";

/**
 * Why a figure is null, for people. Never filled with 0 or 100 %. In order of how near to a value it is: where several machines or
 * factories lack different things, the last in this order is told.
 */
export const nullReasons = {
  not_due: { zh: "未到期", en: "nothing of the period has passed yet" },
  not_registered: {
    zh: "期末未登记",
    en: "withdrawn: the registry in force at the end of the period does not have it",
  },
  no_meter: { zh: "无进线电表", en: "no incoming meter is registered" },
  no_feeder: { zh: "未登记分路电表", en: "no feeder meter is registered" },
  no_factor: { zh: "未登记折标系数", en: "the registry has no factor to standard coal for a carrier that is metered" },
  no_tariff: { zh: "未登记分时电价", en: "the registry has no tariff, or no price for a band of it" },
  no_devices: { zh: "无登记设备", en: "no device is registered that it could speak of" },
  no_alarm_rule: { zh: "未登记报警规则", en: "no alarm rule of the registry watches a device" },
  no_limits: { zh: "未登记规格限", en: "the registry has no specification limits" },
  no_account: { zh: "网关未上报采集账目", en: "no account of a gateway tells how many polls were due" },
  no_output: { zh: "未指定产出设备", en: "no registered machine counts the factory's output" },
  no_register: { zh: "未接入所需计数", en: "no machine gives the counters that it needs" },
  no_state: { zh: "未接入设备状态", en: "no machine state, or the registry does not say which state is running" },
  no_setup_state: { zh: "未登记调整状态", en: "the registry does not say which machine state is set-up" },
  no_planned_rate: { zh: "未登记计划节拍", en: "the registry has no planned run time per item" },
  no_calendar: { zh: "未登记计划工时", en: "the registry has no calendar of planned busy time" },
  not_planned: { zh: "非计划时间", en: "no planned busy time in what has passed of the period" },
  no_data: { zh: "无数据", en: "no readings that tell it" },
  not_running: { zh: "未运行", en: "no production time: nothing to divide by" },
  no_production: { zh: "无产量", en: "nothing was produced or inspected: nothing to divide by" },
  no_energy: { zh: "无用能", en: "no energy was counted: nothing to divide by" },
  too_few: { zh: "样本不足", en: "too few measured values for a spread" },
  no_spread: { zh: "无离散", en: "all measured values are equal: nothing to divide by" },
  mixed_products: { zh: "产品不同", en: "different products cannot be added up" },
} as const satisfies Record<string, { zh: string; en: string }>;
export type NullReason = keyof typeof nullReasons;

/** The reason nearest to a value; undefined of none. */
export function nearestReason(reasons: Iterable<NullReason>): NullReason | undefined {
  const given = new Set(reasons);
  return (Object.keys(nullReasons) as NullReason[]).findLast((reason) => given.has(reason));
}

/** Which figure: an indicator of an entity over a period. */
export type ResultKey = {
  /** Id of a definition in indicators/: `energy.electricity`. */
  indicator: string;
  level: Level;
  /** Id of the cluster, enterprise or factory; `factory/gateway/device` for a device. */
  entity: string;
  period: Period;
  /** Start of the period, UTC ms. */
  startMs: number;
};

/** A figure in its final form: a value, and everything needed to judge and to recompute it. */
export type Result = ResultKey & {
  /** End of the period (exclusive), UTC ms. */
  endMs: number;
  /** Decimal string in `unit`, or null with a `reason`. */
  value: string | null;
  reason: NullReason | null;
  unit: string;
  /** 0-1, four places: the part of the elapsed period (up to `asOfMs`) that readings cover; null where the figure has no such part. */
  completeness: number | null;
  /** 0-1, four places: the part of the value that interpolation over a gap at the period's edge assigned to it; null likewise. */
  estimatedShare: number | null;
  /**
   * True when an increase could not be told (unexplained counter reset): the value is a lower bound. Of a ratio: one of its terms is (docs/indicators.md).
   */
  lowerBound: boolean;
  status: ResultStatus;
  /** 0 until final; n for the n-th revision by late data. */
  revision: number;
  definitionVersion: number;
  /** Version of the factor table used, or null. */
  factorTable: string | null;
  registryVersion: string;
  /** Number of the last store transaction whose samples are in: the input can be asked for again. */
  inputWatermark: number;
  /** Platform time for which it was computed, UTC ms. */
  asOfMs: number;
  simulated: boolean;
};

/** What a formula gives: the part of a result that its input decides. */
export type Figure = Pick<Result, "value" | "reason" | "completeness" | "estimatedShare" | "lowerBound">;

/** A figure that is null. */
export function absentFigure(reason: NullReason, completeness: number | null = null): Figure {
  return { value: null, reason, completeness, estimatedShare: null, lowerBound: false };
}

/** One string for the key, for maps. */
export function resultId(key: ResultKey): string {
  return `${key.indicator}|${key.level}|${key.entity}|${key.period}|${key.startMs}`;
}

/** True when two results say the same of the world; times of computing and watermarks aside. */
export function sameFigure(a: Result, b: Result): boolean {
  return (
    a.value === b.value &&
    a.reason === b.reason &&
    a.completeness === b.completeness &&
    a.estimatedShare === b.estimatedShare &&
    a.lowerBound === b.lowerBound &&
    a.definitionVersion === b.definitionVersion &&
    a.factorTable === b.factorTable &&
    a.registryVersion === b.registryVersion
  );
}

/** A share of two sums as a number with four places: exact integers in, so equal inputs give equal digits. */
export function share(part: bigint, whole: bigint): number {
  if (whole === 0n) return 0;
  return Number((part * 10_000n * 2n + whole) / (whole * 2n)) / 10_000;
}
