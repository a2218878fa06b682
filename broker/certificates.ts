import { X509Certificate } from "node:crypto";
import { TLSSocket } from "node:tls";
import { gatewayOfAltName } from "@jilian/domain/enrolment.ts";
import { validityFault } from "@jilian/domain/tls.ts";
import { certificateState } from "@jilian/store/certificates.ts";
import type { Ledger, Principal } from "@jilian/store/ledger.ts";
import type { Refusal } from "./access.ts";

/** What lets a client stay: looked at again whenever somebody's access has changed. */
export type Holding = {
  principal: Principal;
  /** Revision of the ledger before the client was let in, or was looked at last. */
  revision: number;
  /** How it proved who it is. */
  proof: { serial: string; endsMs: number } | { stamp: string | undefined };
};

export type CertificateCheck = {
  /**
   * Whom a connection's certificate proves to be there; undefined where it has none of this platform's, and a password decides.
   * @param name user name of CONNECT, empty if it gave none
   */
  readonly identify: (connection: unknown, name: string) => (Refusal & { subject?: string }) | Identified | undefined;
};
export type Identified = { principal: Principal; proof: { serial: string; endsMs: number } };

const foreign = "BROKER_CERTIFICATE_FOREIGN";

/** The certificate that a connection showed, whether or not the handshake found it right. */
function shownOn(connection: unknown): { certificate: X509Certificate; fault: string | undefined } | undefined {
  if (!(connection instanceof TLSSocket)) return undefined;
  const certificate = connection.getPeerX509Certificate();
  // Its type says Error; it is OpenSSL's code.
  const fault = connection.authorized ? undefined : String(connection.authorizationError);
  return certificate && { certificate, fault };
}

/**
 * Certificates of the platform's authority as identities. OpenSSL has checked signature, times and purpose in the handshake; here it is
 * seen whose it is, and that the ledger has it and nobody has revoked it. A certificate of anybody else proves nothing: a client that has
 * no user name beside it is told so.
 */
export function certificateCheck(
  authorityPem: string,
  ledger: Pick<Ledger, "certificate">,
  nowMs: () => number = Date.now,
): CertificateCheck {
  const authority = new X509Certificate(authorityPem);

  function identify(connection: unknown, name: string): ReturnType<CertificateCheck["identify"]> {
    const shown = shownOn(connection);
    if (!shown) return undefined;
    const { certificate, fault } = shown;
    const isOwn = certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
    if (!isOwn) {
      if (name !== "") return undefined;
      return { code: foreign, reason: "the certificate is not one of this platform, and there is no user name" };
    }
    const gateway = gatewayOfAltName(certificate.subjectAltName);
    if (!gateway) return { code: foreign, reason: "the certificate names no gateway" };
    const subject = `${gateway.group}/${gateway.node}`;
    const times = validityFault(certificate, nowMs());
    if (times) return { code: "BROKER_CERTIFICATE_EXPIRED", reason: times.reason, subject };
    if (fault !== undefined) return { code: foreign, reason: `the certificate was not accepted: ${fault}`, subject };
    const known = ledger.certificate(certificate.serialNumber);
    if (!known || certificateState(known, nowMs()) !== "valid") {
      const reason = known ? "the certificate was revoked" : "the certificate is not in the ledger";
      return { code: "BROKER_CERTIFICATE_REVOKED", reason, subject };
    }
    if (name !== "" && name !== subject) {
      return {
        code: "BROKER_CERTIFICATE_OTHER",
        reason: `user name "${name.slice(0, 130)}" beside the certificate of ${subject}`,
        subject,
      };
    }
    const principal: Principal = { kind: "gateway", name: subject, ...gateway };
    return { principal, proof: { serial: certificate.serialNumber, endsMs: certificate.validToDate.getTime() } };
  }
  return { identify };
}
