#!/usr/bin/env node
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { argumentsOf, type Command, type CommandIo, usage } from "./commands/io.ts";
import { type Refusal, readClock, refuse } from "./commands/setting.ts";
import type { GatewayConfig } from "./config.ts";

const help = `jilian-gateway: reads PLCs, keeps every reading on disk, publishes Sparkplug B

  jilian-gateway run --config gateway.yaml     runs the gateway until SIGTERM or Ctrl-C
  jilian-gateway check gateway.yaml            checks the configuration, opens and connects nothing;
                                               with --print shows it as it takes effect, without secrets
  jilian-gateway read gateway.yaml [DEVICE]    reads devices without sending anything, and shows what comes
  jilian-gateway enrol URL TOKEN               gets this gateway's certificate from the platform for a one-time token
  jilian-gateway status --config gateway.yaml  how the running gateway is: broker, devices, outbox
  jilian-gateway ask DEVICE GROUP              has the running gateway read a group of tags now
  jilian-gateway probe modbus HOST[:PORT]|/dev/ttyUSB0
                                               finds out what answers there, and how its values are to be read
  jilian-gateway browse --endpoint opc.tcp://host:4840
                                               prints the variables of an OPC UA server as tags
  jilian-gateway profile list|show NAME        meters whose registers are known
  jilian-gateway import tags.csv|tags.xlsx     makes tags of a list from a spreadsheet
  jilian-gateway schema                        JSON Schema of the configuration, for editors
  jilian-gateway export --config gateway.yaml --from 2026-11-01 --to 2026-12-01
                                               the quarter hours that the box has kept, as CSV
  jilian-gateway aside list|replay|drop        what was set aside
  jilian-gateway version                       versions of the program, of Node.js and of the outbox file

Each command has more to say: jilian-gateway read --help. None writes to a machine.
Relative paths in the configuration start at its own folder.
Exit codes: 0 done, 1 failed while running, 2 wrong configuration or arguments (nothing was started).
Signals: SIGHUP reads the configuration again, as a change of its file does; SIGTERM and SIGINT end it within 2 s (8 s while it moves readings from memory to disk), a second one at once; SIGUSR2 switches debug logging on and off.
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

/** The program's log; SIGUSR2 switches debug on everywhere and off again (SIGUSR1 is the debugger's). */
async function openLog(config: GatewayConfig): Promise<Logger> {
  const [{ pino }, { levelSwitch, logLevels }, { logOutput }] = await Promise.all([
    import("pino"),
    import("@jilian/domain/log-levels.ts"),
    import("./log-output.ts"),
  ]);
  const level = process.env.JILIAN_LOG_LEVEL || (config.logLevel ?? "info");
  if (!(logLevels as readonly string[]).includes(level)) {
    refuse(`JILIAN_LOG_LEVEL is "${level}"; expected one of ${logLevels.join(", ")}`);
  }
  const levels = levelSwitch(level);
  const log = pino(
    { level, base: { group: config.group, node: config.node }, onChild: (child) => levels.onChild(child) },
    logOutput(process.stdout.fd),
  );
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
  const [{ readSettingAside }, { endWhileReading, failStart }] = await Promise.all([
    import("./setting-aside.ts"),
    import("./commands/setting-read.ts"),
  ]);
  const ending = new AbortController();
  const begun = endWhileReading(ending);
  const [
    { config, warnings },
    { startGateway },
    { reloadOnChange },
    { startControl },
    { statusTeller },
    { deviceViews },
    { startRenewal },
    { watchOpcuaLife },
    { outboxFault, startWatchdog, statusLine },
    { codeOf, messageOf },
  ] = await Promise.all([
    readSettingAside(file, refuse, ending.signal).catch(failStart),
    import("./run.ts"),
    import("./reload-watch.ts"),
    import("./control.ts"),
    import("./status.ts"),
    import("./last-values.ts"),
    import("./renewal.ts"),
    import("./opcua-life.ts"),
    import("./watchdog.ts"),
    import("@jilian/domain/errors.ts"),
  ]);
  const clock = await readClock(config);
  const log = await openLog(config);
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
  const again: Refusal = (text) => {
    throw new Error(text);
  };
  const reloads = reloadOnChange({
    ...{ file, gateway, log },
    read: async () => {
      const next = await readSettingAside(file, again, ending.signal);
      await readClock(next.config, again);
      return next.config;
    },
  });
  const watchdog = startWatchdog({ env: process.env, status: () => statusLine(gateway.stats()), fault, log });
  const onRenewed = () => gateway.reconnect("renewed certificate");
  const renewal = startRenewal({ config: gateway.config, onRenewed, log });
  const life = watchOpcuaLife({ config: gateway.config, log });
  const status = statusTeller({ gateway, renewal, clock });
  const values = () => deviceViews(gateway.values(), clock.now());
  const control = startControl({
    outbox: gateway.outbox,
    status,
    ask: gateway.ask,
    values,
    path: config.outbox.path,
    log,
  });
  const close = async (): Promise<void> => {
    reloads[Symbol.dispose]();
    life[Symbol.dispose]();
    ending.abort();
    const told = watchdog.stopping();
    await renewal[Symbol.asyncDispose]();
    await control.close();
    await gateway.close();
    // Not waited for longer: a service manager that does not listen must not hold up the end.
    await Promise.race([told, delay(stoppingBoundMs, undefined, { ref: false })]);
  };
  begun();
  endOnSignals({ close, isMoving: gateway.isMoving }, log, fail);
  const { ops } = config;
  if (ops) {
    const { openOps } = await import("./ops-start.ts");
    // A port that is taken costs the view of the gateway, and must not cost readings.
    await openOps({ ...config, ops }, { gateway, renewal, clock, log }).catch((err: unknown) =>
      log.error({ code: codeOf(err), err }, `no health and metrics: ${messageOf(err)}`),
    );
  }
  log.info({ devices: config.devices.length, broker: config.broker.host }, "the gateway runs");
  process.send?.({ type: "ready" });
}

async function printVersion(): Promise<number> {
  const [{ software }, { outboxSchemaVersion }] = await Promise.all([
    import("./births.ts"),
    import("./outbox-schema.ts"),
  ]);
  process.stdout.write(`${software}\nNode.js ${process.version}\noutbox schema ${outboxSchemaVersion}\n`);
  return 0;
}

async function runCommand(args: readonly string[], io: CommandIo): Promise<number | undefined> {
  const parsed = argumentsOf(args, { config: { type: "string" } }, help, io);
  if (typeof parsed === "number") return parsed;
  const { values, positionals } = parsed;
  const [file, ...rest] = values.config === undefined ? positionals : [values.config, ...positionals];
  if (rest.length > 0) return usage(`unknown: ${rest.join(" ")}`, help, io);
  if (file === undefined) return usage("--config is missing", help, io);
  await run(file);
  return undefined;
}

/** The subcommands; each is loaded when it is used. One that returns no exit code goes on. */
const commands: Readonly<Record<string, (...given: Parameters<Command>) => Promise<number | undefined>>> = {
  run: runCommand,
  check: async (...given) => (await import("./commands/check.ts")).checkCommand(...given),
  read: async (...given) => (await import("./commands/read.ts")).readCommand(...given),
  enrol: async (...given) => (await import("./commands/enrol.ts")).enrolCommand(...given),
  status: async (...given) => (await import("./commands/status.ts")).statusCommand(...given),
  import: async (...given) => (await import("./commands/import.ts")).importCommand(...given),
  schema: async (...given) => (await import("./commands/schema.ts")).schemaCommand(...given),
  probe: async (...given) => (await import("./commands/probe.ts")).probeCommand(...given),
  browse: async (args, { print }) => (await import("./opcua-browse.ts")).browseCommand([...args], print),
  export: async (args, io) => {
    const { exportCommand, standardOutput } = await import("./history-export.ts");
    return exportCommand(args, { ...io, write: standardOutput() });
  },
  profile: async (...given) => (await import("./profile-command.ts")).profileCommand(...given),
  ask: async (...given) => (await import("./commands/ask.ts")).askCommand(...given),
  aside: async (...given) => (await import("./control-aside.ts")).asideCommand(...given),
  version: printVersion,
};

/** Commands that show what they have when they are told to end. A gateway that runs has its own way; the others end at once. */
const endInOrder = ["read", "probe"];

/** The terminal as a command sees it. A second Ctrl-C ends every command at once. */
function commandIo(name: string): CommandIo {
  const stopping = new AbortController();
  const { stdout, stderr } = process;
  if (endInOrder.includes(name)) {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopping.abort());
  }
  // Whoever reads the output of a command may have seen enough: `| head`.
  if (name !== "run") stdout.on("error", () => process.exit(1));
  const complain = (line: string) => void stderr.write(`${line}\n`);
  const io: CommandIo = {
    print: (line) => void stdout.write(`${line}\n`),
    complain,
    signal: stopping.signal,
    configOf: async (file) => {
      const { readForCommand } = await import("./commands/setting-read.ts");
      const { config, notes } = await readForCommand(file);
      for (const note of notes) if (note.startsWith("/devices/")) complain(`note: ${note}`);
      return config;
    },
  };
  if (!stdout.isTTY) return io;
  const show = (text: string) => void stdout.write(`\x1b[H\x1b[J${text}\n`);
  return { ...io, screen: { show, rows: () => stdout.rows } };
}

async function main(): Promise<void> {
  const [major] = process.versions.node.split(".");
  if (Number(major) < oldestNode)
    refuse(`jilian-gateway needs Node.js ${oldestNode} or newer; this is ${process.version}`);
  const [name = "", ...args] = process.argv.slice(2);
  if (["--help", "-h", "help"].includes(name)) {
    process.stdout.write(help);
    return;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    return refuse(`${name === "" || name.startsWith("-") ? "a command is missing" : `unknown: ${name}`}\n\n${help}`);
  }
  const code = await command(args, commandIo(name));
  // What libraries keep for later (timers for repairs that nobody waits for) would hold the process for seconds.
  if (code !== undefined) process.stdout.write("", () => process.exit(code));
}

await main();
