import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import type { GatewayConfig } from "./config.ts";

/** The passwords of a gateway that stand in files: of the broker, and of users on OPC UA servers. */
type Section = Record<string, unknown> | undefined;

/** Sections of a configuration, checked or as it stands, that may name a password file; by their JSON pointers. */
function sectionsOf(value: unknown): (readonly [pointer: string, section: Section])[] {
  const { broker, devices } = (value ?? {}) as { broker?: Section; devices?: unknown };
  const users = Array.isArray(devices) ? devices.map((device) => (device as Section)?.user as Section) : [];
  return [["/broker", broker], ...users.map((user, i) => [`/devices/${i}/user`, user] as const)];
}

/** The first line of a file, or why there is none. */
function readPassword(path: string): { password: string } | { found: string } {
  try {
    const password = readFileSync(path, "utf8").split(/\r?\n/)[0]?.trim();
    return password ? { password } : { found: "an empty first line" };
  } catch (thrown) {
    return { found: messageOf(thrown) };
  }
}

export type Passwords = {
  /** By the pointer of the section that names the file. */
  readonly passwords: ReadonlyMap<string, string>;
  readonly faults: (SemanticFault & { found: string })[];
};

/** Reads every password file that a configuration names. @param dir folder at which relative paths start */
export function readPasswords(value: unknown, dir: string): Passwords {
  const passwords = new Map<string, string>();
  const faults: Passwords["faults"] = [];
  for (const [pointer, section] of sectionsOf(value)) {
    const named = section?.passwordFile;
    if (typeof named !== "string" || named === "") continue;
    const path = resolve(dir, named);
    const read = readPassword(path);
    if ("password" in read) passwords.set(pointer, read.password);
    else {
      const expected = "a readable file whose first line is the password";
      const remedy = `write the password to ${path}, readable by this user alone`;
      faults.push({ path: `${pointer}/passwordFile`, found: read.found, expected, remedy });
    }
  }
  return { passwords, faults };
}

/** The configuration with the passwords in their places. */
export function withPasswords(config: GatewayConfig, passwords: Passwords["passwords"]): GatewayConfig {
  const place = <T extends object>(section: T, pointer: string): T => {
    const password = passwords.get(pointer);
    return password === undefined ? section : { ...section, password };
  };
  const devices = config.devices.map((device, i) => {
    if (device.driver !== "opcua" || device.user === undefined) return device;
    return { ...device, user: place(device.user, `/devices/${i}/user`) };
  });
  return { ...config, broker: place(config.broker, "/broker"), devices };
}
