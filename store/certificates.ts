/** A certificate that the platform's authority has signed for a gateway. */
export type GatewayCertificate = {
  /** Hexadecimal, upper case, as Node.js prints it. */
  serial: string;
  group: string;
  node: string;
  issuedMs: number;
  expiresMs: number;
  /** Serial of the certificate that it was to replace; null for one of an enrolment. */
  renews: string | null;
  /** SHA-256 of its public key (SPKI, DER), hexadecimal. */
  keyHash: string;
  /** The certificate, PEM. */
  pem: string;
  revokedMs: number | null;
};

/** What is known of a one-time token: its hash (SHA-256 of the text, hexadecimal) and never the token. */
export type EnrolmentToken = {
  hash: string;
  group: string;
  node: string;
  createdMs: number;
  expiresMs: number;
  /** When it was used or withdrawn; null while it may be used. */
  usedMs: number | null;
};

/** Tokens, certificates, and a number that tells that somebody's access has changed. */
export type CertificateLedger = {
  readonly addToken: (token: Omit<EnrolmentToken, "usedMs">) => void;
  readonly token: (hash: string) => EnrolmentToken | undefined;
  /** Uses up a token. @returns false when it is used, expired or not there */
  readonly useToken: (hash: string, nowMs: number) => boolean;
  /** Uses up every token of a gateway. @returns how many could still have been used */
  readonly withdrawTokens: (gateway: { group: string; node: string }, nowMs: number) => number;

  readonly addCertificate: (certificate: Omit<GatewayCertificate, "revokedMs">) => void;
  readonly certificate: (serial: string) => GatewayCertificate | undefined;
  /** By gateway, the newest first; of one gateway, or of all. */
  readonly certificates: (gateway?: { group: string; node: string }) => GatewayCertificate[];
  /** Revokes for good. @returns false when there is none of this serial, or it is revoked */
  readonly revokeCertificate: (serial: string, nowMs: number) => boolean;

  /** Grows whenever a credential is set or withdrawn, or a certificate revoked, by whatever process. Cheap to ask. */
  readonly accessRevision: () => number;
  /** Names the present secret of a credential without telling it; undefined where there is none. Another secret, another stamp. */
  readonly credentialStamp: (kind: string, name: string) => string | undefined;
};

/** How a certificate stands at a time. */
export function certificateState(
  { revokedMs, expiresMs }: GatewayCertificate,
  nowMs: number,
): "valid" | "expired" | "revoked" {
  if (revokedMs !== null) return "revoked";
  return nowMs > expiresMs ? "expired" : "valid";
}
