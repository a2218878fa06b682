import { allPeriods, type IndicatorDefinition, siteLevels } from "./definition.ts";

export const devicesRegistered: IndicatorDefinition = {
  id: "devices.registered",
  version: 1,
  zh: "登记设备数",
  en: "Registered devices",
  unit: "1",
  levels: siteLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Devices in the registry version that the figure names",
  source: "粤工信工业互联网函〔2020〕492号 设备联网数, term: registered",
};
