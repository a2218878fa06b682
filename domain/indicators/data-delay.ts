import { addGauges, noGauge } from "../gauge-leaf.ts";
import { absentFigure, share } from "../result.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { device, measured, site } from "./examples.ts";
import { formatFraction } from "./fraction.ts";
import { devicesOf } from "./parts.ts";

/** A delay is told to a thousandth of a second. */
const places = 3;

/**
 * How old samples are when the platform has them. It speaks of arrival: alone of all figures it depends on when samples came. Accounts stand for
 * all samples. Leaves of every sample's delay would need the ingest time of every sample of each changed minute: one more column of a scan in
 * DuckDB, but row by row from InfluxDB, which has no sum of a difference to a point's time.
 */
export const dataDelay: Indicator = {
  id: "data.delay",
  version: 1,
  zh: "平均数据时延",
  en: "Mean delay of data",
  unit: "s",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_account", "no_data"],
  formula:
    "Mean time from the source time of a sample to its arrival at the platform, over the accounts that gateways send of each device every five minutes and that go the way of every sample: outbox, broker, store. What waited through an outage counts with all of its wait. Its limits: an account is as old as its writing at the gateway, so the way from the instrument to there (a poll, an OPC UA publishing interval) is not in it; each counts once, however many samples went with it, so the mean is over time and not over samples; nodes without our outbox have none. Below 0 a gateway's clock is ahead",
  formulaZh:
    "样本源时间至平台收到的平均时长，取网关每五分钟一份的采集账目（与其他样本同路：本地缓存、消息服务、存储）；断网期间等待的时长全部计入。局限：账目时间为网关写入时刻，不含仪表到网关的一段（轮询、OPC UA 发布间隔）；每份账目计一次，与同行样本数无关，即按时间而非按样本平均；无本系统本地缓存的节点没有此项。为负表示网关时钟超前",
  source: "粤工信工业互联网函〔2020〕492号 数据采集; source, gateway and ingest time of a sample (docs/contracts.md)",
  better: "less",
  figure: (of) => {
    const devices = devicesOf(of);
    const accounted = devices.flatMap(({ delay }) => delay ?? []);
    const told = accounted.filter(({ samples }) => samples > 0);
    const completeness = devices.length > 0 ? share(BigInt(told.length), BigInt(devices.length)) : null;
    const { samples, sum } = told.reduce(addGauges, noGauge);
    if (samples === 0) return absentFigure(accounted.length > 0 ? "no_data" : "no_account", completeness);
    // The sum is of milliseconds at six places.
    const value = formatFraction({ numerator: sum, denominator: BigInt(samples) * 1_000_000_000n }, places);
    return { value, reason: null, completeness, estimatedShare: null, lowerBound: false };
  },
  example: {
    zh: "一台设备的三份账目在路上 200、300、1,000 毫秒：平均 0.5 秒。",
    en: "Three accounts of a device were under way for 200, 300 and 1,000 ms: 0.5 s on average.",
    site: site([device("f1/gw-1/a", { delay: measured(["200", "300", "1000"]) })]),
    value: "0.5",
  },
};
