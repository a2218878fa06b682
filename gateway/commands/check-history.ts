import type { GatewayConfig } from "../config.ts";
import { definitionsOf } from "../definitions.ts";
import { commonDevice } from "../drivers/common-device.ts";
import { historyTag } from "../history.ts";
import { tooShort } from "../history-reach.ts";
import { historySetting } from "../history-setting.ts";

/** For whoever puts a gateway into service: that its history will not reach back six months. Pure: reckoned, not measured. */
export function historyWarnings(config: GatewayConfig): string[] {
  const setting = historySetting(config);
  if (setting === undefined) return [];
  const definitions = config.devices.flatMap((device) => definitionsOf(commonDevice(device), device.simulated));
  const kinds = definitions.flatMap((definition) => historyTag("", definition)?.kind ?? []);
  const short = tooShort(kinds, setting);
  return short ? [`${short.found}; ${short.remedy}`] : [];
}
