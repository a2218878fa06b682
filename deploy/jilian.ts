#!/usr/bin/env node
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Checked, type Fault, faultsAt, formatFaults, textAt } from "@jilian/domain/check-config.ts";
import { clockFromSetting } from "@jilian/domain/clock.ts";
import { printConfig } from "@jilian/domain/config-env.ts";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { isId } from "@jilian/domain/identity.ts";
import type { Ledger, Principal } from "@jilian/store/ledger.ts";
import { type Registry, readRegistry } from "@jilian/store/registry.ts";
import { registryVersions } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { accessHelp, mosquittoAccess } from "./access-command.ts";
import { readPlatformConfig, type ServiceName, serviceNames } from "./config.ts";
import { enrolCommand, enrolHelp, explain } from "./enrol-command.ts";
import type { Setting } from "./ops-run.ts";
import { settingWarnings, tlsFaults } from "./ops-setting.ts";
import { recomputeCommand, recomputeHelp } from "./recompute-command.ts";
import { callerName, confirmAtTerminal, registryCommand, registryHelp } from "./registry-command.ts";
import { openStore, storePaths } from "./stores.ts";
import { versions } from "./version.ts";

const help = `jilian: the platform of Jilian (集联)

  jilian run [broker] [ingest] [api] --config platform.yaml   runs the named services in one process (default: all)
  jilian check --config platform.yaml                         checks the configuration and the registry, starts nothing;
                                                              with --print shows it as it takes effect, without secrets
  jilian credential gateway FACTORY GATEWAY --config ...       makes a new password for a gateway and prints it once
  jilian credential host NAME --config ...                    the same for a host application (ingest on another machine)
  jilian credential viewer ENTERPRISE NAME --config ...       makes a password that reads over MQTT what gateways of ENTERPRISE tell
  jilian credential api NAME --config ...                     makes a new key for the open data interface and prints it once
  jilian credential operator NAME --config ...                the same for the operator interface, which applies registries;
                                                              the key also reads $SYS of the broker, as user operator:NAME
  jilian credential list --config ...                         names and kinds of the credentials that exist
  jilian credential revoke KIND NAME --config ...              withdraws one: revoke gateway FACTORY/GATEWAY, revoke api NAME
  jilian enrol FACTORY/GATEWAY --config ...                    makes a one-time token, with which a gateway gets its certificate
  jilian certificates [FACTORY/GATEWAY] --config ...           certificates of gateways, and until when (jilian enrol --help)
  jilian revoke FACTORY/GATEWAY|SERIAL --config ...            withdraws a gateway's access, or one certificate, at once
  jilian access mosquitto --config ...                         the access file of a mosquitto in place of the broker
  jilian registry apply FILE --config ...                      shows what FILE changes, asks, and applies it (--from, --dry-run,
                                                              --yes, --note: jilian registry --help)
  jilian registry list|show|diff|check ...                     versions, one of them, differences, faults of a file
  jilian recompute --from TIME [--to TIME] --config ...        computes figures again from stored samples, prints what differs
  jilian version                                              versions of the program, of Node.js and of its files

Exit codes: 0 done, 1 failed while running, 2 wrong configuration or arguments (nothing was started).
Signals: SIGTERM and SIGINT end it within 10 s, a second one at once; SIGHUP takes up the broker's limits from the configuration;
  SIGUSR2 switches debug logging on and off.
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

/**
 * Reads and checks `platform.yaml` and the files it names before anything starts; all their faults are listed together.
 * @param isServing false for a command that only changes the ledger: it may be the one that makes the files of TLS
 */
function readSetting(file: string, services: readonly ServiceName[], isServing = true): Setting & { printed: string } {
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
  if (config.ok && isServing) faults.push(...faultsAt(text, file, tlsFaults(config.value, services, baseDir)));
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

/** Changes a credential and notes who did, in one step; what changes nothing is not noted. */
function audited<T>(ledger: Ledger, action: string, of: Pick<Principal, "kind" | "name">, work: () => T): T {
  return ledger.transaction(() => {
    const done = work();
    const entry = { atMs: Date.now(), actor: callerName(), origin: "command", action };
    if (done !== false) ledger.addAudit({ ...entry, subject: `${of.kind} ${of.name}`, detail: "{}" });
    return done;
  });
}

/** Credentials are kept as salted hashes: the secret is printed once and nowhere else. */
function makeCredential(kind: string | undefined, names: string[], setting: Setting): void {
  const { config, registry, baseDir } = setting;
  const secret = randomBytes(24).toString("base64url");
  const [first = "", second = ""] = names;
  let principal: Principal;
  if (kind === "gateway") {
    const { applied, known } = withLedger({ config, baseDir }, (ledger) => registeredGateways(registry, ledger));
    if (!known.has(`${first}/${second}`)) {
      refuse(
        `gateway ${first}/${second} is not in the registry\n  known: ${[...known].join(", ")}\n  remedy: add it to cluster.yaml first`,
      );
    }
    if (applied && !applied.has(`${first}/${second}`))
      process.stderr.write("note: its devices do not count before: jilian registry apply cluster.yaml\n");
    principal = { kind, name: `${first}/${second}`, group: first, node: second };
  } else if (kind === "viewer") {
    const enterprises = [withLedger(setting, newestRegistry), registry].flatMap((one) => one?.file.enterprises ?? []);
    const known = new Set(enterprises.map(({ id }) => id));
    if (!known.has(first))
      refuse(
        `enterprise ${first} is not in the registry\n  known: ${[...known].join(", ")}\n  remedy: jilian credential viewer ENTERPRISE NAME --config ...`,
      );
    if (!isId(second)) refuse(`"${second}" is no name of a viewer\n  remedy: a lower-case id`);
    principal = { kind, name: `${second}@${first}`, enterprise: first };
  } else if (kind === "host" || kind === "api" || kind === "operator") {
    if (!/^[a-z0-9-]{1,40}$/.test(first)) {
      refuse(`"${first}" is no name of a credential\n  remedy: 1 to 40 of a-z, 0-9 and -`);
    }
    principal = { kind, name: first };
  } else refuse(help);
  withLedger({ config, baseDir }, (ledger) =>
    audited(ledger, "credential.set", principal, () => ledger.setCredential(principal, secret)),
  );
  process.stdout.write(
    kind === "api" || kind === "operator"
      ? `${first}.${secret}\n`
      : `user name: ${principal.name}\npassword:  ${secret}\n`,
  );
}

/** The registry that was applied last; undefined while the ledger has none. */
function newestRegistry(ledger: Ledger): Registry | undefined {
  const stored = ledger.registryVersions();
  return stored.length === 0 ? undefined : registryVersions(stored).newest();
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

function listCredentials(setting: Pick<Setting, "config" | "baseDir">): void {
  for (const { kind, name, createdMs } of withLedger(setting, (ledger) => ledger.credentials())) {
    const made = createdMs === null ? "made by an earlier release" : `made ${new Date(createdMs).toISOString()}`;
    process.stdout.write(`${kind.padEnd(8)} ${name.padEnd(40)} ${made}\n`);
  }
}

/** The interface looks at keys with each request, and the broker each second at whose access has changed. */
function revokeCredential([kind = "", name = ""]: string[], setting: Pick<Setting, "config" | "baseDir">): void {
  if (!["gateway", "host", "viewer", "api", "operator"].includes(kind)) refuse(help);
  const of = { kind: kind as Principal["kind"], name };
  const revoked = withLedger(setting, (ledger) =>
    audited(ledger, "credential.revoke", of, () => ledger.revokeCredential(of.kind, name)),
  );
  if (!revoked) {
    refuse(
      `there is no ${kind} credential "${name}"\n  remedy: see the names with: jilian credential list --config ...`,
    );
  }
  const rest = kind === "api" ? "" : "; a connection that it has open to the broker ends within seconds";
  process.stdout.write(`${kind} ${name}: withdrawn${rest}\n`);
}

/** Reads `platform.yaml` alone: a registry file with faults must not stand before the command that replaces it. */
function readPlatformFile(file: string): Pick<Setting, "config" | "baseDir"> {
  const config = readPlatformConfig(readText(file), file, serviceNames, process.env);
  if (!config.ok) return refuse(formatFaults(config.faults));
  return { config: config.value, baseDir: dirname(resolve(file)) };
}

/** @param file platform.yaml; not needed to check a file */
async function runRegistryCommand(words: string[], file: string | undefined): Promise<void> {
  const { from, note, yes = false, "dry-run": dryRun = false } = parsed.values;
  const setting = file === undefined ? undefined : readPlatformFile(file);
  const options = { yes, dryRun, ...(from === undefined ? {} : { from }), ...(note === undefined ? {} : { note }) };
  const ledgerOf = <T>(work: (ledger: Ledger) => T) => (setting ? withLedger(setting, work) : refuse(registryHelp));
  try {
    const say = (text: string) => process.stdout.write(text);
    const confirm = process.stdin.isTTY ? confirmAtTerminal : undefined;
    await registryCommand(words, { options, withLedger: ledgerOf, say, confirm, refuse });
  } catch (error) {
    if (!(error instanceof JilianError)) throw error;
    process.stderr.write(`${error.code}: ${error.message}\n  remedy: ${error.remedy}\n`);
    process.exitCode = 1;
  }
}

/** Computes figures again: by the running service, or here. */
async function runRecompute({ config, baseDir }: Setting): Promise<void> {
  const { from, to, stopped } = parsed.values;
  const log = pino({ level: "warn" }, pino.destination(2));
  const ledger = openLedger({ path: storePaths(config, baseDir).ledger, log });
  try {
    await recomputeCommand(
      { from, to, stopped },
      {
        ...{ ledger, clock: clockFromSetting(process.env.JILIAN_CLOCK), hasLock: config.influx === undefined },
        openStore: () => openStore(config, baseDir, log),
        say: (text) => process.stdout.write(text),
      },
    );
  } catch (error) {
    if (!(error instanceof JilianError)) throw error;
    process.stderr.write(`${error.code}: ${error.message}\n  remedy: ${error.remedy}\n`);
    process.exitCode = error.code === "RECOMPUTE_RANGE" ? 2 : 1;
  } finally {
    ledger.close();
  }
}

/** Gateways of the registry file and of what was applied last. */
function registeredGateways(registry: Registry | undefined, ledger: Ledger) {
  const applied = newestRegistry(ledger)?.gateways;
  return { known: new Set([...(applied ?? []), ...(registry?.gateways ?? [])]), applied };
}

async function runEnrol(command: string, words: readonly string[], path: string): Promise<void> {
  // To withdraw access must be possible whatever is wrong with other files.
  const setting = command === "revoke" ? readPlatformFile(path) : readSetting(path, serviceNames, false);
  const { config, baseDir } = setting;
  const { hours, days } = parsed.values;
  try {
    await enrolCommand(command, words, {
      ...{ options: { hours, days }, config, baseDir, dataDir: storePaths(config, baseDir).dataDir },
      gateways: (ledger) =>
        registeredGateways("registry" in setting ? (setting.registry as Registry) : undefined, ledger),
      withLedger: (work) => withLedger(setting, work),
      ...{ caller: callerName(), say: (text) => process.stdout.write(text), refuse },
    });
  } catch (error) {
    if (!explain(error, (text) => process.stderr.write(text))) throw error;
    process.exitCode = 1;
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
      options: {
        config: { type: "string", short: "c" },
        help: { type: "boolean", short: "h" },
        print: { type: "boolean" },
        from: { type: "string" },
        to: { type: "string" },
        hours: { type: "string" },
        days: { type: "string" },
        stopped: { type: "boolean" },
        note: { type: "string" },
        yes: { type: "boolean" },
        "dry-run": { type: "boolean" },
      },
    });
  } catch (error) {
    return refuse(`${messageOf(error)}\n\n${help}`);
  }
})();
const [command, ...names] = parsed.positionals;
const file = parsed.values.config;
const enrolCommands = ["enrol", "certificates", "revoke"];
const helps: Readonly<Record<string, string>> = {
  ...{ registry: registryHelp, recompute: recomputeHelp, access: accessHelp },
  ...Object.fromEntries(enrolCommands.map((name) => [name, enrolHelp])),
};
if (parsed.values.help) process.stdout.write(helps[command ?? ""] ?? help);
else if (command === "version") process.stdout.write(await versions());
else if (command === "registry" && (file !== undefined || names[0] === "check")) await runRegistryCommand(names, file);
else if (command === "recompute" && file !== undefined) await runRecompute(readSetting(file, serviceNames));
else if (file !== undefined && enrolCommands.includes(command ?? "")) await runEnrol(command ?? "", names, file);
else if (file !== undefined && command === "access" && names[0] === "mosquitto") {
  const setting = readSetting(file, serviceNames);
  const gateways = withLedger(setting, (ledger) => registeredGateways(setting.registry, ledger).known);
  process.stdout.write(mosquittoAccess(gateways, setting.config.ingest.hostId));
} else if (file === undefined || !["run", "check", "credential"].includes(command ?? "")) refuse(help);
else if (command === "run") {
  const unknown = names.filter((name) => !isService(name));
  if (unknown.length > 0) refuse(`unknown service: ${unknown.join(", ")}\n\n${help}`);
  const services = names.length > 0 ? names.filter(isService) : serviceNames;
  const setting = readSetting(file, services);
  // The services are loaded where they run: a check, a refusal and a credential take none of them.
  const { runPlatform } = await import("./ops-run.ts");
  const reread = () => readPlatformConfig(readFileSync(file, "utf8"), file, services, process.env);
  await runPlatform(services, setting, reread).catch((error: unknown) => {
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
} else if (names[0] === "list") listCredentials(readPlatformFile(file));
else if (names[0] === "revoke") revokeCredential(names.slice(1), readPlatformFile(file));
else makeCredential(names[0], names.slice(1), readSetting(file, serviceNames, false));
