import { createPrivateKey, X509Certificate } from "node:crypto";
import { codeOf, JilianError, messageOf } from "./errors.ts";

/** Files of one side of a TLS connection, in PEM. */
export type TlsPaths = {
  certFile?: string | undefined;
  keyFile?: string | undefined;
  /** Certificates of the authorities that the other side's certificate may come from. */
  caFile?: string | undefined;
};

/** What the files hold, as `node:tls` takes it. */
export type TlsMaterial = { cert?: string; key?: string; ca?: string };

/** Reads a file as text, throwing as `readFileSync` does: this module opens nothing itself. */
export type ReadText = (path: string) => string;

export const minVersions = ["TLSv1.2", "TLSv1.3"] as const;

function fault(code: string, message: string, address: string, remedy: string, cause?: unknown): JilianError {
  return new JilianError(message, { code, action: "prepare TLS", address, remedy, cause });
}

const pem = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, in its order. @throws JilianError TLS_FILE_INVALID */
export function certificatesOf(text: string, path: string): X509Certificate[] {
  const blocks = text.match(pem) ?? [];
  const remedy =
    "give a PEM file with one or more blocks -----BEGIN CERTIFICATE-----; of a chain, the own certificate first";
  if (blocks.length === 0) throw fault("TLS_FILE_INVALID", `${path} holds no certificate`, path, remedy);
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw fault("TLS_FILE_INVALID", `certificate ${i + 1} in ${path} cannot be read`, path, remedy, cause);
    }
  });
}

function keyOf(text: string, path: string) {
  try {
    return createPrivateKey(text);
  } catch (cause) {
    const remedy = "give a PEM file with a private key that has no pass phrase, readable by this user alone";
    throw fault("TLS_FILE_INVALID", `${path} holds no private key that can be used`, path, remedy, cause);
  }
}

/**
 * Reads certificate, key and authorities and checks that they belong together, so that a mistake is told by its own name and not by
 * what a handshake makes of it.
 * @param read reads a file; it is passed in because this room does no I/O
 * @throws JilianError TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH
 */
export function tlsMaterial({ certFile, keyFile, caFile }: TlsPaths, read: ReadText): TlsMaterial {
  const textOf = (path: string): string => {
    try {
      return read(path);
    } catch (cause) {
      const remedy = "correct the path, or give this user the right to read the file and its folder";
      throw fault("TLS_FILE_UNREADABLE", `${path} cannot be read: ${messageOf(cause)}`, path, remedy, cause);
    }
  };
  const material: TlsMaterial = {};
  if (caFile !== undefined) {
    material.ca = textOf(caFile);
    certificatesOf(material.ca, caFile);
  }
  if (certFile === undefined || keyFile === undefined) return material;
  material.cert = textOf(certFile);
  material.key = textOf(keyFile);
  const [own] = certificatesOf(material.cert, certFile);
  if (!own?.checkPrivateKey(keyOf(material.key, keyFile))) {
    const remedy = "give the key that this certificate was made for; of a chain, the own certificate must come first";
    throw fault("TLS_KEY_MISMATCH", `${keyFile} is not the key of ${certFile}`, keyFile, remedy);
  }
  return material;
}

/** The same as faults of a configuration, at the key that names the file; none when all is well. */
export function tlsFileFaults(
  base: string,
  paths: TlsPaths,
  read: ReadText,
): { path: string; found: string; expected: string; remedy: string }[] {
  try {
    tlsMaterial(paths, read);
    return [];
  } catch (thrown) {
    if (!(thrown instanceof JilianError)) throw thrown;
    const key = (["certFile", "keyFile", "caFile"] as const).find((name) => paths[name] === thrown.address);
    const expected = "PEM files that can be read and belong together";
    const found = `${thrown.code}: ${thrown.message}`;
    return [{ path: `${base}/${key ?? "certFile"}`, found, expected, remedy: thrown.remedy }];
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** What is wrong with the times of a certificate now, if anything: a code and words. */
export function validityFault(
  certificate: Pick<X509Certificate, "validFromDate" | "validToDate">,
  nowMs: number,
): { code: string; reason: string; remedy: string } | undefined {
  const [fromMs, toMs] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  if (nowMs > toMs) {
    const remedy = `renew the certificate; if it should still be valid, set this machine's clock (it says ${iso(nowMs)})`;
    return { code: "TLS_EXPIRED", reason: `the certificate ended ${iso(toMs)}`, remedy };
  }
  if (nowMs < fromMs)
    return { code: "TLS_NOT_YET_VALID", reason: `valid from ${iso(fromMs)}`, remedy: clockRemedy(nowMs) };
  return undefined;
}

function clockRemedy(nowMs: number): string {
  return `set this machine's clock: it says ${iso(nowMs)}, which is before the certificate begins. After a power cut that points to an empty clock battery: replace it and set up NTP`;
}

const untrusted = new Set([
  "CERT_CHAIN_TOO_LONG",
  "CERT_REJECTED",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "INVALID_CA",
  "INVALID_PURPOSE",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/**
 * What a failed TLS connection means to the one who connects: a stable code and a remedy. Codes of the verification are OpenSSL's
 * (x509_vfy.h) as Node.js passes them on; undefined when the failure is not one of TLS.
 * @param nowMs this machine's clock, which may be the culprit
 */
export function tlsFault(thrown: unknown, nowMs: number): { code: string; remedy: string } | undefined {
  const code = codeOf(thrown);
  if (code === "CERT_HAS_EXPIRED") {
    const remedy = `renew the broker's certificate; if it should still be valid, set this machine's clock (it says ${iso(nowMs)})`;
    return { code: "TLS_EXPIRED", remedy };
  }
  if (code === "CERT_NOT_YET_VALID") return { code: "TLS_NOT_YET_VALID", remedy: clockRemedy(nowMs) };
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const remedy = "connect by a name or address that the broker's certificate has, or name one in tls.serverName";
    return { code: "TLS_HOSTNAME", remedy };
  }
  if (untrusted.has(code)) {
    const remedy =
      "give the certificate of the authority that signed the broker's in tls.caFile; check that it is this broker";
    return { code: "TLS_UNTRUSTED", remedy };
  }
  // OpenSSL's reason is the code when a read met it, and stands in the message only (EPROTO) when a write did.
  const text = `${code} ${messageOf(thrown)}`.toUpperCase().replaceAll(" ", "_");
  if (/ALERT_(CERTIFICATE|BAD_CERTIFICATE|UNKNOWN_CA|UNSUPPORTED_CERT|NO_CERT|ACCESS_DENIED)/.test(text)) {
    const remedy =
      "the broker does not take this machine's certificate: give one it knows in tls.certFile and tls.keyFile";
    return { code: "TLS_CLIENT_CERTIFICATE", remedy };
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(text)) {
    return {
      code: "TLS_NOT_SPOKEN",
      remedy: "the port answers without TLS: give the broker's TLS port (8883 is usual)",
    };
  }
  if (/before secure TLS connection/.test(messageOf(thrown))) {
    const remedy =
      "the other side ended the handshake: is this its TLS port, and does it ask for a client certificate?";
    return { code: "TLS_HANDSHAKE", remedy };
  }
  if (code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_") || code === "EPROTO") {
    return { code: "TLS_HANDSHAKE", remedy: "compare TLS versions and certificates of both sides; see the message" };
  }
  return undefined;
}
