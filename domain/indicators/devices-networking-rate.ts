import { isNetworked, shareFigure } from "./connection.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { device, site } from "./examples.ts";
import { devicesOf } from "./parts.ts";

export const devicesNetworkingRate: Indicator = {
  id: "devices.networking_rate",
  version: 1,
  zh: "设备联网率",
  en: "Networking rate",
  unit: "1",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_devices"],
  formula:
    "Networked / registered production devices. Networked are the effectively connected ones where the period has 30 days that have passed, else those that were online in it",
  formulaZh: "联网的生产设备数 ÷ 登记的生产设备数；满 30 天取有效联网，否则取本期在线",
  source: "粤工信工业互联网函〔2020〕492号 设备联网率",
  better: "more",
  figure: (of) => {
    const devices = devicesOf(of).filter(({ production }) => production);
    const networked = devices.filter((device) => isNetworked(device, of));
    return shareFigure(BigInt(networked.length), BigInt(devices.length), "no_devices");
  },
  example: {
    zh: "4 台生产设备中 3 台在线，电表不计：3 ÷ 4 = 0.75。",
    en: "Of 4 production devices 3 were online; a meter does not count: 3 / 4 = 0.75.",
    site: site([
      device("f1/gw-1/a"),
      device("f1/gw-1/b"),
      device("f1/gw-1/c"),
      device("f1/gw-1/d", { onlineMs: 0 }),
      device("f1/gw-1/meter", { production: false }),
    ]),
    value: "0.75",
  },
};
