import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "@jilian/domain/errors.ts";
import type { GatewayConfig } from "../config.ts";

/** Of the configuration what tells where the gateway's OPC UA certificate is and whether anybody is shown it. */
export type OwnSetting = Pick<GatewayConfig, "group" | "node" | "outbox" | "opcua" | "devices">;

/** Who a gateway is toward OPC UA servers, and the folder of its certificates, where the configuration says nothing else. */
export function ownIdentity({ group, node, outbox, opcua }: OwnSetting): { applicationUri: string; pkiDir: string } {
  const { applicationUri = `urn:jilian:gateway:${group}:${node}`, pkiDir = `${outbox.path}.pki` } = opcua;
  return { applicationUri, pkiDir };
}

/** The gateway's certificate in its folder, PEM. */
export const ownCertificateFile = (pkiDir: string): string => join(pkiDir, "own", "certs", "gateway.pem");

/** When a certificate counts, UTC ms. */
export type Life = { readonly path: string; readonly startsMs: number; readonly endsMs: number };

/** What is wrong with the gateway's certificate now, or will be; `code` is stable. */
export type LifeFault = { readonly code: string; readonly message: string; readonly remedy: string };

/** How long before its end a certificate is told of: servers have to be made to trust the next one, each by hand. */
const soonMs = 30 * 86_400_000;

/**
 * The gateway's certificate, of a chain the first. The library finds none in DER, and would show servers none.
 * @throws Error what is there is no certificate, not PEM, or cannot be read
 */
export function certificateAt(path: string): X509Certificate {
  const content = readFileSync(path);
  const certificate = new X509Certificate(content);
  if (content.includes("-----BEGIN ")) return certificate;
  throw new Error("it is DER, and has to be PEM: openssl x509 -inform der -in FILE -out gateway.pem");
}

/** @throws Error as certificateAt */
export function lifeOf(path: string): Life {
  const { validFromDate, validToDate } = certificateAt(path);
  return { path, startsMs: validFromDate.getTime(), endsMs: validToDate.getTime() };
}

/**
 * The life of the certificate that a gateway shows OPC UA servers.
 * @returns undefined where no device needs one, where there is none yet (it is made at the first connect), and where this user may not read it
 * @throws Error what is there is no certificate
 */
export function ownLife(config: OwnSetting): Life | undefined {
  if (!config.devices.some((device) => device.driver === "opcua" && device.security.mode !== "None")) return undefined;
  try {
    return lifeOf(ownCertificateFile(ownIdentity(config).pkiDir));
  } catch (thrown) {
    if (["ENOENT", "EACCES"].includes(codeOf(thrown))) return undefined;
    throw thrown;
  }
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** When a certificate counts, for people. @param certificate DER, of a chain the first */
export function lifeText(certificate: Buffer): string {
  try {
    const { validFromDate, validToDate } = new X509Certificate(certificate);
    return `valid from ${dayOf(validFromDate.getTime())} to ${dayOf(validToDate.getTime())}`;
  } catch {
    return "unreadable";
  }
}

/** What there is to tell of a certificate at a time. Pure. @param aheadMs how long before its end it is told of */
export function lifeFault({ path, startsMs, endsMs }: Life, nowMs: number, aheadMs = soonMs): LifeFault | undefined {
  const renew = `put another of the same key at ${path}, or remove it, so that the gateway makes one at its next connect; then trust that on each server`;
  const whose = `this gateway's own OPC UA certificate (${path})`;
  if (nowMs < startsMs) {
    const remedy = `set the clock of this box (NTP); if it is right, the certificate was made while it was wrong: ${renew}`;
    return { code: "OPCUA_CERTIFICATE_NOT_YET", message: `${whose} is valid from ${dayOf(startsMs)} only`, remedy };
  }
  if (nowMs >= endsMs) {
    const remedy = `set the clock of this box (NTP); if it is right, ${renew}`;
    return { code: "OPCUA_CERTIFICATE_EXPIRED", message: `${whose} has expired on ${dayOf(endsMs)}`, remedy };
  }
  if (endsMs - nowMs > aheadMs) return undefined;
  const days = Math.floor((endsMs - nowMs) / 86_400_000);
  const message = `${whose} ends on ${dayOf(endsMs)}, in ${days} days: servers refuse it then`;
  return { code: "OPCUA_CERTIFICATE_ENDS_SOON", message, remedy: `before that ${renew}` };
}

/** Why a certificate does not count now, where that can be told; of one that counts nothing, however soon it ends. */
export function faultNow(path: string): LifeFault | undefined {
  try {
    return lifeFault(lifeOf(path), Date.now(), 0);
  } catch {
    return undefined;
  }
}
