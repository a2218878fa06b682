import { isOnline } from "./connection.ts";
import { allPeriods, type Indicator, siteLevels } from "./definition.ts";
import { device, site } from "./examples.ts";
import { countFigure, devicesOf } from "./parts.ts";

export const devicesOnline: Indicator = {
  id: "devices.online",
  version: 1,
  zh: "在线设备数",
  en: "Devices online",
  unit: "1",
  levels: siteLevels,
  periods: allPeriods,
  reasons: [],
  formula:
    "Registered devices that were online at some moment of the period: a process metric of good quality was stored whose source time lies less than three heartbeats back",
  formulaZh: "期内曾在线的登记设备数：有质量良好的过程量入库，且其源时间距当时不足三个心跳",
  source:
    "粤工信工业互联网函〔2020〕492号 设备联网数, term: online; computed from stored readings, so late data counts where it belongs",
  better: "more",
  figure: (of) => countFigure(devicesOf(of).filter(isOnline).length),
  example: {
    zh: "3 台设备：一台整小时在线，一台只在线 20 秒，一台离线。在线设备数 2。",
    en: "3 devices: one online for the hour, one for 20 seconds, one not at all. Online are 2.",
    site: site([device("f1/gw-1/a"), device("f1/gw-1/b", { onlineMs: 20_000 }), device("f1/gw-1/c", { onlineMs: 0 })]),
    value: "2",
  },
};
