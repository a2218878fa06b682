import { isEffective } from "./connection.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { device, polls, site } from "./examples.ts";
import { countFigure, devicesOf } from "./parts.ts";

export const devicesEffective: Indicator = {
  id: "devices.effective",
  version: 1,
  zh: "有效联网设备数",
  en: "Devices effectively connected",
  unit: "1",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: [],
  formula:
    "Registered devices whose collection rate was at least 90 % on at least 20 of the last 30 days before the end of the period; in a shorter period of d days on two thirds of them, rounded up; in one of a day or less, in the period itself. A device without accounts is not effective",
  formulaZh:
    "期末前 30 天中至少 20 天数据采集率不低于 90% 的登记设备数；周期不足 30 天时按三分之二（进位）折算，不超过一天时看本期；无采集账目者不计",
  source: "粤工信工业互联网函〔2020〕492号 设备联网数, term: effective (有效联网)",
  better: "more",
  figure: (of) => countFigure(devicesOf(of).filter((device) => isEffective(device, of)).length),
  example: {
    zh: "一小时应采 3,600 次：甲采到 3,300 次（91.7%），乙采到 3,200 次（88.9%）。有效联网 1。",
    en: "3,600 polls were due in the hour: A gave 3,300 (91.7 %), B 3,200 (88.9 %). Effectively connected is 1.",
    site: site([device("f1/gw-1/a", { polls: polls(3600, 3300) }), device("f1/gw-1/b", { polls: polls(3600, 3200) })]),
    value: "1",
  },
};
