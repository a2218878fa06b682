import { isOnline } from "./connection.ts";
import { allPeriods, groupLevels, type Indicator } from "./definition.ts";
import { device, factory, site } from "./examples.ts";
import { countFigure } from "./parts.ts";

export const enterprisesConnected: Indicator = {
  id: "enterprises.connected",
  version: 1,
  zh: "上平台企业数",
  en: "Connected enterprises",
  unit: "1",
  levels: groupLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Distinct unified social credit codes of enterprises with at least one connected factory",
  formulaZh: "至少一家工厂已连接的企业数，按统一社会信用代码去重",
  source: "粤工信工业互联网函〔2020〕492号 上平台企业; GB 32100-2015 for the code",
  better: "more",
  figure: ({ factories }) => {
    const connected = factories.filter(({ devices }) => devices.some(isOnline));
    return countFigure(new Set(connected.map(({ creditCode }) => creditCode)).size);
  },
  example: {
    zh: "三家已连接的工厂，其中两家属同一企业（同一信用代码）。上平台企业 2。",
    en: "Three connected factories, two of them of one enterprise (one credit code). Connected enterprises are 2.",
    site: site([], {
      level: "cluster",
      factories: [
        factory([device("f1/gw-1/a")], { creditCode: "A" }),
        factory([device("f2/gw-1/a")], { id: "f2", creditCode: "A" }),
        factory([device("f3/gw-1/a")], { id: "f3", creditCode: "B" }),
      ],
    }),
    value: "2",
  },
};
