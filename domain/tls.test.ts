import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Authority, certificateFolder, hasOpenssl, makeAuthority } from "./test-certificates.ts";
import { certificatesOf, tlsFault, tlsMaterial, validityFault } from "./tls.ts";

const read = (path: string) => readFileSync(path, "utf8");
const coded = (code: string) => {
  const error = new Error(code);
  return Object.assign(error, { code });
};

describe("what a failed connection means", () => {
  const nowMs = Date.UTC(1970, 0, 1, 0, 5);
  it.each([
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "TLS_UNTRUSTED", "tls.caFile"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "TLS_UNTRUSTED", "tls.caFile"],
    ["CERT_HAS_EXPIRED", "TLS_EXPIRED", "1970-01-01T00:05:00.000Z"],
    ["CERT_NOT_YET_VALID", "TLS_NOT_YET_VALID", "clock battery"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "TLS_HOSTNAME", "tls.serverName"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "TLS_NOT_SPOKEN", "8883"],
    ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLS_CLIENT_CERTIFICATE", "tls.certFile"],
    ["ERR_SSL_NO_PROTOCOLS_AVAILABLE", "TLS_HANDSHAKE", "versions"],
  ])("%s is %s", (found, code, inRemedy) => {
    expect(tlsFault(coded(found), nowMs)).toEqual({ code, remedy: expect.stringContaining(inRemedy) });
  });

  it("reads the reason out of the message where the code is a mere EPROTO", () => {
    const error = Object.assign(new Error("write EPROTO 40:error:0A00010B:SSL routines::wrong version number"), {
      code: "EPROTO",
    });
    expect(tlsFault(error, nowMs)?.code).toBe("TLS_NOT_SPOKEN");
  });

  it("is nothing of TLS when the way there fails", () => {
    expect(tlsFault(coded("ECONNREFUSED"), nowMs)).toBeUndefined();
    expect(tlsFault("text", nowMs)).toBeUndefined();
  });
});

describe.skipIf(!hasOpenssl)("files", () => {
  const folder = certificateFolder();
  let ca: Authority;
  beforeAll(() => {
    ca = makeAuthority(folder.dir, "ca");
  });
  afterAll(folder.remove);

  it("that belong together are given back", () => {
    const files = ca.issue("good");
    expect(tlsMaterial({ ...files, caFile: ca.caFile }, read)).toEqual({
      cert: read(files.certFile),
      key: read(files.keyFile),
      ca: read(ca.caFile),
    });
    expect(tlsMaterial({}, read)).toEqual({});
  });

  it("that do not are told by code and file", () => {
    const [a, b] = [ca.issue("a"), ca.issue("b")];
    const junk = join(folder.dir, "junk.pem");
    writeFileSync(junk, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    const thrownBy = (paths: Parameters<typeof tlsMaterial>[0]) => {
      try {
        tlsMaterial(paths, read);
      } catch (thrown) {
        return thrown;
      }
      return undefined;
    };
    expect(thrownBy({ certFile: a.certFile, keyFile: b.keyFile })).toMatchObject({ code: "TLS_KEY_MISMATCH" });
    expect(thrownBy({ ...a, certFile: "/nowhere.pem" })).toMatchObject({
      code: "TLS_FILE_UNREADABLE",
      address: "/nowhere.pem",
    });
    expect(thrownBy({ caFile: junk })).toMatchObject({ code: "TLS_FILE_INVALID", address: junk });
    expect(thrownBy({ caFile: a.keyFile })).toMatchObject({ code: "TLS_FILE_INVALID" });
    expect(thrownBy({ certFile: a.certFile, keyFile: a.certFile })).toMatchObject({ code: "TLS_FILE_INVALID" });
  });

  it("say when they end", () => {
    const { certFile } = ca.issue("short", { fromMs: -10_000, toMs: 60_000 });
    const [own] = certificatesOf(read(certFile), certFile);
    if (!own) throw new Error("no certificate");
    expect(validityFault(own, Date.now())).toBeUndefined();
    expect(validityFault(own, Date.now() + 120_000)).toMatchObject({ code: "TLS_EXPIRED" });
    expect(validityFault(own, 0)).toMatchObject({ code: "TLS_NOT_YET_VALID", remedy: expect.stringContaining("1970") });
  });
});
