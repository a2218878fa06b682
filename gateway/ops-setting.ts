import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { secretWarnings } from "@jilian/domain/config-env.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { type TlsPaths, tlsFileFaults } from "@jilian/domain/tls.ts";
import { birthMetric } from "./births.ts";
import type { GatewayConfig } from "./config.ts";
import { definitionsOf } from "./definitions.ts";
import { commonDevice } from "./drivers/common-device.ts";

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

/** Devices with so many tags that their birth, which lists them all, is larger than a message may be. */
export function birthWarnings({ devices, broker: { maxPayloadBytes } }: GatewayConfig): string[] {
  return devices.flatMap((device) => {
    const metrics = definitionsOf(commonDevice(device), device.simulated).map((definition, i) =>
      birthMetric(
        { ...{ id: i + 1, device: device.id, definition }, sinceMs: Date.now(), earlier: [] },
        undefined,
        Date.now(),
      ),
    );
    const bytes = encodePayload({ timestampMs: Date.now(), seq: 0, metrics }).length;
    if (bytes <= maxPayloadBytes) return [];
    const size = `${metrics.length} tags, whose birth takes ${bytes} bytes; broker.maxPayloadBytes is ${maxPayloadBytes}`;
    return `device ${device.id} has ${size}: it could send nothing; divide its tags among two devices, or raise the bound here and at the broker`;
  });
}

/** What of the configuration is not safe, though not wrong. */
export function settingWarnings(config: GatewayConfig, dir: string): string[] {
  // Windows has no such bits: every file would look open to everyone.
  const modeOf = (file: string): number | undefined =>
    process.platform === "win32" ? undefined : statSync(resolve(dir, file), { throwIfNoEntry: false })?.mode;
  return [...secretWarnings(config, modeOf), ...birthWarnings(config)];
}
