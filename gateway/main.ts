#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Clock } from "@jilian/domain/clock.ts";
import type { GatewayConfig } from "./config.ts";

const help = `jilian-gateway: reads PLCs, keeps every reading on disk, publishes Sparkplug B

  jilian-gateway run --config gateway.yaml     runs the gateway until SIGTERM or Ctrl-C
  jilian-gateway check --config gateway.yaml   checks the configuration, opens and connects nothing

Relative paths in the configuration start at its own folder.
Exit codes: 0 done, 1 failed while running, 2 wrong configuration or arguments (nothing was started).
Environment: JILIAN_LOG_LEVEL (trace, debug, info, warn, error; before logLevel of the configuration),
  JILIAN_CLOCK (rate,originMs,startedMs: a faster clock, only where every device is simulated).
`;
const oldestNode = 24;
const closeBoundMs = 2000;

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

/** The password in a file, or why there is none. */
function readPassword(path: string): { password: string } | { found: string } {
  try {
    const password = readFileSync(path, "utf8").split(/\r?\n/)[0]?.trim();
    return password ? { password } : { found: "an empty first line" };
  } catch (thrown) {
    return { found: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

type Setting = { config: GatewayConfig; notes: string[] };

/**
 * Reads and checks all that can be wrong before anything is opened, the broker's password in its file included; every fault at once.
 * @param checkOnly a password file that is not there yet is a note then: examples can be checked before their secrets are made
 */
async function readSetting(file: string, checkOnly: boolean): Promise<Setting> {
  const [{ readGatewayConfig }, { faultsAt, formatFaults, textAt }] = await Promise.all([
    import("./config.ts"),
    import("@jilian/domain/check-config.ts"),
  ]);
  const text = readText(file);
  const checked = readGatewayConfig(text, file);
  const at = "/broker/passwordFile";
  const named = textAt(checked.ok ? checked.value : checked.partial, at);
  const path = named === undefined ? undefined : resolve(dirname(file), named);
  const secret = path === undefined ? undefined : readPassword(path);
  const faults = checked.ok ? [] : checked.faults;
  const notes: string[] = [];
  if (secret !== undefined && "found" in secret) {
    const expected = "a readable file whose first line is the password";
    const remedy = `write the password to ${path}, readable by this user alone`;
    if (checkOnly) notes.push(`${at}: ${secret.found}\n  remedy before run: ${remedy}`);
    else faults.push(...faultsAt(text, file, [{ path: at, found: secret.found, expected, remedy }]));
  }
  if (!checked.ok || faults.length > 0) return refuse(formatFaults(faults));
  const { broker, outbox, ...rest } = checked.value;
  const password = secret !== undefined && "password" in secret ? { password: secret.password } : {};
  const placed = { ...outbox, path: resolve(dirname(file), outbox.path) };
  return { config: { ...rest, broker: { ...broker, ...password }, outbox: placed }, notes };
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
    return clockFromSetting(setting);
  } catch (thrown) {
    return refuse(thrown instanceof Error ? thrown.message : String(thrown));
  }
}

async function run(file: string): Promise<void> {
  const { config } = await readSetting(file, false);
  const clock = await readClock(config);
  const [{ pino }, { startGateway }] = await Promise.all([import("pino"), import("./run.ts")]);
  const level = process.env.JILIAN_LOG_LEVEL ?? config.logLevel ?? "info";
  if (level !== "silent" && !(level in pino.levels.values)) {
    refuse(`JILIAN_LOG_LEVEL is "${level}"; expected one of ${Object.keys(pino.levels.values).join(", ")}, silent`);
  }
  const log = pino({ level, base: { group: config.group, node: config.node } });
  const fail = (err: unknown): never => {
    log.fatal({ err }, "the gateway failed and ends; what is pending stays in its outbox");
    process.exit(1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);

  // The outbox is this user's alone.
  process.umask(0o077);
  const gateway = startGateway(config, { log, clock });
  let ending = false;
  const end = (why: string): void => {
    if (ending) return;
    ending = true;
    log.info({ why }, "the gateway ends");
    setTimeout(() => fail(new Error(`not closed within ${closeBoundMs} ms`)), closeBoundMs).unref();
    void gateway.close().then(() => process.exit(0));
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => end(signal));
  if (process.connected) process.on("disconnect", () => end("its parent process is gone"));
  log.info(
    { devices: config.devices.length, broker: `${config.broker.host}:${config.broker.port}` },
    "the gateway runs",
  );
  process.send?.({ type: "ready" });
}

function readArguments() {
  try {
    const options = { config: { type: "string" }, help: { type: "boolean", short: "h" } } as const;
    return parseArgs({ args: process.argv.slice(2), options, allowPositionals: true });
  } catch (thrown) {
    return refuse(`${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${help}`);
  }
}

async function main(): Promise<void> {
  const [major] = process.versions.node.split(".");
  if (Number(major) < oldestNode)
    refuse(`jilian-gateway needs Node.js ${oldestNode} or newer; this is ${process.version}`);
  const { values, positionals } = readArguments();
  if (values.help) {
    process.stdout.write(help);
    return;
  }
  const [command = "", ...rest] = positionals;
  if (!["run", "check"].includes(command) || rest.length > 0) {
    refuse(`${command === "" ? "a command is missing" : `unknown: ${positionals.join(" ")}`}\n\n${help}`);
  }
  if (values.config === undefined) refuse(`--config is missing\n\n${help}`);
  if (command === "run") return run(values.config);
  const { config, notes } = await readSetting(values.config, true);
  await readClock(config);
  process.stdout.write(`${values.config}: no fault. ${config.devices.length} devices.\n`);
  for (const note of notes) process.stdout.write(`note: ${note}\n`);
}

await main();
