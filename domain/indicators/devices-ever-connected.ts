import { allPeriods, type Indicator, siteLevels } from "./definition.ts";
import { device, site } from "./examples.ts";
import { countFigure, devicesOf } from "./parts.ts";

export const devicesEverConnected: Indicator = {
  id: "devices.ever_connected",
  version: 1,
  zh: "累计联网设备数",
  en: "Devices ever connected",
  unit: "1",
  levels: siteLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Registered devices that birthed at least once through their own gateway before the end of the period",
  formulaZh: "期末之前至少经本网关上线一次的登记设备数",
  source: "粤工信工业互联网函〔2020〕492号 设备联网数, term: ever connected",
  better: "more",
  figure: (of) => countFigure(devicesOf(of).filter(({ everConnected }) => everConnected).length),
  example: {
    zh: "3 台设备，一台从未联网，一台本期离线但曾上线。累计联网 2。",
    en: "Of 3 devices one never connected, one is offline now but was connected before. Ever connected are 2.",
    site: site([
      device("f1/gw-1/a"),
      device("f1/gw-1/b", { onlineMs: 0 }),
      device("f1/gw-1/c", { everConnected: false, onlineMs: 0 }),
    ]),
    value: "2",
  },
};
