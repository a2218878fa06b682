import { allPeriods, groupLevels, type IndicatorDefinition } from "./definition.ts";

export const factoriesConnected: IndicatorDefinition = {
  id: "factories.connected",
  version: 1,
  zh: "工厂连接数",
  en: "Connected factories",
  unit: "1",
  levels: groupLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Distinct registered factories with at least one registered device that was online in the period",
  source: "粤工信工业互联网函〔2020〕492号 工厂连接数; counted from stored readings",
};
