import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { secretWarnings } from "@jilian/domain/config-env.ts";
import { type TlsPaths, tlsFileFaults } from "@jilian/domain/tls.ts";
import type { GatewayConfig } from "./config.ts";

/** The broker's section with the paths of its files resolved: relative ones start at the configuration's folder. */
export function placedTls(broker: GatewayConfig["broker"], dir: string): GatewayConfig["broker"] {
  if (!broker.tls) return broker;
  const tls = { ...broker.tls };
  for (const key of ["caFile", "certFile", "keyFile"] as const) {
    const path = tls[key];
    if (path !== undefined) tls[key] = resolve(dir, path);
  }
  return { ...broker, tls };
}

/** What is wrong with the files of TLS. */
export function tlsFaults(broker: GatewayConfig["broker"], dir: string): (SemanticFault & { found: string })[] {
  const paths: TlsPaths | undefined = placedTls(broker, dir).tls;
  return paths === undefined ? [] : tlsFileFaults("/broker/tls", paths, (path) => readFileSync(path, "utf8"));
}

/** What of the configuration is not safe, though not wrong. */
export function settingWarnings(config: GatewayConfig, dir: string): string[] {
  // Windows has no such bits: every file would look open to everyone.
  if (process.platform === "win32") return secretWarnings(config, () => undefined);
  return secretWarnings(config, (file) => statSync(resolve(dir, file), { throwIfNoEntry: false })?.mode);
}
