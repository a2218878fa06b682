import { type Decimal, decimalOf, formatDecimal, parseDecimal } from "@jilian/domain/decimal.ts";
import { quarterMs } from "./history-quarter.ts";
import type { HistoryRow, KnownTag } from "./history-tables.ts";
import type { ZoneTimes } from "./history-zone.ts";

/** Spreadsheets take a file for UTF-8 by this. */
export const byteOrderMark = "\ufeff";

export const csvHeader = [
  "开始时间 start",
  "设备 device",
  "标签 tag",
  "单位 unit",
  "期末读数 register at end",
  "读数时间 register time",
  "用量 consumption",
  "用量说明 consumption remark",
  "平均值 mean",
  "时间加权平均 time-weighted mean",
  "最小值 min",
  "最大值 max",
  "各状态秒数 seconds by state",
  "有效秒数 good seconds",
  "读数个数 count",
  "模拟 simulated",
]
  .map(cell)
  .join(",");

/** A register that is read earlier than so long before the end of its quarter hour is remarked on. */
const oldRegisterMs = 60_000;

/** A cell of RFC 4180. */
export function cell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const align = (a: Decimal, scale: number): bigint => a.digits * 10n ** BigInt(scale - a.scale);

/** a + times x b, exactly. */
function add(a: Decimal, b: Decimal, times: bigint): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { digits: align(a, scale) + times * align(b, scale), scale };
}

/** The last register that is known of a metric. */
export type Before = { readonly row: HistoryRow; readonly tag: KnownTag };

const fell = "读数回退 the register fell: reset or exchanged";

export type Consumption = { readonly amount: string; readonly remark: string };

function rise(before: HistoryRow, row: HistoryRow, { float32, modulus }: KnownTag): Decimal | undefined {
  if (row.register === undefined || before.register === undefined) return undefined;
  const from = decimalOf(before.register, float32);
  const delta = add(decimalOf(row.register, float32), from, -1n);
  if (modulus === "") return delta.digits < 0n ? undefined : delta;
  const width = parseDecimal(modulus);
  const rolled = add(delta, width, BigInt(row.wraps));
  if (rolled.digits >= 0n) return rolled;
  // A restart of the program lay between the two readings: the rollover was not seen, by the same rule it is one.
  const once = add(rolled, width, 1n);
  return once.digits >= 0n && add(add(once, once, 1n), width, -1n).digits <= 0n ? once : undefined;
}

/**
 * What went through a register in a quarter hour: its value at the end less that at the end of the quarter hour before, exactly. Where the
 * quarter hour before has none, the amount is left empty, and the remark tells what went through since the last that has: so a sum over
 * both misses nothing.
 */
export function consumptionOf(
  row: HistoryRow,
  tag: KnownTag,
  before: Before | undefined,
  zone: ZoneTimes,
): Consumption {
  if (tag.kind !== "counter") return { amount: "", remark: "" };
  if (row.register === undefined) return { amount: "", remark: "无期末读数 no register at the end" };
  if (!before) return { amount: "", remark: "无期初读数 no register before" };
  if (before.tag.id !== tag.id) return { amount: "", remark: "定义已变 the definition of the tag changed" };
  const delta = rise(before.row, row, tag);
  if (delta === undefined) return { amount: "", remark: fell };
  const amount = formatDecimal(delta);
  if (row.resets > 0) return { amount: "", remark: `${fell}; 若未中断 if it counted on: ${amount}` };
  if (before.row.quarter !== row.quarter - 1) {
    const since = zone.format((before.row.quarter + 1) * quarterMs);
    return { amount: "", remark: `期初缺数 no register before; since ${since}: ${amount}` };
  }
  const isOld = (row.quarter + 1) * quarterMs - row.registerMs > oldRegisterMs;
  return { amount, remark: isOld ? "读数早于期末 register read before the end" : "" };
}

/** A mean: as many digits as its values can carry. */
function rounded(value: number, float32: boolean): string {
  // The sum of values near the end of what a double can hold.
  if (!Number.isFinite(value)) return "";
  return formatDecimal(decimalOf(Number(value.toPrecision(float32 ? 7 : 15))));
}

function plain(value: number | bigint | undefined, float32: boolean): string {
  return value === undefined ? "" : formatDecimal(decimalOf(value, float32));
}

const seconds = (ms: number): string => formatDecimal({ digits: BigInt(Math.round(ms)), scale: 3 });

/** One line of the export, without its end. */
export function csvLine(row: HistoryRow, tag: KnownTag, before: Before | undefined, zone: ZoneTimes): string {
  const { float32, kind } = tag;
  const isGauge = kind === "gauge";
  const { amount, remark } = consumptionOf(row, tag, before, zone);
  const hasRegister = kind === "counter" && row.register !== undefined;
  return [
    zone.format(row.quarter * quarterMs),
    cell(tag.device),
    cell(tag.name),
    cell(tag.unit),
    hasRegister ? plain(row.register, float32) : "",
    hasRegister ? zone.format(row.registerMs) : "",
    amount,
    cell(remark),
    isGauge && row.count > 0 ? rounded(row.sum / row.count, float32) : "",
    isGauge && row.goodMs > 0 ? rounded(row.integral / row.goodMs, float32) : "",
    isGauge ? plain(row.low, float32) : "",
    isGauge ? plain(row.high, float32) : "",
    [...(row.codes ?? [])].map(([code, ms]) => `${code}:${seconds(ms)}`).join(" "),
    seconds(row.goodMs),
    String(row.count),
    tag.simulated ? "1" : "0",
  ].join(",");
}
