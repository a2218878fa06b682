import { shareFigure } from "./connection.ts";
import { type Indicator, ratioPeriods, siteLevels } from "./definition.ts";
import { device, site } from "./examples.ts";
import { devicesOf } from "./parts.ts";

export const onlineRate: Indicator = {
  id: "devices.online_rate",
  version: 1,
  zh: "在线率",
  en: "Online rate",
  unit: "1",
  levels: siteLevels,
  periods: ratioPeriods,
  reasons: ["no_devices"],
  formula:
    "Online seconds / scheduled seconds: time in which a good reading of the device was younger than three heartbeats, over what has passed of the period, each summed over the registered devices",
  formulaZh: "在线时长 ÷ 应在线时长，对登记设备分别求和；有质量良好且不超过三个心跳的读数即为在线",
  source: "粤工信工业互联网函〔2020〕492号 在线率",
  better: "more",
  figure: (of) => {
    const devices = devicesOf(of);
    const onlineMs = devices.reduce((ms, device) => ms + Math.min(device.onlineMs, of.elapsedMs), 0);
    return shareFigure(BigInt(onlineMs), BigInt(of.elapsedMs) * BigInt(devices.length), "no_devices");
  },
  example: {
    zh: "两台设备一小时：一台在线 60 分钟，一台在线 45 分钟：105 ÷ 120 = 0.875。",
    en: "Two devices in an hour: one online for 60 minutes, one for 45: 105 / 120 = 0.875.",
    site: site([device("f1/gw-1/a"), device("f1/gw-1/b", { onlineMs: 45 * 60_000 })]),
    value: "0.875",
  },
};
