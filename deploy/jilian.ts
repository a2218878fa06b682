#!/usr/bin/env node
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Checked, type Fault, faultsAt, formatFaults, textAt } from "@jilian/domain/check-config.ts";
import { type Clock, clockFromSetting, systemClock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Principal } from "@jilian/store/ledger.ts";
import { type Registry, readRegistry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { type Logger, pino } from "pino";
import { type PlatformConfig, readPlatformConfig, type ServiceName, serviceNames } from "./config.ts";
import { startPlatform, storePaths } from "./platform.ts";

const help = `jilian: the platform of Jilian (集联)

  jilian run [broker] [ingest] [api] --config platform.yaml   runs the named services in one process (default: all)
  jilian check --config platform.yaml                         checks the configuration and the registry, starts nothing
  jilian credential gateway FACTORY GATEWAY --config ...       makes a new password for a gateway and prints it once
  jilian credential host NAME --config ...                    the same for a host application (ingest on another machine)
  jilian credential api NAME --config ...                     makes a new key for the open data interface and prints it once

Exit codes: 0 done, 1 failed while running, 2 wrong configuration or arguments (nothing was started).
Environment: JILIAN_LOG_LEVEL (trace, debug, info, warn, error).
`;

/** Ends with exit code 2: nothing was started. */
function refuse(text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(2);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    return refuse(
      `${path}: cannot be read (${messageOf(error)})\n  remedy: give the path of the file with --config, or make it readable`,
    );
  }
}

type Setting = { config: PlatformConfig; registry: Registry; baseDir: string };

/** Faults of a file that the configuration names at a path: that it cannot be read. */
function unreadable(text: string, file: string, path: string, thrown: unknown, remedy: string): Fault[] {
  return faultsAt(text, file, [{ path, found: messageOf(thrown), expected: "the path of a readable file", remedy }]);
}

/** Reads and checks `platform.yaml` and the files it names before anything starts; all their faults are listed together. */
function readSetting(file: string, services: readonly ServiceName[]): Setting {
  const baseDir = dirname(resolve(file));
  const text = readText(file);
  const config = readPlatformConfig(text, file, services);
  const faults = config.ok ? [] : config.faults;
  const named = config.ok ? config.value : config.partial;
  const secretFile = textAt(named, "/remoteBroker/passwordFile");
  if (secretFile !== undefined && services.includes("ingest") && !services.includes("broker")) {
    try {
      readFileSync(resolve(baseDir, secretFile), "utf8");
    } catch (error) {
      const remedy = "write the password of the host application there: jilian credential host NAME";
      faults.push(...unreadable(text, file, "/remoteBroker/passwordFile", error, remedy));
    }
  }
  const registryPath = textAt(named, "/registry");
  let registry: Checked<Registry> | undefined;
  if (registryPath !== undefined) {
    const registryFile = resolve(baseDir, registryPath);
    try {
      registry = readRegistry(readFileSync(registryFile, "utf8"), registryFile);
      if (!registry.ok) faults.push(...registry.faults);
    } catch (error) {
      faults.push(...unreadable(text, file, "/registry", error, "correct the path, or write cluster.yaml there"));
    }
  }
  if (!config.ok || !registry?.ok || faults.length > 0) return refuse(formatFaults(faults));
  return { config: config.value, registry: registry.value, baseDir };
}

/** Credentials are kept as salted hashes: the secret is printed once and nowhere else. */
function makeCredential(kind: string | undefined, names: string[], { config, registry, baseDir }: Setting): void {
  const secret = randomBytes(24).toString("base64url");
  const [first = "", second = ""] = names;
  let principal: Principal;
  if (kind === "gateway") {
    if (!registry.gateways.has(`${first}/${second}`)) {
      refuse(
        `gateway ${first}/${second} is not in the registry\n  known: ${[...registry.gateways].join(", ")}\n  remedy: add it to cluster.yaml first`,
      );
    }
    principal = { kind, name: `${first}/${second}`, group: first, node: second };
  } else if ((kind === "host" || kind === "api") && /^[a-z0-9-]{1,40}$/.test(first)) principal = { kind, name: first };
  else refuse(help);
  const paths = storePaths(config, baseDir);
  mkdirSync(paths.dataDir, { recursive: true });
  const ledger = openLedger({ path: paths.ledger, log: pino({ level: "warn" }, pino.destination(2)) });
  ledger.setCredential(principal, secret);
  ledger.close();
  process.stdout.write(
    kind === "api" ? `${first}.${secret}\n` : `user name: ${principal.name}\npassword:  ${secret}\n`,
  );
}

/** A clock that runs faster is for simulated plants: a real pilot's figures are made on real time only. */
function readClock(setting: string | undefined, registry: Registry): Clock {
  try {
    const clock = clockFromSetting(setting);
    if (clock === systemClock || registry.demo) return clock;
  } catch (error) {
    refuse(`${messageOf(error)}\n  remedy: unset JILIAN_CLOCK`);
  }
  return refuse(
    "JILIAN_CLOCK is set, but the pilot is not marked demo: a pilot's figures are made on real time only\n  remedy: unset JILIAN_CLOCK",
  );
}

/** Closes on SIGINT, SIGTERM and when the parent is gone; a second signal ends at once. */
function closeOnSignals(close: () => Promise<void>, log: Logger): void {
  let closing = false;
  const end = (why: string) => {
    if (closing) process.exit(1);
    closing = true;
    log.info({ why }, "ending");
    const guard = setTimeout(() => process.exit(1), 5000);
    guard.unref();
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ code: codeOf(error), err: messageOf(error) }, "could not end cleanly");
        process.exit(1);
      },
    );
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => end(signal));
  process.on("disconnect", () => end("the parent process is gone"));
}

async function run(services: readonly ServiceName[], setting: Setting): Promise<void> {
  const { config, registry, baseDir } = setting;
  const level = process.env.JILIAN_LOG_LEVEL ?? config.logLevel ?? "info";
  if (!(level in pino.levels.values)) {
    refuse(`JILIAN_LOG_LEVEL is "${level}"; expected one of ${Object.keys(pino.levels.values).join(", ")}`);
  }
  const log = pino({ name: "jilian", level });
  const clockSetting = process.env.JILIAN_CLOCK;
  const clock = readClock(clockSetting, registry);
  try {
    const platform = await startPlatform(services, config, { registry, clock, clockSetting, log, baseDir });
    closeOnSignals(platform.close, log);
    const { brokerPort, apiUrl } = platform;
    log.info({ services, brokerPort, apiUrl, demo: registry.demo, registry: registry.version }, "started");
    process.send?.({ type: "ready", brokerPort, apiUrl });
    const cause = await platform.failed;
    log.fatal({ code: codeOf(cause), err: messageOf(cause) }, "a part that the others need has ended");
    process.exit(1);
  } catch (error) {
    if (error instanceof JilianError && error.code === "API_NEEDS_INGEST") {
      refuse(`${error.message}\n  remedy: ${error.remedy}`);
    }
    const detail =
      error instanceof JilianError ? { action: error.action, remedy: error.remedy, address: error.address } : {};
    log.fatal({ code: codeOf(error), ...detail, err: messageOf(error) }, "could not start");
    process.exit(1);
  }
}

function isService(name: string): name is ServiceName {
  return (serviceNames as readonly string[]).includes(name);
}

if (Number(process.versions.node.split(".")[0]) < 24)
  refuse(
    `Node.js 24 is needed, this is ${process.version}\n  remedy: start with npm, which brings its own: npm run jilian -- ...`,
  );
// Stores, secrets and logs are this user's alone.
process.umask(0o077);
const parsed = (() => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { config: { type: "string", short: "c" }, help: { type: "boolean", short: "h" } },
    });
  } catch (error) {
    return refuse(`${messageOf(error)}\n\n${help}`);
  }
})();
const [command, ...names] = parsed.positionals;
const file = parsed.values.config;
if (parsed.values.help) process.stdout.write(help);
else if (file === undefined || !["run", "check", "credential"].includes(command ?? "")) refuse(help);
else if (command === "run") {
  const unknown = names.filter((name) => !isService(name));
  if (unknown.length > 0) refuse(`unknown service: ${unknown.join(", ")}\n\n${help}`);
  const services = names.length > 0 ? names.filter(isService) : serviceNames;
  await run(services, readSetting(file, services));
} else if (command === "check") {
  const { registry } = readSetting(file, serviceNames);
  process.stdout.write(
    `${file}: no fault. ${registry.factories.size} factories, ${registry.gateways.size} gateways, ${registry.devices.size} devices.\n`,
  );
} else makeCredential(names[0], names.slice(1), readSetting(file, serviceNames));
