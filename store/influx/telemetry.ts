import type { Logger } from "pino";
import { type OwnedTelemetry, openInThread } from "../thread/owner.ts";
import type { InfluxSetting } from "./config.ts";

export type InfluxTelemetryOptions = InfluxSetting & { log: Logger };

/**
 * Opens the telemetry store in an InfluxDB 1.x, 2.x or 3.x, as its one writer; whoever opens a database last owns it, and the one before
 * ends with STORE_LOCKED. It has a thread of its own, because answers of some megabytes are parsed at once; other threads of this process
 * connect to it with `connectTelemetry`, as to the embedded store.
 *
 * An InfluxDB that cannot be reached later on ends nothing: calls are rejected until it answers again, and a write that was under way is
 * completed then.
 * @throws JilianError STORE_UNREACHABLE after `startWaitMs`, STORE_UNAUTHORISED, STORE_UNSUPPORTED (no InfluxDB), STORE_DATABASE_MISSING,
 * STORE_RETENTION, STORE_TOO_NEW, STORE_UNREADABLE
 */
export async function openInfluxTelemetry({ log, ...setting }: InfluxTelemetryOptions): Promise<OwnedTelemetry> {
  const where = { url: setting.url, database: setting.database };
  return await openInThread(new URL("./worker.ts", import.meta.url), setting, where, log);
}
