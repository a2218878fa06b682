import type { AlarmSum, DeviceSums, SiteSums } from "../period-sums.ts";
import { devicesOf } from "./parts.ts";

type Watched = DeviceSums & { readonly alarms: AlarmSum };

/** The devices of a site that some alarm rule watches, or watched in the period. */
export function watchedDevices(site: SiteSums): Watched[] {
  return devicesOf(site).filter((device): device is Watched => device.alarms !== undefined);
}
