import { accounted, shareFigure } from "./connection.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { device, polls, site } from "./examples.ts";

export const dataCompleteness: Indicator = {
  id: "data.completeness",
  version: 1,
  zh: "数据完整率",
  en: "Data completeness",
  unit: "1",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_account"],
  formula:
    "Samples that gateways queued and that are stored / samples that they queued; what they dropped counts as queued and not stored",
  formulaZh: "已入库的上送样本数 ÷ 网关排队的样本数；网关丢弃的样本计为未入库",
  source: "completeness ledger (docs/contracts.md)",
  better: "more",
  figure: (of) => {
    const { sums, completeness } = accounted(of);
    const queued = sums.reduce((sum, one) => sum + BigInt(one.queued), 0n);
    const missing = sums.reduce((sum, one) => sum + BigInt(Math.min(one.missing, one.queued)), 0n);
    return shareFigure(queued - missing, queued, "no_account", completeness);
  },
  example: {
    zh: "网关排队 1,000 个样本，平台存了 990 个：0.99。",
    en: "A gateway queued 1,000 samples, 990 are stored: 0.99.",
    site: site([device("f1/gw-1/a", { polls: polls(3600, 3600, { queued: 1000, missing: 10 }) })]),
    value: "0.99",
  },
};
