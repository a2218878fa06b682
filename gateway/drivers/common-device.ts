import type { DeviceConfig } from "../config.ts";
import { dlt645Common } from "./dlt645-tags.ts";
import type { CommonDevice } from "./tag-config.ts";

/**
 * A device as collecting and shaping see it. What the protocol's standard says of a tag (type, unit, scale) is filled in here, so that the
 * configuration stays, and is printed, as it was written.
 */
export function commonDevice(device: DeviceConfig): CommonDevice {
  return device.driver === "dlt645" ? dlt645Common(device) : device;
}
