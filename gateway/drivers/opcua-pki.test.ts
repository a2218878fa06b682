import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { pino } from "pino";
import { afterAll, expect, it } from "vitest";
import { temporaryFolder } from "../test-opcua.ts";
import { applicationUrisOf, openPki, type Pki } from "./opcua-pki.ts";

const folder = temporaryFolder();
afterAll(folder.remove);

/** Opens the certificates of a folder under an application URI. @returns the codes that were told, and the certificate then */
async function opened(name: string, applicationUri: string, before?: (pki: Pki) => Promise<unknown>) {
  const told: { code: string; found: string[] }[] = [];
  const log = pino({ level: "warn" }, { write: (text: string) => void told.push(JSON.parse(text)) });
  const pkiDir = join(folder.path, name);
  const pki = await openPki({ applicationUri, pkiDir, acceptUnknownCertificates: false }, log);
  await before?.(pki);
  await pki.close();
  const pem = readFileSync(pki.certificateFile, "utf8");
  return {
    told: told.map(({ code, found }) => [code, found]),
    uri: pki.applicationUri,
    pem,
    certs: readdirSync(dirname(pki.certificateFile)),
  };
}

it("makes another certificate for another application URI, and keeps the former one", async () => {
  const first = await opened("own", "urn:jilian:gateway:a:b");
  expect(applicationUrisOf(new X509Certificate(first.pem))).toEqual(["urn:jilian:gateway:a:b"]);
  const same = await opened("own", "urn:jilian:gateway:a:b");
  expect([same.pem, same.told, same.certs]).toEqual([first.pem, [], ["gateway.pem"]]);

  const other = await opened("own", "urn:x,y:gateway");
  expect(other.told).toEqual([["OPCUA_CERTIFICATE_REMADE", ["urn:jilian:gateway:a:b"]]]);
  const certificate = new X509Certificate(other.pem);
  expect(applicationUrisOf(certificate)).toEqual(["urn:x,y:gateway"]);
  // Of the same key: what servers knew of it is the certificate alone.
  expect(certificate.publicKey.equals(new X509Certificate(first.pem).publicKey)).toBe(true);
  const former = other.certs.find((name) => name !== "gateway.pem") ?? expect.fail("the former one is gone");
  expect(readFileSync(join(folder.path, "own", "own", "certs", former), "utf8")).toBe(first.pem);
  expect((await opened("own", "urn:x,y:gateway")).told).toEqual([]);
});

it("uses a self-signed certificate that it did not make under that one's own URI, and leaves it where it is", async () => {
  const { pem: ours } = await opened("made", "urn:jilian:gateway:a:b", ({ manager, certificateFile }) =>
    // Of the same key, as somebody makes it with the tools that they know.
    manager.createSelfSignedCertificate({
      applicationUri: "urn:plant:box",
      dns: ["box"],
      outputFile: certificateFile,
      subject: "/CN=Box 7/O=Plant",
      startDate: new Date(),
      validity: 100,
    }),
  );
  expect(applicationUrisOf(new X509Certificate(ours))).toEqual(["urn:plant:box"]);
  const { told, uri, pem, certs } = await opened("made", "urn:jilian:gateway:a:b");
  expect([told, uri, certs]).toEqual([
    [["OPCUA_CERTIFICATE_OTHER_URI", ["urn:plant:box"]]],
    "urn:plant:box",
    ["gateway.pem"],
  ]);
  expect(pem).toBe(ours);
  expect(await opened("made", "urn:plant:box")).toMatchObject({ told: [], uri: "urn:plant:box", pem: ours });
});

it("leaves the gateway's certificate where a command looks into its folder, and goes by that", async () => {
  const { pem } = await opened("shared", "urn:jilian:gateway:a:b");
  const options = { applicationUri: "urn:other", pkiDir: join(folder.path, "shared"), keepsCertificate: true };
  const pki = await openPki({ ...options, acceptUnknownCertificates: false }, pino({ level: "silent" }));
  await pki.close();
  expect([pki.applicationUri, readFileSync(pki.certificateFile, "utf8")]).toEqual(["urn:jilian:gateway:a:b", pem]);
});

it("says of a certificate that is none, or that of another key, what is to be done, and takes another one then", async () => {
  const put = (name: string, pem: string) =>
    opened(name, "urn:a:b", async (pki) => writeFileSync(pki.certificateFile, pem));
  const { pem: another } = await opened("another", "urn:a:b");
  for (const [i, [pem, why]] of Object.entries([
    ["", "cannot be read"],
    ["hello", "cannot be read"],
    [another, "another key"],
  ])) {
    const { pem: own } = await opened(`wrong-${i}`, "urn:a:b");
    await put(`wrong-${i}`, pem as string);
    await expect(opened(`wrong-${i}`, "urn:a:b")).rejects.toMatchObject({
      code: "OPCUA_CERTIFICATE_INVALID",
      message: expect.stringContaining(why as string),
      remedy: expect.stringContaining("remove it"),
    });
    const file = join(folder.path, `wrong-${i}`, "own", "certs", "gateway.pem");
    expect(readFileSync(file, "utf8")).toBe(pem);
    writeFileSync(file, own);
    expect((await opened(`wrong-${i}`, "urn:a:b")).told).toEqual([]);
  }
});

it.skipIf(!hasOpenssl)(
  "leaves a certificate that somebody else has signed, and uses it under its own URI",
  async () => {
    const names = "URI:urn:plant:box,DNS:box";
    const { certFile, keyFile } = makeAuthority(folder.path, "plant").issue("gateway", { names });
    for (const [from, to] of [
      [certFile, "certs/gateway.pem"],
      [keyFile, "private/private_key.pem"],
    ] as const) {
      mkdirSync(dirname(join(folder.path, "given", "own", to)), { recursive: true });
      copyFileSync(from, join(folder.path, "given", "own", to));
    }
    const { told, uri, pem } = await opened("given", "urn:jilian:gateway:a:b");
    expect(uri).toBe("urn:plant:box");
    expect(told).toEqual([["OPCUA_CERTIFICATE_OTHER_URI", ["urn:plant:box"]]]);
    expect(pem).toBe(readFileSync(certFile, "utf8"));
    expect((await opened("given", "urn:plant:box")).told).toEqual([]);
  },
);
