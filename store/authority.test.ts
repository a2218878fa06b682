import { createPublicKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { authorityFiles, checkRequest, openAuthority } from "./authority.ts";
import { signingRequest } from "./test-requests.ts";

const dayMs = 86_400_000;
const gateway = { group: "f1", node: "gw-1" };
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "authority-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("the platform's authority", () => {
  it("is made once, whoever comes first, and its key is its owner's alone", async () => {
    const opened = await Promise.all(Array.from({ length: 4 }, () => openAuthority(folder)));
    expect(new Set(opened.map(({ certificate }) => certificate)).size).toBe(1);
    expect(readdirSync(folder).sort()).toEqual(["authority.key", "authority.pem"]);
    const files = authorityFiles(folder);
    expect(statSync(files.key).mode & 0o777).toBe(0o600);
    expect(readFileSync(files.certificate, "utf8")).not.toContain("PRIVATE");
    const own = new X509Certificate(readFileSync(files.certificate));
    expect([own.ca, own.verify(own.publicKey), own.publicKey.asymmetricKeyDetails?.namedCurve]).toEqual([
      true,
      true,
      "prime256v1",
    ]);
    expect(own.validToDate.getTime()).toBeGreaterThan(Date.now() + 19 * 365 * dayMs);
    expect((await openAuthority(folder)).certificate).toBe(opened[0]?.certificate);
  });

  it("says what is wrong with its file, and never replaces it", async () => {
    const files = authorityFiles(folder);
    writeFileSync(files.key, "torn");
    await expect(openAuthority(folder)).rejects.toMatchObject({ code: "AUTHORITY_UNUSABLE", address: files.key });
    expect(readFileSync(files.key, "utf8")).toBe("torn");
  });

  it("signs for a gateway, for TLS clients only, with a serial of chance; what the request says of itself does not count", async () => {
    const authority = await openAuthority(folder);
    const nowMs = Date.now();
    const request = await signingRequest({
      kind: "P-256",
      subject: "CN=f2/gw-9",
      altName: "urn:jilian:gateway:f2/gw-9",
    });
    const checked = await checkRequest(request.pem);
    const issued = await authority.issueGateway(gateway, checked, 90, nowMs);
    const made = new X509Certificate(issued.pem);
    expect(made.subjectAltName).toBe("URI:urn:jilian:gateway:f1/gw-1");
    expect(made.subject).toBe("O=f1\nCN=gw-1");
    // Extended key usage alone: 1.3.6.1.5.5.7.3.2 is clientAuth (RFC 5280, 4.2.1.12).
    expect([made.keyUsage, made.ca, authority.hasSigned(made)]).toEqual([["1.3.6.1.5.5.7.3.2"], false, true]);
    expect(made.serialNumber).toBe(issued.serial);
    expect(made.serialNumber).toMatch(/^[0-9A-F]{32}$/);
    expect(made.validToDate.getTime()).toBe(Math.floor((nowMs + 90 * dayMs) / 1000) * 1000);
    expect(made.checkPrivateKey(request.key)).toBe(true);
    const again = await authority.issueGateway(gateway, checked, 90, nowMs);
    expect(again.serial).not.toBe(issued.serial);
  });

  it("is not made anew in the place of one whose key is lost, and gives away no certificate of another", async () => {
    const files = authorityFiles(folder);
    const { certificate } = await openAuthority(folder);
    const [key, pem] = [readFileSync(files.key), readFileSync(files.certificate, "utf8")];
    rmSync(files.key);
    await expect(openAuthority(folder)).rejects.toMatchObject({ code: "AUTHORITY_UNUSABLE", address: files.key });
    expect(readdirSync(folder)).toEqual(["authority.pem"]);
    // The key was restored from a backup, and an authority of somebody else's lies beside it.
    writeFileSync(files.key, key, { mode: 0o600 });
    writeFileSync(files.certificate, "another");
    expect((await openAuthority(folder)).certificate).toBe(certificate);
    expect(readFileSync(files.certificate, "utf8")).toBe(pem);
    expect(readdirSync(folder).sort()).toEqual(["authority.key", "authority.pem"]);
  });

  it("signs nothing while the clock stands at 1970 or after its end, and is not made at 1970", async () => {
    await expect(openAuthority(folder, 5000)).rejects.toMatchObject({ code: "AUTHORITY_UNUSABLE" });
    expect(readdirSync(folder)).toEqual([]);
    const authority = await openAuthority(folder);
    const checked = await checkRequest((await signingRequest()).pem);
    for (const nowMs of [5000, Date.now() + 21 * 365 * dayMs]) {
      await expect(authority.issueGateway(gateway, checked, 90, nowMs)).rejects.toMatchObject({
        code: "AUTHORITY_UNUSABLE",
        remedy: expect.stringContaining("clock"),
      });
      await expect(authority.issueServer(["a"], 90, nowMs)).rejects.toMatchObject({ code: "AUTHORITY_UNUSABLE" });
    }
  });

  it("signs no certificate beyond its own end, and knows those of another authority", async () => {
    const old = await openAuthority(folder, Date.now() - 20 * 365 * dayMs + 10 * dayMs);
    const checked = await checkRequest((await signingRequest({ kind: "P-384" })).pem);
    const { expiresMs, pem } = await old.issueGateway(gateway, checked, 90, Date.now());
    expect(expiresMs).toBeLessThan(Date.now() + 11 * dayMs);
    for (const file of Object.values(authorityFiles(folder))) rmSync(file);
    expect((await openAuthority(folder)).hasSigned(new X509Certificate(pem))).toBe(false);
  });

  it("signs for names and addresses of the broker, for TLS servers only", async () => {
    const { pem, key } = await (await openAuthority(folder)).issueServer(
      ["mqtt.example", "10.1.2.3", "::1"],
      30,
      Date.now(),
    );
    const made = new X509Certificate(pem);
    expect(made.checkHost("mqtt.example")).toBe("mqtt.example");
    expect(made.checkIP("10.1.2.3")).toBe("10.1.2.3");
    expect(made.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(createPublicKey(key).export({ type: "spki", format: "pem" })).toBe(
      made.publicKey.export({ type: "spki", format: "pem" }),
    );
  });

  it("takes EC P-256, P-384 and RSA from 2048 bits on, signed by their own key, and nothing else", async () => {
    for (const kind of ["P-256", "P-384", "RSA-2048"] as const)
      expect((await checkRequest((await signingRequest({ kind })).pem)).keyHash).toMatch(/^[0-9a-f]{64}$/);
    const good = await signingRequest({ kind: "P-256" });
    const flipped = Buffer.from(good.pem.split("\n").slice(1, -1).join(""), "base64");
    flipped[flipped.length - 3] = (flipped[flipped.length - 3] as number) ^ 1;
    const asPem = (der: Buffer) =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
    const bad = [
      (await signingRequest({ kind: "RSA-1024" })).pem,
      (await signingRequest({ kind: "P-521" })).pem,
      asPem(flipped),
      asPem(flipped.subarray(0, 60)),
      good.pem.replaceAll("CERTIFICATE REQUEST", "CERTIFICATE"),
      generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString(),
      "",
      "x".repeat(8000),
    ];
    for (const pem of bad) await expect(checkRequest(pem)).rejects.toMatchObject({ code: "CSR_INVALID" });
  });
});
