import { absentFigure } from "../result.ts";
import { watchedDevices } from "./alarms.ts";
import { allPeriods, type Indicator, levelsOfAlarms } from "./definition.ts";
import { device, site } from "./examples.ts";
import { countFigure } from "./parts.ts";

export const alarmsRaised: Indicator = {
  id: "alarms.raised",
  version: 1,
  zh: "报警次数",
  en: "Alarms raised",
  unit: "1",
  levels: levelsOfAlarms,
  periods: allPeriods,
  reasons: ["no_alarm_rule"],
  formula:
    "Alarms of the registry's rules that were raised in the period, by the source time of the reading or the end of the delay that raised them; those that late readings withdrew do not count. Null where no rule watches a device",
  formulaZh:
    "按登记的报警规则在期内触发的报警次数，时间取触发读数的源时间（有延时者为延时届满之时）；被迟到数据撤销的不计；无规则覆盖任何设备时为空",
  source: "IEC 62682 / ISA-18.2, alarm records; rules of the registry (docs/configuration.md)",
  figure: (of) => {
    const watched = watchedDevices(of);
    if (watched.length === 0) return absentFigure("no_alarm_rule");
    const raised = watched.reduce((sum, { alarms }) => sum + alarms.raised, 0);
    return { ...countFigure(raised), lowerBound: watched.some(({ alarms }) => alarms.partial) };
  },
  example: {
    zh: "两台设备有报警规则，一小时内分别触发 2 次和 1 次；第三台没有规则。报警次数 3。",
    en: "Two devices have alarm rules and raised 2 and 1 alarms in the hour, a third has none: 3.",
    site: site([
      device("f1/gw-1/a", { alarms: { raised: 2, activeMs: 600_000, partial: false } }),
      device("f1/gw-1/b", { alarms: { raised: 1, activeMs: 60_000, partial: false } }),
      device("f1/gw-1/c"),
    ]),
    value: "3",
  },
};
