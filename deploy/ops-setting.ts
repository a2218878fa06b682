import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { secretWarnings } from "@jilian/domain/config-env.ts";
import { type TlsPaths, tlsFileFaults } from "@jilian/domain/tls.ts";
import type { PlatformConfig, ServiceName } from "./config.ts";

/** Paths of TLS files resolved: relative ones start at the configuration's folder. */
export function placedTls<T extends TlsPaths>(tls: T, baseDir: string): T {
  const placed = { ...tls };
  for (const key of ["certFile", "keyFile", "caFile"] as const) {
    const path = placed[key];
    if (path !== undefined) placed[key] = resolve(baseDir, path);
  }
  return placed;
}

/** What is wrong with files of TLS that the services to run need. */
export function tlsFaults(
  { broker, remoteBroker, api }: PlatformConfig,
  services: readonly ServiceName[],
  baseDir: string,
): (SemanticFault & { found: string })[] {
  const needsRemote = services.includes("ingest") && !services.includes("broker");
  const sections: (readonly [string, TlsPaths | undefined])[] = [
    ["/broker/tls", services.includes("broker") ? broker.tls : undefined],
    ["/remoteBroker/tls", needsRemote ? remoteBroker?.tls : undefined],
    ["/api/tls", services.includes("api") ? api.tls : undefined],
  ];
  const read = (path: string) => readFileSync(path, "utf8");
  const { brokerCaFile } = api.enrolment ?? {};
  const given =
    services.includes("api") && brokerCaFile !== undefined ? { caFile: resolve(baseDir, brokerCaFile) } : {};
  return [
    ...sections.flatMap(([base, tls]) => (tls ? tlsFileFaults(base, placedTls(tls, baseDir), read) : [])),
    ...tlsFileFaults("", given, read).map((fault) => ({ ...fault, path: "/api/enrolment/brokerCaFile" })),
  ];
}

/** What of the configuration is not safe, though not wrong. */
export function settingWarnings(config: PlatformConfig, baseDir: string): string[] {
  const unused = "api.enrolment: the broker of this platform has no tls, over which alone a certificate can be shown";
  return [
    ...(config.api.enrolment !== undefined && config.broker.tls === undefined ? [unused] : []),
    ...fileWarnings(config, baseDir),
  ];
}

function fileWarnings(config: PlatformConfig, baseDir: string): string[] {
  // Windows has no such bits: every file would look open to everyone.
  if (process.platform === "win32") return secretWarnings(config, () => undefined);
  return secretWarnings(config, (file) => statSync(resolve(baseDir, file), { throwIfNoEntry: false })?.mode);
}
