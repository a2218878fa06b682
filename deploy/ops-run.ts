import { type Checked, formatFaults } from "@jilian/domain/check-config.ts";
import { type Clock, clockFromSetting, systemClock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { levelSwitch, logLevels } from "@jilian/domain/log-levels.ts";
import { logOutput } from "@jilian/gateway/log-output.ts";
import { type Ops, startOps } from "@jilian/gateway/ops.ts";
import { ingestHistograms } from "@jilian/ingest/metrics.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { type Logger, pino } from "pino";
import { collectDefaultMetrics, Registry as MetricRegistry } from "prom-client";
import type { PlatformConfig, ServiceName } from "./config.ts";
import { platformSource } from "./ops-platform.ts";
import { type Platform, startPlatform } from "./platform.ts";
import { storePaths } from "./stores.ts";
import { version } from "./version.ts";

export type Setting = {
  config: PlatformConfig;
  registry: Registry;
  baseDir: string;
  /** What is not safe, though not wrong. */
  warnings: readonly string[];
};

const closeBoundMs = 10_000;
/** npm passes a Ctrl-C on that the terminal has sent to this process too: that is one signal and not two. */
const sameSignalMs = 200;

/** A fault of arguments or environment: the program ends with code 2 on it, and nothing was started. */
function usageError(message: string, remedy: string): JilianError {
  return new JilianError(message, { code: "USAGE", action: "start the services", remedy });
}

/** The program's log; SIGUSR2 switches debug on everywhere and off again (SIGUSR1 is the debugger's). */
function openLog({ logLevel }: PlatformConfig): Logger {
  const level = process.env.JILIAN_LOG_LEVEL || (logLevel ?? "info");
  if (!(logLevels as readonly string[]).includes(level)) {
    throw usageError(`JILIAN_LOG_LEVEL is "${level}"; expected one of ${logLevels.join(", ")}`, "correct or unset it");
  }
  const levels = levelSwitch(level);
  const options = { name: "jilian", level, onChild: (child: Logger) => levels.onChild(child) };
  const log = pino(options, logOutput(process.stdout.fd));
  levels.onChild(log);
  if (process.platform !== "win32") {
    process.on("SIGUSR2", () => {
      levels.force(levels.forced() === undefined ? "debug" : undefined);
      log.info({ logLevel: log.level }, "log level switched");
    });
  }
  return log;
}

/** A clock that runs faster is for simulated plants: a real pilot's figures are made on real time only. */
function readClock(setting: string | undefined, registry: Registry): Clock {
  let clock: Clock;
  try {
    clock = clockFromSetting(setting);
  } catch (error) {
    throw usageError(messageOf(error), "unset JILIAN_CLOCK");
  }
  if (clock === systemClock || registry.demo) return clock;
  const message = "JILIAN_CLOCK is set, but the pilot is not marked demo: a pilot's figures are made on real time only";
  throw usageError(message, "unset JILIAN_CLOCK");
}

/** Closes on SIGINT, SIGTERM and when the parent is gone; a second signal ends at once. */
function closeOnSignals(close: () => Promise<void>, log: Logger): void {
  let closingSinceMs: number | undefined;
  const end = (why: string, isSignal: boolean) => {
    const nowMs = performance.now();
    if (closingSinceMs !== undefined) {
      if (isSignal && nowMs - closingSinceMs > sameSignalMs) process.exit(1);
      return;
    }
    closingSinceMs = nowMs;
    log.info({ why }, "ending");
    const late = () => {
      log.fatal({ code: "CLOSE_TIMEOUT" }, `not closed within ${closeBoundMs} ms; what was confirmed is safe`);
      process.exit(1);
    };
    setTimeout(late, closeBoundMs).unref();
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ code: codeOf(error), err: messageOf(error) }, "could not end cleanly");
        process.exit(1);
      },
    );
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => end(signal, true));
  process.on("disconnect", () => end("the parent process is gone", false));
}

/** What nobody caught is logged and ends the process: it never limps on. What was confirmed to gateways is in the store. */
function endOnFaults(log: Logger): void {
  const fail = (err: unknown): never => {
    log.fatal({ code: codeOf(err), err }, "the platform failed and ends");
    process.exit(1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
}

/**
 * Reads the configuration again on SIGHUP and takes up the broker's limits, and renewed certificates at once. A file with a fault is refused
 * as a whole: what is in use stays. Accounts and the registry need no signal: they are looked at all the time, as are certificates.
 */
function reloadOnHangup(platform: Platform, reread: () => Checked<PlatformConfig>, log: Logger): void {
  // Windows knows the signal as the end of its console.
  if (process.platform === "win32") return;
  process.on("SIGHUP", () => {
    try {
      const read = reread();
      if (!read.ok) {
        log.error({ code: "CONFIG_REFUSED" }, formatFaults(read.faults, "the configuration in use stays"));
        return;
      }
      const later = platform.reload(read.value);
      log.info({ later }, "the broker's limits are those of the configuration now");
    } catch (error) {
      log.error({ code: "CONFIG_UNREADABLE", err: messageOf(error) }, "the configuration in use stays");
    }
  });
}

type Started = { platform: Platform; ops: Ops | undefined };

async function start(services: readonly ServiceName[], setting: Setting, clock: Clock, log: Logger): Promise<Started> {
  const { config, registry, baseDir } = setting;
  const clockSetting = process.env.JILIAN_CLOCK;
  const metrics = new MetricRegistry();
  const watches = config.ops && services.includes("ingest");
  const onStored = watches ? { onStored: ingestHistograms(metrics, clock) } : {};
  const parts = { registry, clock, clockSetting, log, baseDir, ...onStored };
  const platform = await startPlatform(services, config, parts);
  if (!config.ops) return { platform, ops: undefined };
  try {
    collectDefaultMetrics({ register: metrics });
    const watched = { running: platform.running, registry, clock, paths: storePaths(config, baseDir), version };
    return { platform, ops: await startOps(config.ops, { source: platformSource(watched, metrics), log }) };
  } catch (error) {
    await platform.close();
    throw error;
  }
}

/**
 * Runs the named services until a signal, the loss of the parent, or a fault ends them; then this process ends.
 * @throws JilianError USAGE, API_NEEDS_INGEST when nothing was started
 */
export async function runPlatform(
  services: readonly ServiceName[],
  setting: Setting,
  reread: () => Checked<PlatformConfig>,
): Promise<void> {
  const { config, registry, warnings } = setting;
  const log = openLog(config);
  const clock = readClock(process.env.JILIAN_CLOCK, registry);
  endOnFaults(log);
  for (const warning of warnings) log.warn({ code: "CONFIG_UNSAFE" }, warning);
  const starting = start(services, setting, clock, log);
  closeOnSignals(async () => {
    const { platform, ops } = await starting;
    await Promise.all([platform.close(), ops?.close()]);
  }, log);
  try {
    const { platform, ops } = await starting;
    const { brokerPort, apiUrl } = platform;
    reloadOnHangup(platform, reread, log);
    log.info({ services, brokerPort, apiUrl, demo: registry.demo, registry: registry.version, version }, "started");
    process.send?.({ type: "ready", brokerPort, apiUrl, opsPort: ops?.port });
    const cause = await platform.failed;
    log.fatal({ code: codeOf(cause), err: messageOf(cause) }, "a part that the others need has ended");
  } catch (error) {
    if (codeOf(error) === "API_NEEDS_INGEST") throw error;
    const detail =
      error instanceof JilianError ? { action: error.action, remedy: error.remedy, address: error.address } : {};
    log.fatal({ code: codeOf(error), ...detail, err: messageOf(error) }, "could not start");
  }
  process.exit(1);
}
