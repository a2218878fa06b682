import { accessSync, constants, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { startApi } from "@jilian/api/server.ts";
import { startBroker } from "@jilian/broker/start.ts";
import type { Clock } from "@jilian/domain/clock.ts";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { stateTopic } from "@jilian/domain/topics.ts";
import { connectBus, type SparkplugBus, statePayload } from "@jilian/ingest/bus.ts";
import { startIngest } from "@jilian/ingest/start.ts";
import { openTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import { createLiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { Logger } from "pino";
import type { PlatformConfig, ServiceName } from "./config.ts";

export type PlatformParts = {
  registry: Registry;
  clock: Clock;
  clockSetting: string | undefined;
  log: Logger;
  /** Folder that relative paths of the configuration start at. */
  baseDir: string;
};

export type Platform = {
  brokerPort: number | undefined;
  apiUrl: string | undefined;
  /** Resolves with the cause when a part ends that the others need. */
  readonly failed: Promise<Error>;
  readonly close: () => Promise<void>;
};

/** Where the embedded stores of a configuration lie. */
export function storePaths(
  config: PlatformConfig,
  baseDir: string,
): { dataDir: string; telemetry: string; ledger: string } {
  const dataDir = resolve(baseDir, config.dataDir);
  return { dataDir, telemetry: join(dataDir, "telemetry.duckdb"), ledger: join(dataDir, "ledger.sqlite") };
}

function makeDataDir(dataDir: string): void {
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

/** A broker of this process as a bus: the host's STATE is told on it like on any other (Sparkplug 3.0, 5.6). */
async function localBus(
  bus: SparkplugBus,
  hostId: string,
  clock: Clock,
): Promise<SparkplugBus & { close: () => Promise<void> }> {
  const bornMs = clock.now();
  const tell = (online: boolean) =>
    bus.publish(stateTopic(hostId), statePayload(online, bornMs), { qos: 1, retain: true });
  await tell(true);
  return { ...bus, close: () => tell(false) };
}

function remoteBus(
  config: PlatformConfig,
  { clock, log, baseDir }: PlatformParts,
): SparkplugBus & { close: () => Promise<void> } {
  const remote = config.remoteBroker as NonNullable<PlatformConfig["remoteBroker"]>;
  const path = resolve(baseDir, remote.passwordFile);
  let password: string;
  try {
    password = readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw new JilianError(`cannot read the password file ${path}`, {
      code: "SECRET_UNREADABLE",
      action: "read the password of the host application",
      remedy: "make the file readable by this user, or correct remoteBroker.passwordFile",
      address: path,
      cause,
    });
  }
  return connectBus(
    { host: remote.host, port: remote.port, username: remote.username, password, hostId: config.ingest.hostId },
    clock.now,
    log,
  );
}

/**
 * Starts the named services in this process, in the order in which they need each other; closes them in the opposite one.
 * @throws JilianError API_NEEDS_INGEST when api shall run without ingest on the embedded store; what a service throws when it cannot start,
 *   after closing those that had started
 */
export async function startPlatform(
  services: readonly ServiceName[],
  config: PlatformConfig,
  parts: PlatformParts,
): Promise<Platform> {
  const { registry, clock, clockSetting, log } = parts;
  if (services.includes("api") && !services.includes("ingest")) {
    throw new JilianError("api cannot run without ingest on the embedded store", {
      code: "API_NEEDS_INGEST",
      action: "start the services",
      remedy: 'run "jilian run ingest api": DuckDB has one owner process, so the two share it',
    });
  }
  const paths = storePaths(config, parts.baseDir);
  makeDataDir(paths.dataDir);
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  let fail: (cause: Error) => void = () => undefined;
  const platform: Platform = {
    brokerPort: undefined,
    apiUrl: undefined,
    failed: new Promise((r) => (fail = r)),
    close,
  };
  try {
    const ledger = openLedger({ path: paths.ledger, log });
    closers.push(async () => ledger.close());
    let bus: (SparkplugBus & { close: () => Promise<void> }) | undefined;
    if (services.includes("broker")) {
      const onFault = (fault: Parameters<typeof ledger.noteFinding>[0]) => ledger.noteFinding(fault, clock.now());
      const broker = await startBroker(config.broker, { ledger, log: log.child({ service: "broker" }), onFault });
      closers.push(broker.close);
      platform.brokerPort = broker.port;
      if (services.includes("ingest")) bus = await localBus(broker.bus, config.ingest.hostId, clock);
    }
    if (!services.includes("ingest")) return platform;
    bus ??= remoteBus(config, { ...parts, log: log.child({ service: "ingest" }) });
    closers.push(bus.close);
    const telemetry = await openTelemetry({
      path: paths.telemetry,
      ...config.store,
      log: log.child({ service: "store" }),
    });
    closers.push(telemetry.close);
    telemetry.failed.then(fail);
    const live = createLiveState();
    const ingest = await startIngest(config.ingest, {
      bus,
      telemetry,
      ledger,
      ledgerPath: paths.ledger,
      live,
      registry,
      clock,
      clockSetting,
      log: log.child({ service: "ingest" }),
    });
    closers.push(ingest.close);
    ingest.failed.then(fail);
    if (services.includes("api")) {
      const api = await startApi(config.api, {
        telemetry,
        ledger,
        live,
        registry,
        clock,
        log: log.child({ service: "api" }),
      });
      closers.push(api.close);
      platform.apiUrl = api.url;
    }
    return platform;
  } catch (error) {
    await close();
    throw error;
  }
}
