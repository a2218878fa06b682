import { allPeriods, type Indicator, siteLevels } from "./definition.ts";
import { meter, site } from "./examples.ts";
import { gridFactorName, gridFactors } from "./factors.ts";
import { carrierOfSite, figureOfPart, timesFactor } from "./parts.ts";

/** Carbon dioxide of the electricity taken from the grid (scope 2, by the grid's average factor). */
export const carbonElectricity: Indicator = {
  id: "carbon.electricity",
  version: 1,
  zh: "用电碳排放",
  en: "Carbon dioxide of electricity",
  unit: "kgCO2",
  levels: siteLevels,
  periods: allPeriods,
  reasons: ["no_meter", "no_data"],
  formula:
    "energy.electricity x the average factor of the grid that the registry names (national without), kgCO2/kWh; null where energy.electricity is null",
  formulaZh: "用电量 × 登记册所指电网的平均二氧化碳排放因子（未指明时用全国），kgCO2/kWh；用电量为空则为空",
  source: "生态环境部、国家统计局 电力二氧化碳排放因子, by year and grid",
  figure: (of) =>
    figureOfPart(timesFactor(carrierOfSite(of, "electricity"), gridFactors.per10000[of.gridRegion]), "kgCO2"),
  factors: ({ gridRegion }) => gridFactorName(gridRegion),
  example: {
    zh: "用电 1,000.5 kWh，南方电网因子 0.4042 kgCO2/kWh：排放 404.4021 kgCO2。",
    en: "1,000.5 kWh from the south grid, 0.4042 kgCO2/kWh: 404.4021 kgCO2.",
    site: site([meter("m1", "electricity", "1000.5")], { gridRegion: "south" }),
    value: "404.4021",
  },
};
