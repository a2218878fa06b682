import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";

/**
 * The files of a gateway's identity, in one folder. Key and certificate are one file, which is replaced in one step: a power cut amid a
 * renewal leaves the old pair or the new one.
 */
export const identityFile = "identity.pem";
const pendingFile = "identity.pending";
export const platformCaFile = "platform-ca.pem";
export const enrolmentFile = "enrolment.json";

/** What a gateway has to remember of its enrolment to renew its certificate. */
export type Enrolment = {
  /** Of the platform's interface. */
  url: string;
  group: string;
  node: string;
  /** Certificate of the authority that signs for gateways, PEM: a renewed one must come from it. */
  authority: string;
  /** Authority of the interface's certificate, PEM, where it is none that Node.js knows. */
  ca?: string;
  /** The interface's certificate was known by its fingerprint when the gateway enrolled. */
  byFingerprint?: boolean;
};

/** By hand: a gateway that runs keeps the schema library out of its memory. */
function isEnrolment(value: unknown): value is Enrolment {
  if (typeof value !== "object" || value === null) return false;
  const { url, group, node, authority, ca, byFingerprint } = value as Record<string, unknown>;
  const texts = [url, group, node, authority, ...(ca === undefined ? [] : [ca])];
  return texts.every((one) => typeof one === "string") && ["undefined", "boolean"].includes(typeof byFingerprint);
}

const derOf = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const bytes = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
};
/** ecdsa-with-SHA256, 1.2.840.10045.4.3.2 (RFC 5758, 3.2). */
const ecdsaWithSha256 = Buffer.from("06082a8648ce3d040302", "hex");

/** A new key, EC P-256, and the request that asks to sign for it. */
export type NewKey = { readonly key: KeyObject; readonly keyPem: string; readonly request: string };

/**
 * Makes a key, and a PKCS #10 request for it (RFC 2986, 4): version 0, no subject, the public key, no attributes; the platform knows by
 * the token or by the certificate before who asks. So little is in it that the box needs no library of 20 MB for it.
 */
export function newKey(): NewKey {
  return requestOf(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
}

function requestOf(privateKey: KeyObject): NewKey {
  const publicKey = createPublicKey(privateKey);
  const [version, subject, attributes] = [derOf(0x02, Buffer.from([0])), derOf(0x30), derOf(0xa0)];
  const info = derOf(0x30, version, subject, publicKey.export({ type: "spki", format: "der" }), attributes);
  const signature = derOf(0x03, Buffer.from([0]), sign("sha256", info, privateKey));
  const lines =
    derOf(0x30, info, derOf(0x30, ecdsaWithSha256), signature)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return {
    key: privateKey,
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    request: `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join("\n")}\n-----END CERTIFICATE REQUEST-----\n`,
  };
}

/**
 * The key of an enrolment whose answer did not come, or a new one, kept until there is a certificate for it: with the same token and key
 * the platform gives the same answer again.
 * @throws JilianError IDENTITY_UNWRITABLE
 */
export function pendingKey(dir: string): NewKey & { readonly settle: () => void } {
  const path = join(dir, pendingFile);
  const settle = () => rmSync(path, { force: true });
  try {
    const kept = createPrivateKey(readFileSync(path, "utf8"));
    if (kept.asymmetricKeyDetails?.namedCurve === "prime256v1") return { ...requestOf(kept), settle };
  } catch {
    // None is there, or a torn one that no certificate is for.
  }
  const made = newKey();
  putFile(path, made.keyPem, 0o600);
  return { ...made, settle };
}

function unusable(path: string, thrown: unknown): JilianError {
  return new JilianError(`${path} cannot be written: ${messageOf(thrown)}`, {
    code: "IDENTITY_UNWRITABLE",
    action: "write the gateway's certificate",
    address: path,
    remedy: "give a folder that the gateway's user may write in, on a medium with room",
    cause: thrown,
  });
}

/** A place for a file, taken before it is known what comes in: what cannot be written is found before anybody is asked for anything. */
export type Place = { readonly put: (text: string) => void; readonly giveUp: () => void };

/**
 * Takes a place beside a file. `put` puts the text in the file's stead in one step, on the disk when it returns.
 * Where root runs it the file gets the owner of its folder, which is whom the gateway runs as.
 * @throws JilianError IDENTITY_UNWRITABLE, as `put` does
 */
export function placeFor(path: string, mode: number): Place {
  const own = `${path}.${randomBytes(4).toString("hex")}.new`;
  const guarded = <T>(act: () => T): T => {
    try {
      return act();
    } catch (thrown) {
      rmSync(own, { force: true });
      throw unusable(path, thrown);
    }
  };
  const fd = guarded(() => openSync(own, "wx", 0o600));
  let isOpen = true;
  const close = () => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  return {
    put: (text) =>
      guarded(() => {
        // Not writeSync, which takes it for done when a medium that is nearly full takes a part.
        writeFileSync(fd, text);
        fsyncSync(fd);
        close();
        chmodSync(own, mode);
        const { uid, gid } = statSync(dirname(path));
        if (process.getuid?.() === 0) chownSync(own, uid, gid);
        renameSync(own, path);
        const folder = process.platform === "win32" ? undefined : openSync(dirname(path), "r");
        if (folder === undefined) return;
        fsyncSync(folder);
        closeSync(folder);
      }),
    giveUp: () => {
      close();
      rmSync(own, { force: true });
    },
  };
}

export function putFile(path: string, text: string, mode: number): void {
  const place = placeFor(path, mode);
  try {
    place.put(text);
  } finally {
    place.giveUp();
  }
}

/** Key and certificate as their one file holds them. */
export const identityText = (keyPem: string, certificate: string): string =>
  `${keyPem.trim()}\n${certificate.trim()}\n`;

/** What a folder remembers of the enrolment; undefined where nothing readable is there. */
export function readEnrolment(dir: string): Enrolment | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(dir, enrolmentFile), "utf8"));
    return isEnrolment(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A certificate that the platform has sent, held against what it must be: signed by its authority, for this key.
 * @throws JilianError ENROL_ANSWER
 */
export function checkedCertificate(pem: string, key: KeyObject, authorityPem: string): X509Certificate {
  const refuse = (found: string, cause?: unknown): never => {
    throw new JilianError(`the platform's answer cannot be used: ${found}`, {
      code: "ENROL_ANSWER",
      action: "get a certificate",
      remedy: "is this the platform's address? Send the message to the lead unit",
      cause,
    });
  };
  try {
    const [certificate, authority] = [new X509Certificate(pem), new X509Certificate(authorityPem)];
    if (!certificate.checkPrivateKey(key)) return refuse("the certificate is for another key");
    if (!certificate.checkIssued(authority) || !certificate.verify(authority.publicKey))
      return refuse("the certificate is not signed by the platform's authority");
    return certificate;
  } catch (thrown) {
    if (thrown instanceof JilianError) throw thrown;
    return refuse(messageOf(thrown), thrown);
  }
}
