import { allPeriods, type IndicatorDefinition, siteLevels } from "./definition.ts";

export const devicesEverConnected: IndicatorDefinition = {
  id: "devices.ever_connected",
  version: 1,
  zh: "累计联网设备数",
  en: "Devices ever connected",
  unit: "1",
  levels: siteLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Registered devices that birthed at least once through their own gateway before the end of the period",
  source: "粤工信工业互联网函〔2020〕492号 设备联网数, term: ever connected",
};
