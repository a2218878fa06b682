#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Clock } from "@jilian/domain/clock.ts";
import type { Logger } from "pino";
import type { GatewayConfig } from "./config.ts";

const help = `jilian-gateway: reads PLCs, keeps every reading on disk, publishes Sparkplug B

  jilian-gateway run --config gateway.yaml     runs the gateway until SIGTERM or Ctrl-C
  jilian-gateway check --config gateway.yaml   checks the configuration, opens and connects nothing;
                                               with --print shows it as it takes effect, without secrets
  jilian-gateway browse --endpoint opc.tcp://host:4840
                                               prints the variables of an OPC UA server as tags; see browse --help
  jilian-gateway aside list|replay|drop        what was set aside, see aside --help
  jilian-gateway version                       versions of the program, of Node.js and of the outbox file

Relative paths in the configuration start at its own folder.
Exit codes: 0 done, 1 failed while running, 2 wrong configuration or arguments (nothing was started).
Signals: SIGTERM and SIGINT end it within 2 s (8 s while it moves readings from memory to disk), a second one at once; SIGUSR2 switches debug logging on and off.
Environment: JILIAN_LOG_LEVEL (trace, debug, info, warn, error; before logLevel of the configuration),
  JILIAN__path__of__value (in place of a value of the configuration: JILIAN__broker__host=10.0.0.5),
  JILIAN_CLOCK (rate,originMs,startedMs, or @FILE that holds them and may change: another clock, only where every
  device is simulated).
`;
const oldestNode = 24;
const closeBoundMs = 2000;
/** As long as readings are moved from memory to their file, which would be lost: below what systemd waits (TimeoutStopSec). */
const movingBoundMs = 8000;
/** What is under way to the service manager may end, and then the news that this gateway does. */
const stoppingBoundMs = 300;
/** npm passes a Ctrl-C on that the terminal has sent to this process too: that is one signal and not two. */
const sameSignalMs = 200;

/** Ends with exit code 2: nothing was started. */
function refuse(text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(2);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return refuse(
      `${path}: cannot be read (${why})\n  remedy: give the path of the file with --config, or make it readable`,
    );
  }
}

type Setting = {
  config: GatewayConfig;
  /** What has to be done before a run. */
  notes: string[];
  /** What is not safe. */
  warnings: string[];
  /** The configuration as it takes effect, as YAML without secrets. */
  printed: string;
};

/**
 * Reads and checks all that can be wrong before anything is opened, passwords in their files included; every fault at once.
 * @param checkOnly a password file that is not there yet is a note then: examples can be checked before their secrets are made
 */
async function readSetting(file: string, checkOnly: boolean): Promise<Setting> {
  const [{ readGatewayConfig }, { faultsAt, formatFaults }, { printConfig }, ops, secrets] = await Promise.all([
    import("./config.ts"),
    import("@jilian/domain/check-config.ts"),
    import("@jilian/domain/config-env.ts"),
    import("./ops-setting.ts"),
    import("./secrets.ts"),
  ]);
  const text = readText(file);
  const checked = readGatewayConfig(text, file, process.env);
  const dir = dirname(file);
  const { passwords, faults: missing } = secrets.readPasswords(checked.ok ? checked.value : checked.partial, dir);
  const faults = checked.ok ? [] : checked.faults;
  const found = [...missing, ...(checked.ok ? ops.tlsFaults(checked.value.broker, dir) : [])];
  const notes = found.map((fault) => `${fault.path}: ${fault.found}\n  remedy before run: ${fault.remedy}`);
  if (!checkOnly) faults.push(...faultsAt(text, file, found));
  if (!checked.ok || faults.length > 0) return refuse(formatFaults(faults));
  const { broker, outbox, opcua, ...rest } = checked.value;
  const { pkiDir } = opcua;
  const placed = {
    ...rest,
    broker: ops.placedTls(broker, dir),
    outbox: { ...outbox, path: resolve(dir, outbox.path) },
    opcua: pkiDir === undefined ? opcua : { ...opcua, pkiDir: resolve(dir, pkiDir) },
  };
  return {
    config: secrets.withPasswords(placed, passwords),
    notes: checkOnly ? notes : [],
    warnings: ops.settingWarnings(checked.value, dir),
    printed: printConfig(checked.value, checked.overrides ?? []),
  };
}

/** The clock; another than the system's only where no real plant could be stamped with it. */
async function readClock(config: GatewayConfig): Promise<Clock> {
  const { clockFromSetting } = await import("@jilian/domain/clock.ts");
  const setting = process.env.JILIAN_CLOCK;
  const real = config.devices.filter(({ simulated }) => !simulated).map(({ id }) => id);
  if (setting && real.length > 0) {
    const remedy = "unset JILIAN_CLOCK, or mark these devices simulated: true if they are";
    return refuse(`JILIAN_CLOCK is set, but these devices are not simulated: ${real.join(", ")}\n  remedy: ${remedy}`);
  }
  try {
    return clockFromSetting(setting, (path) => readFileSync(path, "utf8"));
  } catch (thrown) {
    return refuse(thrown instanceof Error ? thrown.message : String(thrown));
  }
}

/** The program's log; SIGUSR2 switches debug on everywhere and off again (SIGUSR1 is the debugger's). */
async function openLog(config: GatewayConfig): Promise<Logger> {
  const [{ pino }, { levelSwitch, logLevels }] = await Promise.all([
    import("pino"),
    import("@jilian/domain/log-levels.ts"),
  ]);
  const level = process.env.JILIAN_LOG_LEVEL || (config.logLevel ?? "info");
  if (!(logLevels as readonly string[]).includes(level)) {
    refuse(`JILIAN_LOG_LEVEL is "${level}"; expected one of ${logLevels.join(", ")}`);
  }
  const levels = levelSwitch(level);
  const log = pino({
    level,
    base: { group: config.group, node: config.node },
    onChild: (child) => levels.onChild(child),
  });
  levels.onChild(log);
  if (process.platform !== "win32") {
    process.on("SIGUSR2", () => {
      levels.force(levels.forced() === undefined ? "debug" : undefined);
      log.info({ logLevel: log.level }, "log level switched");
    });
  }
  return log;
}

/** Ends on SIGTERM, SIGINT and when the parent is gone: what is pending stays on disk. A second signal ends at once. */
function endOnSignals(
  { close, isMoving }: { close: () => Promise<unknown>; isMoving: () => boolean },
  log: Logger,
  fail: (err: unknown) => never,
): void {
  let endingSinceMs: number | undefined;
  const bound = (boundMs: number): void => {
    const failLate = () => fail(new Error(`not closed within ${boundMs} ms`));
    const late = () => (isMoving() && boundMs < movingBoundMs ? bound(movingBoundMs) : failLate());
    setTimeout(late, boundMs - (performance.now() - (endingSinceMs ?? 0))).unref();
  };
  const end = (why: string, isSignal: boolean): void => {
    const nowMs = performance.now();
    if (endingSinceMs !== undefined) {
      if (isSignal && nowMs - endingSinceMs > sameSignalMs) process.exit(1);
      return;
    }
    endingSinceMs = nowMs;
    log.info({ why }, "the gateway ends");
    bound(closeBoundMs);
    close().then(() => process.exit(0), fail);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => end(signal, true));
  if (process.connected) process.on("disconnect", () => end("its parent process is gone", false));
}

async function run(file: string): Promise<void> {
  const { config, warnings } = await readSetting(file, false);
  const clock = await readClock(config);
  const [log, { startGateway }, { startControl }, { outboxFault, startWatchdog, statusLine }, { codeOf, messageOf }] =
    await Promise.all([
      openLog(config),
      import("./run.ts"),
      import("./control.ts"),
      import("./watchdog.ts"),
      import("@jilian/domain/errors.ts"),
    ]);
  const fail = (err: unknown): never => {
    log.fatal({ code: codeOf(err), err }, "the gateway failed and ends; what is pending stays in its outbox");
    process.exit(1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  for (const warning of warnings) log.warn({ code: "CONFIG_UNSAFE" }, warning);

  // The outbox is this user's alone.
  process.umask(0o077);
  const gateway = startGateway(config, { log, clock });
  const fault = outboxFault(() => {
    const { isWritable, isInMemory } = gateway.stats().outbox;
    // A new start would cure nothing then, and cost what waits in memory.
    return isWritable || isInMemory;
  });
  const watchdog = startWatchdog({ env: process.env, status: () => statusLine(gateway.stats()), fault, log });
  const control = startControl({ outbox: gateway.outbox, path: config.outbox.path, log });
  const close = async (): Promise<void> => {
    const told = watchdog.stopping();
    await control.close();
    await gateway.close();
    // Not waited for longer: a service manager that does not listen must not hold up the end.
    await Promise.race([told, delay(stoppingBoundMs, undefined, { ref: false })]);
  };
  endOnSignals({ close, isMoving: gateway.isMoving }, log, fail);
  const { ops } = config;
  if (ops) {
    const { openOps } = await import("./ops-start.ts");
    // A port that is taken costs the view of the gateway, and must not cost readings.
    await openOps({ ...config, ops }, { gateway, clock, log }).catch((err: unknown) =>
      log.error({ code: codeOf(err), err }, `no health and metrics: ${messageOf(err)}`),
    );
  }
  log.info({ devices: config.devices.length, broker: config.broker.host }, "the gateway runs");
  process.send?.({ type: "ready" });
}

async function printVersion(): Promise<void> {
  const [{ software }, { outboxSchemaVersion }] = await Promise.all([
    import("./births.ts"),
    import("./outbox-schema.ts"),
  ]);
  process.stdout.write(`${software}\nNode.js ${process.version}\noutbox schema ${outboxSchemaVersion}\n`);
}

function readArguments() {
  try {
    const options = {
      config: { type: "string" },
      help: { type: "boolean", short: "h" },
      print: { type: "boolean" },
    } as const;
    return parseArgs({ args: process.argv.slice(2), options, allowPositionals: true });
  } catch (thrown) {
    return refuse(`${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${help}`);
  }
}

async function main(): Promise<void> {
  const [major] = process.versions.node.split(".");
  if (Number(major) < oldestNode)
    refuse(`jilian-gateway needs Node.js ${oldestNode} or newer; this is ${process.version}`);
  if (process.argv[2] === "browse") {
    const { browseCommand } = await import("./opcua-browse.ts");
    const code = await browseCommand(process.argv.slice(3), (line) => process.stdout.write(`${line}\n`));
    // The library's timers for repairs that nobody waits for would hold the process for seconds.
    process.stdout.write("", () => process.exit(code));
    return;
  }
  if (process.argv[2] === "aside") {
    const { asideCommand } = await import("./control-aside.ts");
    process.exitCode = await asideCommand(process.argv.slice(3), {
      configOf: async (file) => (await readSetting(file, true)).config,
      print: (line) => process.stdout.write(`${line}\n`),
      complain: (line) => process.stderr.write(`${line}\n`),
    });
    return;
  }
  const { values, positionals } = readArguments();
  if (values.help) {
    process.stdout.write(help);
    return;
  }
  const [command = "", ...rest] = positionals;
  if (!["run", "check", "version"].includes(command) || rest.length > 0) {
    refuse(`${command === "" ? "a command is missing" : `unknown: ${positionals.join(" ")}`}\n\n${help}`);
  }
  if (command === "version") return printVersion();
  if (values.config === undefined) refuse(`--config is missing\n\n${help}`);
  if (command === "run") return run(values.config);
  const { config, notes, warnings, printed } = await readSetting(values.config, true);
  await readClock(config);
  if (values.print) process.stdout.write(printed);
  else process.stdout.write(`${values.config}: no fault. ${config.devices.length} devices.\n`);
  // Not among what --print gives to other programs.
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  if (values.print) return;
  for (const note of notes) process.stdout.write(`note: ${note}\n`);
}

await main();
