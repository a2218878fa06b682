import { allPeriods, type Indicator, siteLevels } from "./definition.ts";
import { device, site } from "./examples.ts";
import { countFigure, devicesOf } from "./parts.ts";

export const devicesRegistered: Indicator = {
  id: "devices.registered",
  version: 1,
  zh: "登记设备数",
  en: "Registered devices",
  unit: "1",
  levels: siteLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Devices in the registry version that the figure names",
  formulaZh: "数据所指登记册版本中的设备数",
  source: "粤工信工业互联网函〔2020〕492号 设备联网数, term: registered",
  figure: (of) => countFigure(devicesOf(of).length),
  example: {
    zh: "登记册有 3 台设备，其中一台从未联网。登记设备数 3。",
    en: "The registry has 3 devices, one of which never connected. Registered are 3.",
    site: site([device("f1/gw-1/a"), device("f1/gw-1/b"), device("f1/gw-1/c", { everConnected: false, onlineMs: 0 })]),
    value: "3",
  },
};
