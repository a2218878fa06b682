import { absentFigure, share } from "../result.ts";
import { watchedDevices } from "./alarms.ts";
import { allPeriods, type Indicator, levelsOfAlarms } from "./definition.ts";
import { device, site } from "./examples.ts";
import { formatFraction } from "./fraction.ts";
import { coveredBy } from "./parts.ts";

/** Places of minutes: six milliseconds. */
const places = 4;

export const alarmsActiveTime: Indicator = {
  id: "alarms.active_time",
  version: 1,
  zh: "报警时长",
  en: "Time in alarm",
  unit: "min",
  levels: levelsOfAlarms,
  periods: allPeriods,
  reasons: ["no_alarm_rule"],
  formula:
    "Time of the period in which alarms were active, summed over the alarms: from raised to cleared, without the time in which the readings of an alarm had stopped or were bad. Null where no rule watches a device; completeness is the share of the time in which the watched devices were online",
  formulaZh:
    "期内各报警处于触发状态的时长之和：自触发至解除，扣除其读数中断或质量不良的时间；无规则覆盖任何设备时为空；完整率为有规则设备的在线时间占比",
  source: "IEC 62682 / ISA-18.2, alarm records; rules of the registry (docs/configuration.md)",
  figure: (of) => {
    const watched = watchedDevices(of);
    if (watched.length === 0) return absentFigure("no_alarm_rule");
    const activeMs = watched.reduce((sum, { alarms }) => sum + alarms.activeMs, 0);
    const coveredMs = watched.reduce((sum, one) => sum + coveredBy(one.onlineMs, one, of), 0);
    return {
      value: formatFraction({ numerator: BigInt(activeMs), denominator: 60_000n }, places),
      reason: null,
      completeness: share(BigInt(coveredMs), BigInt(of.elapsedMs * watched.length)),
      estimatedShare: null,
      lowerBound: watched.some(({ alarms }) => alarms.partial),
    };
  },
  example: {
    zh: "过热报警持续 10 分钟，功率报警 90 秒，其间读数中断 30 秒不计：10 + 1 = 11 分钟。",
    en: "An alarm of heat lasted 10 minutes, one of power 90 seconds of which its readings were gone for 30: 10 + 1 = 11 min.",
    site: site([
      device("f1/gw-1/a", { alarms: { raised: 1, activeMs: 600_000, partial: false } }),
      device("f1/gw-1/b", { alarms: { raised: 1, activeMs: 60_000, partial: false } }),
    ]),
    value: "11",
  },
};
