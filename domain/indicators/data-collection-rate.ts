import { accounted, collectedOf, shareFigure } from "./connection.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { device, polls, site } from "./examples.ts";

export const collectionRate: Indicator = {
  id: "data.collection_rate",
  version: 1,
  zh: "数据采集率",
  en: "Collection rate",
  unit: "1",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_account"],
  formula:
    "Good polls stored or suppressed by deadband / polls scheduled, over the devices whose gateway accounts for them. Good polls of a device are its answered polls times the share of their readings that were not bad and are not missing in the store",
  formulaZh:
    "有效采集次数 ÷ 应采集次数，仅计有采集账目的设备；有效采集次数 = 应答次数 × 读数中质量不坏且未缺失的份额（死区抑制的读数算有效）",
  source: "粤工信工业互联网函〔2020〕492号 数据采集率",
  better: "more",
  figure: (of) => {
    const { sums, completeness } = accounted(of);
    const all = sums.map(collectedOf);
    const good = all.reduce((sum, one) => sum + one.good, 0n);
    const scheduled = all.reduce((sum, one) => sum + one.scheduled, 0n);
    return shareFigure(good, scheduled * 1_000_000n, "no_account", completeness);
  },
  example: {
    zh: "应采 3,600 次，应答 3,564 次；读数 3,564 个中 36 个质量坏、3 个未入库：(3,564 − 39) ÷ 3,600 = 0.979167。",
    en: "3,600 polls were due, 3,564 answered; of their 3,564 readings 36 were bad and 3 are not stored: (3,564 - 39) / 3,600 = 0.979167.",
    site: site([device("f1/gw-1/a", { polls: polls(3600, 3564, { bad: 36, missing: 3 }) })]),
    value: "0.979167",
  },
};
