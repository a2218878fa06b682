import { createPrivateKey, type KeyObject, type X509Certificate } from "node:crypto";
import { existsSync, readdir, readFileSync, renameSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "@jilian/domain/errors.ts";
import type { OPCUACertificateManager } from "node-opcua-certificate-manager";
import type { Logger } from "pino";
import { type OpcuaTarget, ownCertificateInvalid, serverCertificateInvalid, serverUntrusted } from "./opcua-errors.ts";
import { loadLibrary } from "./opcua-library.ts";
import { certificateAt, lifeText, ownCertificateFile } from "./opcua-own.ts";

/** Who a gateway is toward OPC UA servers, and whom it trusts. */
export type PkiOptions = {
  /** Stands in the gateway's certificate; that of a certificate which the gateway did not make is before it. */
  readonly applicationUri: string;
  /** Folder: own/certs and own/private, trusted/certs, rejected. Made when missing. */
  readonly pkiDir: string;
  /** Trusts every server that is met: for commissioning only. */
  readonly acceptUnknownCertificates: boolean;
  /**
   * Goes by the certificate that is there, also one that was made for another URI: a command that looks into the folder of a gateway does
   * not decide who that is.
   */
  readonly keepsCertificate?: boolean;
};

/** The certificates of a gateway on disk, opened; one for all of its sessions. */
export type Pki = PkiOptions & {
  readonly manager: OPCUACertificateManager;
  readonly certificateFile: string;
  /**
   * Looks at the gateway's certificate anew, before each connect: a person may have put another there, or removed it so that one is made.
   * @returns the application URI in it
   * @throws JilianError OPCUA_CERTIFICATE_INVALID
   */
  readonly certify: () => Promise<string>;
  /** @throws JilianError OPCUA_SERVER_UNTRUSTED, OPCUA_SERVER_CERTIFICATE, OPCUA_CLOCK_SKEW */
  readonly verify: (target: OpcuaTarget, certificate: Buffer) => Promise<void>;
  readonly close: () => Promise<void>;
};

const validityDays = 3650;
/** Of the certificates that we make. */
const ourName = "Jilian gateway";

/** The file of a rejected certificate: its name ends with the fingerprint, that of the leaf comes first in a chain. */
async function rejectedFileOf(folder: string, fingerprint: string): Promise<string> {
  const names = await promisify(readdir)(folder);
  return join(folder, names.find((name) => name.toLowerCase().includes(fingerprint)) ?? "");
}

/** The names in a certificate, as Node.js writes them: `URI:urn:a:b, DNS:box`; one with a comma in it is quoted. */
const uriName = /URI:("(?:[^"\\]|\\.)*"|[^,]*)/g;

/** The application URIs that a certificate names (OPC 10000-6, 6.2.2: there is one). */
export function applicationUrisOf(certificate: X509Certificate): string[] {
  const names = [...(certificate.subjectAltName ?? "").matchAll(uriName)].map(([, name = ""]) => name);
  return names.map((name) => (name.startsWith('"') ? (JSON.parse(name) as string) : name));
}

/** Whether we made it: another self-signed one is somebody's who put it there. */
function isOurs({ issuer, subject }: X509Certificate): boolean {
  return issuer === subject && subject.startsWith(`CN=${ourName}@`);
}

/** Undefined where the key cannot be had, an encrypted one for instance: then the library tells. */
function keyIn(file: string): KeyObject | undefined {
  try {
    return createPrivateKey(readFileSync(file));
  } catch {
    return undefined;
  }
}

/** @throws JilianError OPCUA_CERTIFICATE_INVALID */
function readCertificate(file: string, keyFile: string): X509Certificate {
  let certificate: X509Certificate;
  try {
    certificate = certificateAt(file);
  } catch (thrown) {
    throw ownCertificateInvalid(file, `cannot be read (${messageOf(thrown)})`, thrown);
  }
  const key = keyIn(keyFile);
  if (key !== undefined && !certificate.checkPrivateKey(key))
    throw ownCertificateInvalid(file, `belongs to another key than ${keyFile}`);
  return certificate;
}

/** Where the gateway's certificate and its key are. */
type Own = {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Whether this was not told of that certificate before. */
  readonly isNews: (fingerprint: string) => boolean;
};

/**
 * The application URI of the certificate that is there: servers compare what a client calls itself with what its certificate says, and
 * refuse another (OPC 10000-4, 5.7.2: BadCertificateUriInvalid). So a certificate that somebody else put there, whoever signed it, stays
 * and decides. One that we made for a former URI is put aside.
 * @returns undefined where one is to be made
 */
function certifiedUri(
  { certificateFile, keyFile, isNews }: Own,
  { applicationUri, keepsCertificate = false }: PkiOptions,
  log: Logger,
): string | undefined {
  if (!existsSync(certificateFile)) return undefined;
  const certificate = readCertificate(certificateFile, keyFile);
  const found = applicationUrisOf(certificate);
  if (found.includes(applicationUri)) return applicationUri;
  const detail = { path: certificateFile, found, applicationUri };
  if (keepsCertificate || !isOurs(certificate)) {
    const code = "OPCUA_CERTIFICATE_OTHER_URI";
    const [uri = applicationUri] = found;
    const what =
      found.length > 0
        ? "the gateway goes by the application URI of its certificate, which it did not make; write it as opcua.applicationUri"
        : "the gateway's certificate, which it did not make, names no application URI: servers may refuse it";
    if (isNews(certificate.fingerprint256)) log.warn({ code, ...detail }, what);
    return uri;
  }
  const mark = certificate.fingerprint256.replaceAll(":", "").slice(0, 16).toLowerCase();
  renameSync(certificateFile, certificateFile.replace(/\.pem$/, `-${mark}.pem`));
  log.warn(
    { code: "OPCUA_CERTIFICATE_REMADE", ...detail },
    "the gateway has another certificate for its new application URI: servers have to trust it anew",
  );
  return undefined;
}

/**
 * Opens the folder, makes key (RSA 2048) and self-signed certificate at the first start, the certificate also for another URI. Nothing watches the folder: it is read again
 * before each verdict, so that a certificate that a person moved counts at the next attempt.
 * @throws JilianError OPCUA_CERTIFICATE_INVALID
 */
export async function openPki(options: PkiOptions, log: Logger): Promise<Pki> {
  const { pkiDir, applicationUri, acceptUnknownCertificates } = options;
  const { opcua, certificates } = await loadLibrary(log);
  const manager = new certificates.OPCUACertificateManager({
    rootFolder: pkiDir,
    automaticallyAcceptUnknownCertificate: acceptUnknownCertificates,
    disableFileWatchers: true,
  });
  await manager.initialize();
  // Clients count themselves in and out, and the last one out closes the manager: it is ours to close.
  manager.referenceCounter += 1;
  const certificateFile = ownCertificateFile(pkiDir);
  async function close(): Promise<void> {
    manager.referenceCounter = 0;
    await manager.dispose();
  }
  let told = "";
  const isNews = (fingerprint: string): boolean => {
    const isSame = told === fingerprint;
    told = fingerprint;
    return !isSame;
  };
  async function certifyNow(): Promise<string> {
    const certified = certifiedUri({ certificateFile, keyFile: manager.privateKey, isNews }, options, log);
    if (certified !== undefined) return certified;
    await manager.createSelfSignedCertificate({
      applicationUri,
      dns: [hostname()],
      outputFile: certificateFile,
      subject: `/CN=${ourName}@${hostname()}`,
      startDate: new Date(),
      validity: validityDays,
    });
    return applicationUri;
  }
  /** One at a time: several devices connect at once, and one certificate is made. */
  let certifying = certifyNow();
  try {
    await certifying;
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return {
    ...options,
    applicationUri: await certifying,
    certify() {
      certifying = certifying.then(certifyNow, certifyNow);
      return certifying;
    },
    manager,
    certificateFile,
    async verify(target, certificate) {
      await manager.reloadCertificates();
      const verdict = (await manager.checkCertificate(certificate)).name;
      if (verdict === "Good") return;
      if (verdict !== "BadCertificateUntrusted") throw serverCertificateInvalid(target, verdict, lifeText(certificate));
      const fingerprint = opcua.crypto_utils.makeSHA1Thumbprint(certificate).toString("hex");
      const file = await rejectedFileOf(manager.rejectedFolder, fingerprint);
      throw serverUntrusted(target, `SHA-1 ${fingerprint}`, file, manager.trustedFolder);
    },
    close,
  };
}
