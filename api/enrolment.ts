import { createHash, verify, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  type EnrolAnswer,
  gatewayOfAltName,
  type RenewAnswer,
  type RenewQuestion,
  renewalText,
} from "@jilian/domain/enrolment.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import { type Authority, type CheckedRequest, checkRequest, type Issued } from "@jilian/store/authority.ts";
import { certificateState, type GatewayCertificate } from "@jilian/store/certificates.ts";
import { tokenHash } from "@jilian/store/enrolment-token.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { ApiDeps } from "./app.ts";
import type { EnrolmentConfig } from "./enrolment-config.ts";

/** A gateway whose clock is further off cannot renew until it is set. */
const mostSkewMs = 15 * 60_000;
/** Certificates of one gateway that are valid at once: one that cannot keep what it gets must not fill the ledger. */
const mostValid = 32;

type Gateway = { group: string; node: string };
/**
 * Why something was refused: for the log and the audit alone, never for the one who asked. `clockMs`: only the gateway's time is wrong; it
 * has shown that it has the key, and is told.
 */
export type Refused = { refused: string; gateway?: Gateway; clockMs?: number; isUsed?: true };

type Parts = { config: EnrolmentConfig; deps: ApiDeps; authority: Authority };
const nameOf = ({ group, node }: Gateway) => `${group}/${node}`;

/** What the folder of configurations holds for a gateway. */
function configurationOf({ config: { gatewayDir }, deps }: Parts, { group, node }: Gateway): string | null {
  if (gatewayDir === undefined) return null;
  try {
    return readFileSync(join(resolve(deps.baseDir ?? ".", gatewayDir), group, `${node}.yaml`), "utf8");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw thrown;
  }
}

function brokerCaOf({ config: { brokerCaFile }, deps, authority }: Parts): string {
  if (brokerCaFile === undefined) return authority.certificate;
  return readFileSync(resolve(deps.baseDir ?? ".", brokerCaFile), "utf8");
}

function audit(ledger: Ledger, action: string, gateway: Gateway, origin: string, detail: object): void {
  const subject = `gateway ${nameOf(gateway)}`;
  ledger.addAudit({ atMs: Date.now(), actor: subject, origin, action, subject, detail: JSON.stringify(detail) });
}

/** Notes a use of a token that is known and counts no more. */
export function auditRefusal(ledger: Ledger, { refused, gateway }: Refused, origin: string): void {
  if (gateway) audit(ledger, "enrolment.refuse", gateway, origin, { reason: refused });
}

function keep(
  ledger: Ledger,
  gateway: Gateway,
  { serial, keyHash, pem, issuedMs, expiresMs }: Issued,
  renews: string | null,
) {
  ledger.addCertificate({ ...gateway, serial, keyHash, pem, issuedMs, expiresMs, renews });
}

/** Whom a token is for, or why it counts no more. */
function gatewayOfToken({ ledger, registry }: ApiDeps, hash: string): Gateway | Refused {
  const token = ledger.token(hash);
  if (!token) return { refused: "no such token" };
  const gateway = { group: token.group, node: token.node };
  if (token.usedMs !== null) return { refused: "the token was used or withdrawn", gateway, isUsed: true };
  if (token.expiresMs <= Date.now()) return { refused: "the token has expired", gateway };
  return registry.gateways.has(nameOf(gateway)) ? gateway : { refused: "the gateway is not registered", gateway };
}

/**
 * What was answered to a token that is used up, for the very key that it was answered to: on a bad line the answer may be lost. Who has
 * the token without the key gets nothing.
 */
async function answeredBefore(parts: Parts, gateway: Gateway, request: string): Promise<EnrolAnswer | undefined> {
  const checked = await checkRequest(request).catch(() => undefined);
  if (!parts.deps.registry.gateways.has(nameOf(gateway))) return undefined;
  const before = checked && signedBefore(parts.deps.ledger.certificates(gateway), checked);
  return before && answerOf(parts, gateway, before);
}

function answerOf(parts: Parts, gateway: Gateway, { pem, expiresMs }: Pick<Issued, "pem" | "expiresMs">): EnrolAnswer {
  const { config, authority } = parts;
  return {
    ...gateway,
    certificate: pem,
    expires: isoTime(expiresMs),
    authority: authority.certificate,
    brokerCa: brokerCaOf(parts),
    broker: { host: config.brokerHost, port: config.brokerPort },
    configuration: configurationOf(parts, gateway),
  };
}

/**
 * Signs the first certificate of a gateway for a one-time token, which is used up only when there is a certificate.
 * @throws JilianError CSR_INVALID, and what a file of the configuration has wrong
 */
export async function enrol(
  parts: Parts,
  { token, request }: { token: string; request: string },
  origin: string,
): Promise<EnrolAnswer | Refused> {
  const { config, deps, authority } = parts;
  const { ledger } = deps;
  const hash = tokenHash(token);
  const gateway = gatewayOfToken(deps, hash);
  if ("refused" in gateway) {
    const again = gateway.isUsed && gateway.gateway && (await answeredBefore(parts, gateway.gateway, request));
    return again || gateway;
  }
  const checked = await checkRequest(request);
  // What cannot be read is found before the token is used up.
  answerOf(parts, gateway, { pem: "", expiresMs: 0 });
  const issued = await authority.issueGateway(gateway, checked, config.certificateDays, Date.now());
  const isKept = ledger.transaction(() => {
    // Somebody may have come first while it was signed.
    if (!ledger.useToken(hash, Date.now())) return false;
    keep(ledger, gateway, issued, null);
    audit(ledger, "certificate.issue", gateway, origin, { serial: issued.serial, expires: isoTime(issued.expiresMs) });
    return true;
  });
  if (!isKept)
    return (await answeredBefore(parts, gateway, request)) ?? { refused: "the token was used or withdrawn", gateway };
  return answerOf(parts, gateway, issued);
}

type Known = { gateway: Gateway; old: X509Certificate; known: GatewayCertificate };

/** Whose certificate it is that shall be replaced, or why it counts no more. */
function gatewayOfOld({ deps, authority }: Parts, question: RenewQuestion): Known | Refused {
  const { ledger, registry } = deps;
  let old: X509Certificate;
  try {
    old = new X509Certificate(question.certificate);
  } catch {
    return { refused: "no certificate" };
  }
  const gateway = gatewayOfAltName(old.subjectAltName);
  if (!authority.hasSigned(old) || !gateway) return { refused: "not a certificate of this platform" };
  const text = Buffer.from(renewalText(question.request, question.timeMs));
  if (!verify("sha256", text, old.publicKey, Buffer.from(question.signature, "base64")))
    return { refused: "not signed by the key of the certificate" };
  if (Math.abs(question.timeMs - Date.now()) > mostSkewMs)
    return { refused: "the time is more than 15 min off", gateway, clockMs: question.timeMs };
  const known = ledger.certificate(old.serialNumber);
  if (!known) return { refused: "the certificate is not in the ledger", gateway };
  const state = certificateState(known, Date.now());
  if (state !== "valid") return { refused: `the certificate is ${state}`, gateway };
  return registry.gateways.has(nameOf(gateway))
    ? { gateway, old, known }
    : { refused: "the gateway is not registered", gateway };
}

/** The certificate that was signed for this very key before: its answer was lost on the way, or somebody sends a question again. */
function signedBefore(certificates: readonly GatewayCertificate[], { keyHash }: CheckedRequest) {
  return certificates.find((one) => one.keyHash === keyHash && certificateState(one, Date.now()) === "valid");
}

/**
 * Signs the next certificate of a gateway. That the old one's key has signed the question shows who asks: TLS may have ended at a proxy.
 * The old one stays valid until its end, so that an answer that is lost locks nobody out.
 * @throws JilianError CSR_INVALID
 */
export async function renew(parts: Parts, question: RenewQuestion, origin: string): Promise<RenewAnswer | Refused> {
  const { config, deps, authority } = parts;
  const { ledger } = deps;
  const found = gatewayOfOld(parts, question);
  if ("refused" in found) return found;
  const { gateway, old } = found;
  const checked = await checkRequest(question.request);
  const oldKeyHash = createHash("sha256")
    .update(old.publicKey.export({ type: "spki", format: "der" }))
    .digest("hex");
  if (checked.keyHash === oldKeyHash) return { refused: "the key is the old one", gateway };
  const all = ledger.certificates(gateway);
  const before = signedBefore(all, checked);
  if (before) return { certificate: before.pem, expires: isoTime(before.expiresMs) };
  if (all.filter((one) => certificateState(one, Date.now()) === "valid").length >= mostValid)
    return { refused: `${mostValid} certificates of this gateway are valid`, gateway };
  const issued = await authority.issueGateway(gateway, checked, config.certificateDays, Date.now());
  const isKept = ledger.transaction(() => {
    const now = ledger.certificate(old.serialNumber);
    if (!now || certificateState(now, Date.now()) !== "valid") return false;
    keep(ledger, gateway, issued, old.serialNumber);
    const detail = { serial: issued.serial, renews: old.serialNumber, expires: isoTime(issued.expiresMs) };
    audit(ledger, "certificate.renew", gateway, origin, detail);
    return true;
  });
  if (!isKept) return { refused: "the certificate was revoked", gateway };
  return { certificate: issued.pem, expires: isoTime(issued.expiresMs) };
}
