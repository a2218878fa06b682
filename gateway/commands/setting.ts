import { readFile, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import type { Clock } from "@jilian/domain/clock.ts";
import type { GatewayConfig } from "../config.ts";

/** What becomes of a fault in the configuration: the end at a start, an error while the gateway runs. */
export type Refusal = (text: string) => never;

/** Ends with exit code 2: nothing was started. */
export function refuse(text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(2);
}

/** Not in this thread: while a file does not come, the process that waits for it hears that nobody waits for the process. */
async function readText(path: string, refusal: Refusal): Promise<string> {
  try {
    return await promisify(readFile)(path, "utf8");
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return refusal(
      `${path}: cannot be read (${why})\n  remedy: give the path of the file with --config, or make it readable`,
    );
  }
}

/** Whether a device may name a profile: reading them all takes longer than a small configuration, at each start and reload. */
function mayNameProfile(text: string): boolean {
  return [text, ...Object.keys(process.env)].some((one) => one.includes("profile"));
}

export type Setting = {
  config: GatewayConfig;
  /** What has to be done before a run. */
  notes: string[];
  /** What is not safe. */
  warnings: string[];
  /** The configuration as it takes effect, as YAML without secrets: seconds of work where there are thousands of tags. */
  printed: () => string;
};

/**
 * Reads and checks all that can be wrong before anything is opened, passwords in their files included; every fault at once.
 * @param checkOnly a password file that is not there yet is a note then: examples can be checked before their secrets are made
 */
export async function readSetting(file: string, checkOnly: boolean, refusal: Refusal = refuse): Promise<Setting> {
  const [
    { readGatewayConfig },
    { faultsAt, formatFaults },
    { printConfig },
    { placedHistory },
    { loadProfiles },
    ops,
    secrets,
  ] = await Promise.all([
    import("../config.ts"),
    import("@jilian/domain/check-config.ts"),
    import("@jilian/domain/config-env.ts"),
    import("../history-config.ts"),
    import("../profile-files.ts"),
    import("../ops-setting.ts"),
    import("../secrets.ts"),
  ]);
  const text = await readText(file, refusal);
  const profiles = mayNameProfile(text) ? loadProfiles() : undefined;
  const checked = readGatewayConfig(text, file, process.env, profiles);
  const dir = dirname(file);
  const { passwords, faults: missing } = secrets.readPasswords(checked.ok ? checked.value : checked.partial, dir);
  const faults = checked.ok ? [] : checked.faults;
  const found = [...missing, ...(checked.ok ? ops.tlsFaults(checked.value.broker, dir) : [])];
  const notes = found.map((fault) => `${fault.path}: ${fault.found}\n  remedy before run: ${fault.remedy}`);
  if (!checkOnly) faults.push(...faultsAt(text, file, found));
  if (!checked.ok || faults.length > 0) return refusal(formatFaults(faults));
  const { broker, outbox, opcua, ...rest } = checked.value;
  const { pkiDir } = opcua;
  const placed = {
    ...rest,
    broker: ops.placedTls(broker, dir),
    outbox: { ...outbox, path: resolve(dir, outbox.path) },
    history: placedHistory(rest.history, dir),
    opcua: pkiDir === undefined ? opcua : { ...opcua, pkiDir: resolve(dir, pkiDir) },
  };
  return {
    config: secrets.withPasswords(placed, passwords),
    notes: checkOnly ? notes : [],
    warnings: ops.settingWarnings(checked.value, dir),
    printed: () => printConfig(checked.value, checked.overrides ?? []),
  };
}

/** The clock; another than the system's only where no real plant could be stamped with it. */
export async function readClock(config: GatewayConfig, refusal: Refusal = refuse): Promise<Clock> {
  const { clockFromSetting } = await import("@jilian/domain/clock.ts");
  const setting = process.env.JILIAN_CLOCK;
  const real = config.devices.filter(({ simulated }) => !simulated).map(({ id }) => id);
  if (setting && real.length > 0) {
    const remedy = "unset JILIAN_CLOCK, or mark these devices simulated: true if they are";
    return refusal(`JILIAN_CLOCK is set, but these devices are not simulated: ${real.join(", ")}\n  remedy: ${remedy}`);
  }
  try {
    return clockFromSetting(setting, (path) => readFileSync(path, "utf8"));
  } catch (thrown) {
    return refusal(thrown instanceof Error ? thrown.message : String(thrown));
  }
}
