import { messageOf } from "@jilian/domain/errors.ts";
import type { GatewayConfig } from "../config.ts";
import { ownCertificateInvalid } from "../drivers/opcua-errors.ts";
import { lifeFault, ownCertificateFile, ownIdentity, ownLife } from "../drivers/opcua-own.ts";

/**
 * What is wrong with the certificate that the gateway shows OPC UA servers, as far as it is there and this user may read it: before it is
 * made there is nothing to say.
 */
export function certificateWarnings(config: GatewayConfig, nowMs: number): string[] {
  try {
    const life = ownLife(config);
    const fault = life && lifeFault(life, nowMs);
    return fault ? [`${fault.code}: ${fault.message}\n  remedy: ${fault.remedy}`] : [];
  } catch (thrown) {
    const path = ownCertificateFile(ownIdentity(config).pkiDir);
    const { code, message, remedy } = ownCertificateInvalid(path, `cannot be read (${messageOf(thrown)})`, thrown);
    return [`${code}: ${message}: ${path}\n  remedy: ${remedy}`];
  }
}
