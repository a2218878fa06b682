import {
  createHash,
  createPrivateKey,
  createPublicKey,
  randomBytes,
  webcrypto,
  type X509Certificate,
} from "node:crypto";
import { closeSync, existsSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gatewayUri } from "@jilian/domain/enrolment.ts";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { certificatesOf } from "@jilian/domain/tls.ts";

const dayMs = 86_400_000;
/** The authority outlives every box: to change it means to visit each. */
const authorityDays = 20 * 365;
/** Clocks of boxes run behind, most of all after a power cut. */
const backdatedMs = dayMs;
const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const leastRsaBits = 2048;

export type Issued = { pem: string; serial: string; keyHash: string; issuedMs: number; expiresMs: number };

/** A signing request whose signature was found right and whose key is strong enough. */
export type CheckedRequest = { readonly keyHash: string; readonly publicKeyDer: Uint8Array };

/** The platform's own certificate authority, which signs for gateways and for its broker, and for nobody else. */
export type Authority = {
  /** Its own certificate, PEM. */
  readonly certificate: string;
  /** A certificate of a gateway, for TLS clients only. */
  readonly issueGateway: (
    gateway: { group: string; node: string },
    request: CheckedRequest,
    days: number,
    nowMs: number,
  ) => Promise<Issued>;
  /** Key and certificate of the platform's broker, for names and addresses as gateways connect by. */
  readonly issueServer: (
    names: readonly string[],
    days: number,
    nowMs: number,
  ) => Promise<{ pem: string; key: string }>;
  /** Whether it has signed a certificate. */
  readonly hasSigned: (certificate: X509Certificate) => boolean;
};

/** Only where something is signed: the library takes 20 MB and a third of a second. It needs the first one to be there. */
async function x509() {
  await import("reflect-metadata");
  return await import("@peculiar/x509");
}

/** Positive, and of one length: RFC 5280, 4.1.2.2 allows 20 bytes. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return bytes.toString("hex").toUpperCase();
}

function invalid(message: string, remedy: string, cause?: unknown): JilianError {
  return new JilianError(message, { code: "CSR_INVALID", action: "read a signing request", remedy, cause });
}

/**
 * Checks a PKCS #10 request: that who sends it has the key, and that the key is EC P-256 or P-384, or RSA of 2048 bits or more. What it
 * says of its subject is not looked at.
 * @throws JilianError CSR_INVALID
 */
export async function checkRequest(pem: string): Promise<CheckedRequest> {
  const { Pkcs10CertificateRequest } = await x509();
  const remedy = "send a PKCS #10 request in PEM, signed by the key that it holds";
  let der: Uint8Array;
  let isSigned: boolean;
  // The library takes other forms too; one is enough.
  if (!/^\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----\s/.test(pem))
    throw invalid("this is no signing request in PEM", remedy);
  try {
    const request = new Pkcs10CertificateRequest(pem);
    der = new Uint8Array(request.publicKey.rawData);
    const key = createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
    const { namedCurve = "", modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
    const isStrong =
      (key.asymmetricKeyType === "ec" && ["prime256v1", "secp384r1"].includes(namedCurve)) ||
      (key.asymmetricKeyType === "rsa" && modulusLength >= leastRsaBits && modulusLength <= 4096);
    if (!isStrong) throw invalid("the key is not one of EC P-256, EC P-384, RSA 2048 to 4096", "make such a key");
    isSigned = await request.verify();
  } catch (thrown) {
    throw thrown instanceof JilianError ? thrown : invalid("the signing request cannot be read", remedy, thrown);
  }
  if (!isSigned) throw invalid("the signing request is not signed by its own key", remedy);
  return { publicKeyDer: der, keyHash: createHash("sha256").update(der).digest("hex") };
}

/** Key and certificate of a new authority, PEM, the key first. */
async function makeAuthority(nowMs: number): Promise<string> {
  const lib = await x509();
  const keys = (await webcrypto.subtle.generateKey(ecdsa, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const serialNumber = newSerial();
  const own = await lib.X509CertificateGenerator.createSelfSigned({
    serialNumber,
    // Installations must not be mistaken for each other where both are trusted.
    name: `CN=Jilian ${serialNumber.slice(0, 8)}`,
    notBefore: new Date(nowMs - backdatedMs),
    notAfter: new Date(nowMs + authorityDays * dayMs),
    signingAlgorithm: ecdsa,
    keys,
    extensions: [
      new lib.BasicConstraintsExtension(true, 0, true),
      new lib.KeyUsagesExtension(lib.KeyUsageFlags.keyCertSign | lib.KeyUsageFlags.cRLSign, true),
      await lib.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const key = lib.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  return `${key}\n${own.toString("pem")}\n`;
}

/** Writes a file of which there must be one only, whichever of several processes comes first: whole, or not at all. */
function placeOnce(path: string, text: string, mode: number): void {
  const own = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    const fd = openSync(own, "wx", mode);
    try {
      // Not writeSync, which takes it for done when a medium that is nearly full takes a part.
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    linkSync(own, path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
  } finally {
    rmSync(own, { force: true });
  }
}

function failed(path: string, thrown: unknown): JilianError {
  return new JilianError(`the platform's authority cannot be used: ${messageOf(thrown)}`, {
    code: "AUTHORITY_UNUSABLE",
    action: "open the certificate authority",
    address: path,
    remedy: "give this user the right to read and write there; where the file is damaged, restore it from a backup",
    cause: thrown,
  });
}

/** Where the authority of a data folder lies: its key with its certificate, and a copy of the certificate to give away. */
export function authorityFiles(dataDir: string): { key: string; certificate: string } {
  return { key: join(dataDir, "authority.key"), certificate: join(dataDir, "authority.pem") };
}

/**
 * Opens the authority of a data folder, and makes it where there is none yet: `authority.key` holds its key and certificate and is its
 * owner's alone, `authority.pem` the certificate.
 * @throws JilianError AUTHORITY_UNUSABLE
 */
export async function openAuthority(dataDir: string, nowMs = Date.now()): Promise<Authority> {
  const files = authorityFiles(dataDir);
  try {
    if (!existsSync(files.key)) placeOnce(files.key, await makeAuthority(nowMs), 0o600);
    const text = readFileSync(files.key, "utf8");
    const [own] = certificatesOf(text, files.key);
    const key = createPrivateKey(text);
    if (!own?.checkPrivateKey(key)) throw new Error("key and certificate do not belong together");
    const certificate = own.toString();
    if (!existsSync(files.certificate)) placeOnce(files.certificate, certificate, 0o644);
    return authorityOf(own, key);
  } catch (thrown) {
    throw failed(files.key, thrown);
  }
}

type Wanted = {
  serialNumber: string;
  subject: string;
  publicKeyDer: Uint8Array;
  altNames: { type: "url" | "dns" | "ip"; value: string }[];
  isServer: boolean;
  notBefore: Date;
  notAfter: Date;
};

function authorityOf(own: X509Certificate, key: ReturnType<typeof createPrivateKey>): Authority {
  const certificate = own.toString();

  async function sign(wanted: Wanted): Promise<string> {
    const { serialNumber, subject, publicKeyDer, altNames, isServer, notBefore, notAfter } = wanted;
    const lib = await x509();
    const signingKey = key.toCryptoKey(ecdsa, false, ["sign"]);
    const publicKey = new lib.PublicKey(publicKeyDer as Uint8Array<ArrayBuffer>);
    const usage = isServer ? lib.ExtendedKeyUsage.serverAuth : lib.ExtendedKeyUsage.clientAuth;
    const issuer = new lib.X509Certificate(certificate);
    const made = await lib.X509CertificateGenerator.create({
      ...{ serialNumber, subject, issuer: issuer.subject, notBefore, notAfter, publicKey, signingKey },
      signingAlgorithm: ecdsa,
      extensions: [
        new lib.BasicConstraintsExtension(false, undefined, true),
        new lib.KeyUsagesExtension(lib.KeyUsageFlags.digitalSignature, true),
        new lib.ExtendedKeyUsageExtension([usage], false),
        new lib.SubjectAlternativeNameExtension(altNames, false),
        await lib.AuthorityKeyIdentifierExtension.create(issuer),
        await lib.SubjectKeyIdentifierExtension.create(publicKey),
      ],
    });
    return made.toString("pem");
  }
  // Whole seconds, as a certificate has them.
  const second = (ms: number) => Math.floor(ms / 1000) * 1000;
  /** A certificate beyond the end of its authority would end with it. */
  const endOf = (days: number, nowMs: number) => second(Math.min(nowMs + days * dayMs, own.validToDate.getTime()));

  return {
    certificate,
    issueGateway: async ({ group, node }, { keyHash, publicKeyDer }, days, nowMs) => {
      const serial = newSerial();
      const expiresMs = endOf(days, nowMs);
      const pem = await sign({
        ...{ serialNumber: serial, subject: `O=${group}, CN=${node}`, publicKeyDer, isServer: false },
        altNames: [{ type: "url", value: gatewayUri({ group, node }) }],
        ...{ notBefore: new Date(nowMs - backdatedMs), notAfter: new Date(expiresMs) },
      });
      return { pem, serial, keyHash, issuedMs: second(nowMs), expiresMs };
    },
    issueServer: async (names, days, nowMs) => {
      const lib = await x509();
      const keys = (await webcrypto.subtle.generateKey(ecdsa, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
      const isAddress = (name: string) => /^[\d.]+$|:/.test(name);
      const pem = await sign({
        ...{ serialNumber: newSerial(), subject: "CN=Jilian broker", isServer: true },
        publicKeyDer: new Uint8Array(await webcrypto.subtle.exportKey("spki", keys.publicKey)),
        altNames: names.map((value) => ({ type: isAddress(value) ? "ip" : "dns", value })),
        ...{ notBefore: new Date(nowMs - backdatedMs), notAfter: new Date(endOf(days, nowMs)) },
      });
      const secret = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
      return { pem, key: lib.PemConverter.encode(secret, "PRIVATE KEY") };
    },
    hasSigned: (other) => other.checkIssued(own) && other.verify(own.publicKey),
  };
}
