import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { certificateWarnings } from "../commands/check-certificate.ts";
import { statusText } from "../commands/status.ts";
import { watchOpcuaLife } from "../opcua-life.ts";
import { startGateway } from "../run.ts";
import { statusTeller } from "../status.ts";
import { startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { collectOpcua, log, opcuaConfig, quick } from "../test-opcua-devices.ts";
import { lifeFault, ownLife } from "./opcua-own.ts";
import { openPki } from "./opcua-pki.ts";

/** The gateway's own certificate as time passes: whose it is that a server refuses, and that a person is told before. */
const folder = temporaryFolder();
const dayMs = 86_400_000;
const applicationUri = "urn:jilian:gateway:factory:gateway";
let server: TestServer;
const closers: (() => unknown)[] = [];
beforeAll(async () => {
  server = await startTestServer({ pkiDir: `${folder.path}/server` });
  server.set("a", { dataType: "Double", value: 1.5 });
  // As servers of plants are.
  server.trusted.automaticallyAcceptUnknownCertificate = false;
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

const pkiDirOf = (name: string) => join(folder.path, name);
const fileOf = (name: string) => join(pkiDirOf(name), "own", "certs", "gateway.pem");

/** Makes a certificate of the gateway that counts for some days from a day on; days from now. */
async function certify(name: string, startsIn: number, validity: number): Promise<void> {
  const pki = await openPki({ applicationUri, pkiDir: pkiDirOf(name), acceptUnknownCertificates: true }, log);
  await pki.manager.createSelfSignedCertificate({
    ...{ applicationUri, dns: ["box"], subject: "/CN=Box 7", validity, outputFile: pki.certificateFile },
    startDate: new Date(Date.now() + startsIn * dayMs),
  });
  await pki.close();
}

function configOf(name: string, security = "{ mode: SignAndEncrypt; policy: Basic256Sha256 }") {
  const extra = `${quick.replace("timeoutMs: 500", "timeoutMs: 3000")}, security: ${security}`;
  const device = { endpointUrl: server.endpointUrl, extra, tags: ["name: a, nodeId: NODE(a), type: float64"] };
  return opcuaConfig(folder.path, [device], `{ pkiDir: ${pkiDirOf(name)}, acceptUnknownCertificates: true }`);
}

const codeIn = (name: string, nowMs = Date.now()) => {
  const life = ownLife(configOf(name));
  return life && lifeFault(life, nowMs)?.code;
};

it.each([
  [
    "expired",
    -100,
    "OPCUA_CERTIFICATE_EXPIRED",
    /refuses \(Bad\w+\): this gateway's own OPC UA certificate \(.*gateway\.pem\) has expired on 20/,
  ],
  ["early", 5, "OPCUA_CERTIFICATE_NOT_YET", /this gateway's own OPC UA certificate .* is valid from 20[\d-]+ only/],
  ["strange", 0, "OPCUA_CLIENT_UNTRUSTED", /trust this gateway's certificate/],
])("a server's refusal tells whose certificate it is, and why: %s", async (name, startsIn, code, words) => {
  await certify(name, startsIn, 40);
  const { reasons, close } = collectOpcua(configOf(name));
  closers.push(close);
  await vi.waitFor(() => expect(reasons()).not.toEqual([]), { timeout: 10_000, interval: 20 });
  expect(reasons()[0]).toMatch(new RegExp(`^${code} `));
  expect(reasons()[0]).toMatch(words);
});

it("refuses a server's certificate that has expired with its days, and says that it is the server's", async () => {
  await certify("server-old", -300, 40);
  const pkiDir = pkiDirOf("gateway");
  const pki = await openPki({ applicationUri, pkiDir, acceptUnknownCertificates: true }, log);
  closers.push(pki.close);
  const { raw, validToDate } = new X509Certificate(readFileSync(fileOf("server-old")));
  const { trustedFolder } = pki.manager;
  copyFileSync(fileOf("server-old"), join(trustedFolder, "server.pem"));
  const target = { device: "plc", endpointUrl: "opc.tcp://h:4840", timeoutMs: 500 };
  const day = validToDate.toISOString().slice(0, 10);
  await expect(pki.verify(target, raw)).rejects.toMatchObject({
    code: "OPCUA_CLOCK_SKEW",
    message: expect.stringMatching(
      new RegExp(`^this gateway refuses the server's certificate, valid from 20\\S+ to ${day} \\(BadCertificateTime`),
    ),
  });
});

it("is told thirty days ahead, and otherwise once it has ended: by check, in the status and in the log", async () => {
  const name = "soon";
  const none = certificateWarnings(configOf(name), Date.now());
  await certify(name, -10, 39.5);
  const { endsMs } = ownLife(configOf(name)) ?? expect.fail("no certificate");
  expect([none, certificateWarnings(configOf(name), endsMs - 31 * dayMs)]).toEqual([[], []]);
  expect(codeIn(name, endsMs - 30.1 * dayMs)).toBeUndefined();
  expect(certificateWarnings(configOf(name), endsMs - 29.5 * dayMs)).toEqual([
    expect.stringMatching(/^OPCUA_CERTIFICATE_ENDS_SOON: .*in 29 days.*\n {2}remedy: before that put another/),
  ]);
  expect(certificateWarnings(configOf(name), endsMs)).toEqual([expect.stringMatching(/^OPCUA_CERTIFICATE_EXPIRED: /)]);
  // Nobody is shown it.
  expect(certificateWarnings(configOf(name, "{ mode: None }"), endsMs)).toEqual([]);

  const told: { level: number; code: string; remedy: string }[] = [];
  const ofLog = pino({ level: "warn" }, { write: (text: string) => void told.push(JSON.parse(text)) });
  let nowMs = endsMs - 31 * dayMs;
  using _ = watchOpcuaLife({ config: () => configOf(name), log: ofLog, lookMs: 10, nowMs: () => nowMs });
  expect(told).toEqual([]);
  for (const [aheadMs, code, level] of [
    [dayMs, "OPCUA_CERTIFICATE_ENDS_SOON", 40],
    [0, "OPCUA_CERTIFICATE_EXPIRED", 50],
  ] as const) {
    nowMs = endsMs - aheadMs;
    await vi.waitFor(() => expect(told.at(-1)).toMatchObject({ code, level, remedy: expect.any(String) }), 5000);
  }
  expect(told).toHaveLength(2);

  const gateway = startGateway(configOf(name), { log, clock: systemClock });
  closers.push(gateway.close);
  const status = statusTeller({ gateway, clock: systemClock })();
  expect(status.opcuaCertificate).toMatchObject({
    path: fileOf(name),
    ends: new Date(endsMs).toISOString(),
    fault: { code: "OPCUA_CERTIFICATE_ENDS_SOON" },
  });
  expect(statusText(status)).toMatch(
    /^OPC UA certificate {2}ends 20\S+; OPCUA_CERTIFICATE_ENDS_SOON: this gateway's own/m,
  );
  await certify(name, 0, 400);
  expect(statusText(statusTeller({ gateway, clock: systemClock })())).toMatch(/^OPC UA certificate {2}ends 20\S+Z$/m);
});

it("says of a certificate that is none what is wrong with it before the gateway runs", () => {
  mkdirSync(dirname(fileOf("none")), { recursive: true });
  writeFileSync(fileOf("none"), "hello");
  expect(certificateWarnings(configOf("none"), Date.now())).toEqual([
    expect.stringMatching(
      /^OPCUA_CERTIFICATE_INVALID: the gateway's own certificate cannot be read .*gateway\.pem\n {2}remedy:/,
    ),
  ]);
  using _ = watchOpcuaLife({ config: () => configOf("none"), log });
});

it("says of a certificate in DER, which the library takes for none, that it has to be PEM", async () => {
  const name = "binary";
  await certify(name, 0, 400);
  const { raw } = new X509Certificate(readFileSync(fileOf(name)));
  writeFileSync(fileOf(name), raw);
  const words = /^OPCUA_CERTIFICATE_INVALID.*cannot be read \(it is DER.*PEM/s;
  const [warning, ...more] = certificateWarnings(configOf(name), Date.now());
  expect([warning, more]).toEqual([expect.stringMatching(words), []]);
  const { reasons, close } = collectOpcua(configOf(name));
  closers.push(close);
  await vi.waitFor(() => expect(reasons()).not.toEqual([]), { timeout: 10_000, interval: 20 });
  expect(reasons()[0]).toMatch(words);
});
