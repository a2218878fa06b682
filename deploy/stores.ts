import { accessSync, constants, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { openTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import { influxSetting } from "@jilian/store/influx/config.ts";
import type { OwnedTelemetry } from "@jilian/store/thread/owner.ts";
import type { Logger } from "pino";
import type { PlatformConfig } from "./config.ts";

/** Where the embedded stores of a configuration lie. */
export function storePaths(
  config: PlatformConfig,
  baseDir: string,
): { dataDir: string; telemetry: string; ledger: string } {
  const dataDir = resolve(baseDir, config.dataDir);
  return { dataDir, telemetry: join(dataDir, "telemetry.duckdb"), ledger: join(dataDir, "ledger.sqlite") };
}

/** Makes the folder of the embedded stores. @throws JilianError DATA_DIR */
export function makeDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    accessSync(dataDir, constants.W_OK);
  } catch (cause) {
    throw new JilianError(`the data folder ${dataDir} cannot be used: ${messageOf(cause)}`, {
      code: "DATA_DIR",
      action: "open the stores",
      remedy: "correct dataDir in platform.yaml, or give this user the right to write there",
      address: dataDir,
      cause,
    });
  }
}

/**
 * Opens the telemetry store that the configuration names: InfluxDB where `influx` is there, else the embedded one.
 * @throws what the store throws when it cannot be opened
 */
export async function openStore(config: PlatformConfig, baseDir: string, log: Logger): Promise<OwnedTelemetry> {
  if (config.influx === undefined) {
    return await openTelemetry({ path: storePaths(config, baseDir).telemetry, ...config.store, log });
  }
  const { passwordFile, tokenFile, ...setting } = config.influx;
  const files = {
    ...(passwordFile === undefined ? {} : { passwordFile: resolve(baseDir, passwordFile) }),
    ...(tokenFile === undefined ? {} : { tokenFile: resolve(baseDir, tokenFile) }),
  };
  // Its library is loaded only where it is used.
  const { openInfluxTelemetry } = await import("@jilian/store/influx/telemetry.ts");
  return await openInfluxTelemetry({ ...(await influxSetting({ ...setting, ...files })), log });
}
