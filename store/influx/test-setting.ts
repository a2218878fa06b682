import { Value } from "typebox/value";
import { type InfluxSetting, influxSchema } from "./config.ts";

/** The setting of a test: every default, but no waiting for a server that is not there. */
export function settingOf(url: string, database: string, more: Partial<InfluxSetting> = {}): InfluxSetting {
  return { ...(Value.Default(influxSchema, { url, database }) as InfluxSetting), startWaitMs: 0, ...more };
}
