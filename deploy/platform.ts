import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { stateTopic } from "@jilian/domain/topics.ts";
import { connectBus, type SparkplugBus, statePayload } from "@jilian/ingest/bus.ts";
import type { IngestParts } from "@jilian/ingest/start.ts";
import { type Authority, authorityFiles, openAuthority } from "@jilian/store/authority.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { removedGateways } from "@jilian/store/registry-removed.ts";
import { followVersions, registryNow } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { Logger } from "pino";
import type { loggedServices, PlatformConfig, ServiceName } from "./config.ts";
import type { Running } from "./ops-platform.ts";
import { placedTls } from "./ops-setting.ts";
import { openRegistry, tellUnreadable } from "./registry-start.ts";
import { makeDataDir, openStore, storePaths } from "./stores.ts";

export type PlatformParts = {
  /** The configured one; what is in force is the ledger's. */
  registry: Registry;
  clock: Clock;
  clockSetting: string | undefined;
  log: Logger;
  /** Folder that relative paths of the configuration start at. */
  baseDir: string;
  /** Told of each batch that the store has confirmed, for metrics. */
  onStored?: IngestParts["onStored"];
};

export type Platform = {
  brokerPort: number | undefined;
  apiUrl: string | undefined;
  /** The parts that run in this process, for health and metrics. */
  readonly running: Running;
  /** Resolves with the cause when a part ends that the others need. */
  readonly failed: Promise<Error>;
  /** Takes up the limits of the broker, and renewed certificates, without ending a connection. @returns paths of what has changed and needs a new start */
  readonly reload: (config: PlatformConfig) => string[];
  readonly close: () => Promise<void>;
};

/** The broker's section with the paths of its files resolved. */
function placedBroker({ broker: { tls, ...plain } }: PlatformConfig, baseDir: string): PlatformConfig["broker"] {
  return tls ? { ...plain, tls: placedTls(tls, baseDir) } : plain;
}

/** A broker of this process as a bus: the host's STATE is told on it like on any other (Sparkplug 3.0, 5.6). */
function localBus(bus: SparkplugBus, hostId: string, clock: Clock): SparkplugBus & { close: () => Promise<void> } {
  const tell = (online: boolean) =>
    bus.publish(stateTopic(hostId), statePayload(online, clock.now()), { qos: 1, retain: true });
  return { ...bus, announce: () => tell(true), close: () => tell(false) };
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
  const { host, port, username, filters } = remote;
  const tls = remote.tls && placedTls(remote.tls, baseDir);
  const { hostId } = config.ingest;
  return connectBus({ host, port, tls, username, password, hostId, filters }, clock.now, log);
}

/** The registry that was applied to the ledger of a broker that runs alone; undefined where none was: then the configured one counts. */
function appliedRegistry(ledger: Ledger, clock: Clock): Registry | undefined {
  if (ledger.lastRegistryNumber() === 0) return undefined;
  // A ledger that cannot be read is told where the broker asks it for credentials.
  return registryNow(followVersions(ledger), clock, { failed: () => {}, well: () => {} });
}

/** Gateways that an applied registry took out; of a ledger without any, none. */
function removedOf(ledger: Ledger, clock: Clock, log: Logger): (gateway: string) => boolean {
  const versions = followVersions(ledger);
  return removedGateways(
    () => (ledger.lastRegistryNumber() === 0 ? undefined : versions()),
    clock,
    tellUnreadable(log, "removed gateways cannot be looked for"),
  );
}

/**
 * Starts the named services in this process, in the order in which they need each other; closes them in the opposite one. A service
 * that is not named is not loaded either.
 * @throws JilianError API_NEEDS_INGEST when api shall run without ingest; what a service throws when it cannot start,
 *   after closing those that had started
 */
export async function startPlatform(
  services: readonly ServiceName[],
  config: PlatformConfig,
  parts: PlatformParts,
): Promise<Platform> {
  const { clock, clockSetting, log, baseDir, onStored } = parts;
  const logOf = (service: (typeof loggedServices)[number]) => {
    const level = config.logLevels?.[service];
    return log.child({ service }, level === undefined ? {} : { level });
  };
  if (services.includes("api") && !services.includes("ingest")) {
    throw new JilianError("api cannot run without ingest", {
      code: "API_NEEDS_INGEST",
      action: "start the services",
      remedy:
        'run "jilian run ingest api": the telemetry store has one owner process and live values are in its memory',
    });
  }
  const paths = storePaths(config, parts.baseDir);
  makeDataDir(paths.dataDir);
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  let fail: (cause: Error) => void = () => undefined;
  const running: Running = {};
  const platform: Platform = {
    brokerPort: undefined,
    apiUrl: undefined,
    running,
    failed: new Promise((r) => (fail = r)),
    reload: (next) => {
      running.api?.reloadCertificate();
      return (running.broker?.reload(placedBroker(next, baseDir)) ?? []).map((key) => `/broker${key}`);
    },
    close,
  };
  // Made at first need: where nobody enrols there is no key to lose.
  let opened: Promise<Authority> | undefined;
  const authority = () => {
    opened ??= openAuthority(paths.dataDir).catch((thrown: unknown) => {
      // Such as a full disk: the next one who needs it tries again.
      opened = undefined;
      throw thrown;
    });
    return opened;
  };
  const files = authorityFiles(paths.dataDir);
  const hasAuthority = config.api.enrolment !== undefined || existsSync(files.key) || existsSync(files.certificate);
  /** Without its key nobody enrols or renews, which must not keep those out who have a certificate, nor the rest of the platform. */
  const authorityCertificate = async (): Promise<string | undefined> => {
    try {
      return (await authority()).certificate;
    } catch (thrown) {
      const remedy = thrown instanceof JilianError ? thrown.remedy : "see the cause";
      log.error({ err: thrown, code: codeOf(thrown), remedy }, `gateways cannot enrol or renew: ${messageOf(thrown)}`);
      return existsSync(files.certificate) ? readFileSync(files.certificate, "utf8") : undefined;
    }
  };
  try {
    const ledger = openLedger({ path: paths.ledger, log });
    running.ledger = ledger;
    closers.push(async () => ledger.close());
    let bus: (SparkplugBus & { close: () => Promise<void> }) | undefined;
    if (services.includes("broker")) {
      const onFault = (fault: Parameters<typeof ledger.noteFinding>[0]) => ledger.noteFinding(fault, clock.now());
      const { startBroker } = await import("@jilian/broker/start.ts");
      const known = services.includes("ingest") ? undefined : appliedRegistry(ledger, clock);
      const enterpriseOf = (factory: string) =>
        (running.registry ?? known ?? parts.registry).factories.get(factory)?.enterpriseId;
      const broker = await startBroker(placedBroker(config, baseDir), {
        ...{ ledger, log: logOf("broker"), onFault, enterpriseOf, now: clock.now },
        isRemoved: removedOf(ledger, clock, logOf("broker")),
        authority: config.broker.tls && hasAuthority ? await authorityCertificate() : undefined,
      });
      running.broker = broker;
      closers.push(broker.close);
      platform.brokerPort = broker.port;
      if (services.includes("ingest")) bus = localBus(broker.bus, config.ingest.hostId, clock);
    }
    if (!services.includes("ingest")) return platform;
    const registry = openRegistry(parts.registry, { ledger, clock, log });
    running.registry = registry;
    bus ??= remoteBus(config, { ...parts, log: logOf("ingest") });
    closers.push(bus.close);
    const telemetry = await openStore(config, parts.baseDir, logOf("store"));
    running.telemetry = telemetry;
    closers.push(telemetry.close);
    telemetry.failed.then(fail);
    const live = createLiveState();
    running.live = live;
    const { startIngest } = await import("@jilian/ingest/start.ts");
    const ingest = await startIngest(config.ingest, {
      bus,
      telemetry,
      ledger,
      ledgerPath: paths.ledger,
      live,
      registry,
      clock,
      clockSetting,
      isStoreOwned: config.influx === undefined,
      log: logOf("ingest"),
      ...(onStored ? { onStored } : {}),
    });
    running.ingest = ingest;
    closers.push(ingest.close);
    ingest.failed.then(fail);
    if (services.includes("api")) {
      const { startApi } = await import("@jilian/api/server.ts");
      const api = await startApi(config.api, {
        telemetry,
        ledger,
        live,
        registry,
        clock,
        log: logOf("api"),
        baseDir,
        authority,
      });
      running.api = api;
      closers.push(api.close);
      platform.apiUrl = api.url;
    }
    return platform;
  } catch (error) {
    await close();
    throw error;
  }
}
