import { isOnline } from "./connection.ts";
import { allPeriods, groupLevels, type Indicator } from "./definition.ts";
import { device, factory, site } from "./examples.ts";
import { countFigure } from "./parts.ts";

export const factoriesConnected: Indicator = {
  id: "factories.connected",
  version: 1,
  zh: "工厂连接数",
  en: "Connected factories",
  unit: "1",
  levels: groupLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Distinct registered factories with at least one registered device that was online in the period",
  formulaZh: "期内至少一台登记设备在线的登记工厂数",
  source: "粤工信工业互联网函〔2020〕492号 工厂连接数; counted from stored readings",
  better: "more",
  figure: ({ factories }) => countFigure(factories.filter(({ devices }) => devices.some(isOnline)).length),
  example: {
    zh: "三家工厂：一家两台设备在线，一家一台在线，一家全部离线。工厂连接数 2。",
    en: "Three factories: one with two devices online, one with one, one with none. Connected are 2.",
    site: site([], {
      level: "cluster",
      factories: [
        factory([device("f1/gw-1/a"), device("f1/gw-1/b")]),
        factory([device("f2/gw-1/a")], { id: "f2" }),
        factory([device("f3/gw-1/a", { onlineMs: 0 })], { id: "f3" }),
      ],
    }),
    value: "2",
  },
};
