import { allPeriods, type IndicatorDefinition, siteLevels } from "./definition.ts";

export const devicesOnline: IndicatorDefinition = {
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
  source:
    "粤工信工业互联网函〔2020〕492号 设备联网数, term: online; computed from stored readings, so late data counts where it belongs",
};
