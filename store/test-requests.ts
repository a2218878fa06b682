/** For tests: keys of a kind, and signing requests for them as another program may send them. */
import { KeyObject, webcrypto } from "node:crypto";

const kinds = {
  "P-256": { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  "P-384": { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  "P-521": { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
  "RSA-1024": {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 1024,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  },
  "RSA-2048": {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  },
} as const;

export type TestRequest = { pem: string; key: KeyObject; keyPem: string };

/** @param altName a URI that the request asks for */
export async function signingRequest({
  kind = "P-256",
  subject = "",
  altName,
}: {
  kind?: keyof typeof kinds;
  subject?: string;
  altName?: string;
} = {}): Promise<TestRequest> {
  await import("reflect-metadata");
  const lib = await import("@peculiar/x509");
  const algorithm = kinds[kind];
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const request = await lib.Pkcs10CertificateRequestGenerator.create({
    ...{ name: subject, keys, signingAlgorithm: algorithm },
    extensions:
      altName === undefined ? [] : [new lib.SubjectAlternativeNameExtension([{ type: "url", value: altName }])],
  });
  const key = KeyObject.from(keys.privateKey);
  return { pem: request.toString("pem"), key, keyPem: key.export({ type: "pkcs8", format: "pem" }).toString() };
}
