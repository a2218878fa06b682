import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { copyFileSync, existsSync, readdirSync, readFileSync, renameSync, statSync, unlinkSync } from "node:fs";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { hasOpenssl } from "@jilian/domain/test-certificates.ts";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { reasonOf } from "../collect.ts";
import type { Driver } from "../model.ts";
import { startNetwork, startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { log, opcuaConfig, quick } from "../test-opcua-devices.ts";
import { gatewayDrivers } from "./drivers.ts";
import { openPki } from "./opcua-pki.ts";

/** Who may talk to whom: certificates, users, and what is said to the person who has to set them right. */
const folder = temporaryFolder();
const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
const user = { name: "jilian", password: "right" };
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ pkiDir: `${folder.path}/server`, user });
  server.set("a", { dataType: "Double", value: 1.5 });
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

const secure = (policy: string, mode = "SignAndEncrypt") => `${quick}, security: { mode: ${mode}; policy: ${policy} }`;
const login = (password: string) => `user: { name: jilian; password: ${password} }`;
const trusting = "{ acceptUnknownCertificates: true }";

function driverOf(extra: string, { opcua = trusting, endpointUrl = server.endpointUrl } = {}): Driver {
  const lines = extra.replaceAll("timeoutMs: 500", "timeoutMs: 1500");
  const device = { endpointUrl, extra: lines, tags: ["name: a, nodeId: NODE(a), type: float64"] };
  // Commas part the lines of a device; within a section they are written as semicolons.
  const config = opcuaConfig(folder.path, [{ ...device, extra: lines }], opcua);
  const drivers = gatewayDrivers(config, { clock: systemClock, log });
  const driver = drivers.create(config.devices[0] ?? expect.fail("no device"));
  closers.push(drivers.close, driver.close);
  return driver;
}

async function refusal(driver: Driver): Promise<JilianError> {
  const thrown = await driver.connect(never).catch((error: unknown) => error);
  return thrown instanceof JilianError ? thrown : expect.fail(`not refused: ${String(thrown)}`);
}

describe("an encrypted session with a user name", () => {
  it.each(["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"])("reads with %s", async (policy) => {
    const driver = driverOf(`${secure(policy)}, ${login("right")}`);
    await driver.connect(never);
    expect(await driver.read(never)).toMatchObject([{ tag: 0, value: 1.5, status: 0 }]);
    const [session] = server.sessions();
    expect(session?.channel?.securityPolicy).toContain(policy);
    expect(session?.clientDescription?.applicationUri).toBe("urn:jilian:gateway:factory:gateway");
    expect(session?.userIdentityToken).toMatchObject({ userName: "jilian" });
  });

  it("is one of the URI in a certificate that the gateway did not make: a server compares them", async () => {
    const extra = `${secure("Basic256Sha256")}, ${login("right")}`;
    const pkiDir = join(folder.path, "plant");
    const options = { applicationUri: "urn:plant:box", pkiDir, acceptUnknownCertificates: true };
    const pki = await openPki(options, log);
    await pki.manager.createSelfSignedCertificate({
      ...{ applicationUri: "urn:plant:box", dns: ["box"], subject: "/CN=Box 7", startDate: new Date(), validity: 100 },
      outputFile: pki.certificateFile,
    });
    await pki.close();
    const driver = driverOf(extra, { opcua: `{ pkiDir: ${pkiDir}, acceptUnknownCertificates: true }` });
    await driver.connect(never);
    expect(server.sessions()[0]?.clientDescription?.applicationUri).toBe("urn:plant:box");
  });

  it("goes by a certificate that was put there, or removed, while the gateway runs", async () => {
    const pkiDir = join(folder.path, "exchanged");
    const opcua = `{ pkiDir: ${pkiDir}, acceptUnknownCertificates: true }`;
    const driver = driverOf(`${secure("Basic256Sha256")}, ${login("right")}`, { opcua });
    const uriAtNextConnect = async () => {
      await driver.close();
      await driver.connect(never);
      return server.sessions()[0]?.clientDescription?.applicationUri;
    };
    const own = "urn:jilian:gateway:factory:gateway";
    expect(await uriAtNextConnect()).toBe(own);
    const options = { applicationUri: own, pkiDir, acceptUnknownCertificates: true };
    const { manager, certificateFile, close } = await openPki(options, log);
    const of = { applicationUri: "urn:plant:box", dns: ["box"], subject: "/CN=Box 7" };
    await manager.createSelfSignedCertificate({
      ...{ ...of, startDate: new Date(), validity: 100 },
      outputFile: certificateFile,
    });
    await close();
    expect(await uriAtNextConnect()).toBe("urn:plant:box");
    unlinkSync(certificateFile);
    expect(await uriAtNextConnect()).toBe(own);
    // Made by the gateway, not by the library, whose authors would stand in it.
    expect(new X509Certificate(readFileSync(certificateFile)).subject).toBe(`CN=Jilian gateway@${hostname()}`);
    copyFileSync(join(folder.path, "plant", "own", "certs", "gateway.pem"), certificateFile);
    await driver.close();
    expect(await refusal(driver)).toMatchObject({ code: "OPCUA_CERTIFICATE_INVALID", device: "machine" });
  });

  it.skipIf(!hasOpenssl)("tells of its own certificate that the server finds it made for something else", async () => {
    const pkiDir = join(folder.path, "useless");
    const pki = await openPki({ applicationUri: "urn:plant:box", pkiDir, acceptUnknownCertificates: true }, log);
    // As it is made by whoever knows web servers alone: no URI, no key usage.
    const args = ["req", "-x509", "-key", pki.manager.privateKey, "-out", pki.certificateFile, "-subj", "/CN=Box 8"];
    const { OPENSSL_CONF: _, ...env } = process.env;
    execFileSync("openssl", args, { env, stdio: "ignore" });
    await pki.close();
    const opcua = `{ pkiDir: ${pkiDir}, acceptUnknownCertificates: true }`;
    const error = await refusal(driverOf(`${secure("Basic256Sha256")}, ${login("right")}`, { opcua }));
    expect(error).toMatchObject({ code: "OPCUA_CLIENT_UNTRUSTED", remedy: expect.stringContaining("key usage") });
  });

  it("keeps the private key from others", () => {
    const key = join(folder.path, "outbox.db.pki", "own", "private");
    expect(statSync(key).mode & 0o077).toBe(0);
    expect(existsSync(join(folder.path, "outbox.db.pki", "own", "certs", "gateway.pem"))).toBe(true);
  });

  it("is refused with a wrong password, which nobody gets to see", async () => {
    const error = await refusal(driverOf(`${secure("Basic256Sha256")}, ${login("wr0ng")}`));
    expect(error).toMatchObject({ code: "OPCUA_USER_REJECTED", device: "machine", address: server.endpointUrl });
    expect(JSON.stringify(error) + reasonOf(error) + String(error.cause)).not.toContain("wr0ng");
    expect(server.sessions()).toEqual([]);
  });
});

it("an unknown server is refused, kept for a person to see, and trusted once they have moved its certificate", async () => {
  const pki = join(folder.path, "fresh");
  const extra = `${secure("Basic256Sha256")}, ${login("right")}`;
  const driver = driverOf(extra, { opcua: `{ pkiDir: ${pki} }` });
  const error = await refusal(driver);
  expect(error.code).toBe("OPCUA_SERVER_UNTRUSTED");
  const [rejected, ...more] = readdirSync(join(pki, "rejected"));
  expect(more).toEqual([]);
  const file = join(pki, "rejected", rejected ?? expect.fail("nothing was kept"));
  expect(error.remedy).toContain(`move "${file}" to "${join(pki, "trusted", "certs")}"`);
  expect((await refusal(driver)).code).toBe("OPCUA_SERVER_UNTRUSTED");
  renameSync(file, join(pki, "trusted", "certs", basename(file)));
  await driver.close();
  await expect.poll(() => driver.connect(never).then(() => "connected")).toBe("connected");
  expect(await driver.read(never)).toMatchObject([{ value: 1.5 }]);
});

describe("what the server does not offer is told with what it does", () => {
  it("security", async () => {
    const plain = await startTestServer({ pkiDir: `${folder.path}/server`, secured: false });
    closers.push(plain.stop);
    const { endpointUrl } = plain;
    const error = await refusal(driverOf(secure("Aes256_Sha256_RsaPss"), { endpointUrl }));
    expect(reasonOf(error)).toMatch(/OPCUA_NOT_OFFERED .*SignAndEncrypt with Aes256_Sha256_RsaPss; it offers None/);
    const unknown = await refusal(driverOf(`${quick}, ${login("right")}`, { endpointUrl }));
    expect(unknown.code).toBe("OPCUA_USER_REJECTED");
  });

  it("anonymous sessions where there is only a user, and a place where all are taken", async () => {
    const strict = await startTestServer({
      pkiDir: `${folder.path}/server`,
      user,
      allowAnonymous: false,
      maxSessions: 1,
    });
    closers.push(strict.stop);
    strict.set("a", { dataType: "Double", value: 1.5 });
    const { endpointUrl } = strict;
    const error = await refusal(driverOf(secure("Basic256Sha256"), { endpointUrl }));
    expect(reasonOf(error)).toMatch(/OPCUA_NOT_OFFERED .*anonymous sessions; it offers UserName/);
    const first = driverOf(`${secure("Basic256Sha256")}, ${login("right")}`, { endpointUrl });
    await first.connect(never);
    const second = await refusal(driverOf(`${secure("Basic256Sha256")}, ${login("right")}`, { endpointUrl }));
    expect(second.code).toBe("OPCUA_TOO_MANY_SESSIONS");
  });
});

describe("nobody there", () => {
  it("connection refused, within the time-out", async () => {
    const error = await refusal(driverOf(quick, { endpointUrl: "opc.tcp://127.0.0.1:9" }));
    expect(error).toMatchObject({ code: "OPCUA_CONNECT_REFUSED", address: "opc.tcp://127.0.0.1:9" });
  });

  it.each([quick, secure("Basic256Sha256")])("silence: the time-out (%#)", async (extra) => {
    const network = await startNetwork(() => server.port);
    closers.push(network.close);
    network.swallow(true);
    const startedMs = performance.now();
    const error = await refusal(driverOf(extra, { endpointUrl: `opc.tcp://127.0.0.1:${network.port}` }));
    expect(error.code).toBe("OPCUA_TIMEOUT");
    expect(performance.now() - startedMs).toBeLessThan(3000);
  });

  it("something that is no OPC UA server", async () => {
    const other = createServer((socket) => socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(
      0,
      "127.0.0.1",
    );
    await new Promise((resolve) => {
      other.once("listening", resolve);
    });
    closers.push(() => new Promise((resolve) => other.close(resolve)));
    const { port } = other.address() as { port: number };
    const error = await refusal(driverOf(quick, { endpointUrl: `opc.tcp://127.0.0.1:${port}` }));
    expect(error.code).toMatch(/^OPCUA_/);
    expect(error.remedy.length).toBeGreaterThan(10);
  });
});
