#!/usr/bin/env node
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Checked, type Fault, faultsAt, formatFaults, textAt } from "@jilian/domain/check-config.ts";
import { printConfig } from "@jilian/domain/config-env.ts";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Ledger, Principal } from "@jilian/store/ledger.ts";
import { type Registry, readRegistry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { readPlatformConfig, type ServiceName, serviceNames } from "./config.ts";
import type { Setting } from "./ops-run.ts";
import { settingWarnings, tlsFaults } from "./ops-setting.ts";
import { storePaths } from "./stores.ts";
import { versions } from "./version.ts";

const help = `jilian: the platform of Jilian (集联)

  jilian run [broker] [ingest] [api] --config platform.yaml   runs the named services in one process (default: all)
  jilian check --config platform.yaml                         checks the configuration and the registry, starts nothing;
                                                              with --print shows it as it takes effect, without secrets
  jilian credential gateway FACTORY GATEWAY --config ...       makes a new password for a gateway and prints it once
  jilian credential host NAME --config ...                    the same for a host application (ingest on another machine)
  jilian credential api NAME --config ...                     makes a new key for the open data interface and prints it once
  jilian credential list --config ...                         names and kinds of the credentials that exist
  jilian credential revoke KIND NAME --config ...              withdraws one: revoke gateway FACTORY/GATEWAY, revoke api NAME
  jilian version                                              versions of the program, of Node.js and of its files

Exit codes: 0 done, 1 failed while running, 2 wrong configuration or arguments (nothing was started).
Signals: SIGTERM and SIGINT end it within 10 s, a second one at once; SIGUSR2 switches debug logging on and off.
Environment: JILIAN_LOG_LEVEL (trace, debug, info, warn, error; before logLevel of the configuration),
  JILIAN__path__of__value (in place of a value of the configuration: JILIAN__api__port=9090).
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

/** Faults of a file that the configuration names at a path: that it cannot be read. */
function unreadable(text: string, file: string, path: string, thrown: unknown, remedy: string): Fault[] {
  return faultsAt(text, file, [{ path, found: messageOf(thrown), expected: "the path of a readable file", remedy }]);
}

/** Reads and checks `platform.yaml` and the files it names before anything starts; all their faults are listed together. */
function readSetting(file: string, services: readonly ServiceName[]): Setting & { printed: string } {
  const baseDir = dirname(resolve(file));
  const text = readText(file);
  const config = readPlatformConfig(text, file, services, process.env);
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
  if (config.ok) faults.push(...faultsAt(text, file, tlsFaults(config.value, services, baseDir)));
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
  const warnings = settingWarnings(config.value, baseDir);
  const printed = printConfig(config.value, config.overrides ?? []);
  return { config: config.value, registry: registry.value, baseDir, warnings, printed };
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
  } else if (kind === "host" || kind === "api") {
    if (!/^[a-z0-9-]{1,40}$/.test(first)) {
      refuse(`"${first}" is no name of a credential\n  remedy: 1 to 40 of a-z, 0-9 and -`);
    }
    principal = { kind, name: first };
  } else refuse(help);
  withLedger({ config, baseDir }, (ledger) => ledger.setCredential(principal, secret));
  process.stdout.write(
    kind === "api" ? `${first}.${secret}\n` : `user name: ${principal.name}\npassword:  ${secret}\n`,
  );
}

function withLedger<T>({ config, baseDir }: Pick<Setting, "config" | "baseDir">, work: (ledger: Ledger) => T): T {
  const paths = storePaths(config, baseDir);
  mkdirSync(paths.dataDir, { recursive: true });
  const ledger = openLedger({ path: paths.ledger, log: pino({ level: "warn" }, pino.destination(2)) });
  try {
    return work(ledger);
  } finally {
    ledger.close();
  }
}

function listCredentials(setting: Setting): void {
  for (const { kind, name, createdMs } of withLedger(setting, (ledger) => ledger.credentials())) {
    const made = createdMs === null ? "made by an earlier release" : `made ${new Date(createdMs).toISOString()}`;
    process.stdout.write(`${kind.padEnd(8)} ${name.padEnd(40)} ${made}\n`);
  }
}

/** The interface looks at keys again all the time; the broker asks for a password only when a client connects. */
function revokeCredential([kind = "", name = ""]: string[], setting: Setting): void {
  if (kind !== "gateway" && kind !== "host" && kind !== "api") refuse(help);
  if (!withLedger(setting, (ledger) => ledger.revokeCredential(kind, name))) {
    refuse(
      `there is no ${kind} credential "${name}"\n  remedy: see the names with: jilian credential list --config ...`,
    );
  }
  const rest =
    kind === "api" ? "" : "; a connection that it has open lasts until it ends: start the broker again to end it now";
  process.stdout.write(`${kind} ${name}: withdrawn${rest}\n`);
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
      options: {
        config: { type: "string", short: "c" },
        help: { type: "boolean", short: "h" },
        print: { type: "boolean" },
      },
    });
  } catch (error) {
    return refuse(`${messageOf(error)}\n\n${help}`);
  }
})();
const [command, ...names] = parsed.positionals;
const file = parsed.values.config;
if (parsed.values.help) process.stdout.write(help);
else if (command === "version") process.stdout.write(await versions());
else if (file === undefined || !["run", "check", "credential"].includes(command ?? "")) refuse(help);
else if (command === "run") {
  const unknown = names.filter((name) => !isService(name));
  if (unknown.length > 0) refuse(`unknown service: ${unknown.join(", ")}\n\n${help}`);
  const services = names.length > 0 ? names.filter(isService) : serviceNames;
  const setting = readSetting(file, services);
  // The services are loaded where they run: a check, a refusal and a credential take none of them.
  const { runPlatform } = await import("./ops-run.ts");
  await runPlatform(services, setting).catch((error: unknown) => {
    if (!(error instanceof JilianError)) throw error;
    refuse(`${error.message}\n  remedy: ${error.remedy}`);
  });
} else if (command === "check") {
  const { registry, warnings, printed } = readSetting(file, serviceNames);
  const { factories, gateways, devices } = registry;
  const found = `${factories.size} factories, ${gateways.size} gateways, ${devices.size} devices`;
  process.stdout.write(parsed.values.print ? printed : `${file}: no fault. ${found}.\n`);
  // Not among what --print gives to other programs.
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
} else if (names[0] === "list") listCredentials(readSetting(file, serviceNames));
else if (names[0] === "revoke") revokeCredential(names.slice(1), readSetting(file, serviceNames));
else makeCredential(names[0], names.slice(1), readSetting(file, serviceNames));
