import { X509Certificate } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PlatformConfig, readPlatformConfig, serviceNames } from "@jilian/deploy/config.ts";
import { freePort } from "@jilian/deploy/demo/prepare.ts";
import { enrolCommand as platformCommand } from "@jilian/deploy/enrol-command.ts";
import { type Platform, startPlatform } from "@jilian/deploy/platform.ts";
import { edge, gateway } from "@jilian/deploy/test-jilian.ts";
import { systemClock } from "@jilian/domain/clock.ts";
import { enrolCommand } from "@jilian/gateway/commands/enrol.ts";
import { readSetting } from "@jilian/gateway/commands/setting.ts";
import { call } from "@jilian/gateway/commands/test-io.ts";
import { identityText, newKey } from "@jilian/gateway/identity.ts";
import { startRenewal } from "@jilian/gateway/renewal.ts";
import type { GatewayStatus } from "@jilian/gateway/status.ts";
import { programs } from "@jilian/gateway/test-program.ts";
import { checkRequest, openAuthority } from "@jilian/store/authority.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { readRegistry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { afterAll, beforeAll, expect, it, vi } from "vitest";

/** From the command that makes a token to a gateway that sends, renews its certificate, and is cut off: real sockets, real TLS. */
const name = `${gateway.group}/${gateway.node}`;
const dayMs = 86_400_000;
const log = pino({ level: "silent" });
let dir = "";
let box = "";
let config: PlatformConfig;
let platform: Platform;

/** A ledger of another process, as a command opens it. */
function withLedger<T>(work: (ledger: Ledger) => T): T {
  const ledger = openLedger({ path: join(dir, "ledger.sqlite"), log });
  try {
    return work(ledger);
  } finally {
    ledger.close();
  }
}

/** A command of the platform: what it says, or with what it was refused. */
async function jilian(command: string, ...words: string[]): Promise<string> {
  let said = "";
  await platformCommand(command, words, {
    ...{ options: {}, config, baseDir: dir, dataDir: dir, withLedger, caller: "chen@platform" },
    gateways: () => new Set([name]),
    say: (text) => {
      said += text;
    },
    refuse: (text) => {
      throw new Error(text);
    },
  });
  return said;
}

/** Of a new box, as the platform keeps it. */
const gatewayYaml = (port: number) => `group: ${gateway.group}
node: ${gateway.node}
primaryHost: jilian
broker: { host: localhost, port: ${port}, tls: { caFile: platform-ca.pem, certFile: identity.pem, keyFile: identity.pem } }
outbox: { path: outbox.db }
devices:
  - { id: machine-1, driver: modbus-tcp, host: 127.0.0.1, unitId: 1, pollIntervalMs: 1000, tags: [{ name: a, table: holding, address: 1, type: uint16 }] }
`;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "jilian-enrol-"));
  box = join(dir, "box");
  for (const folder of [box, join(dir, "gateways", gateway.group)]) mkdirSync(folder, { recursive: true });
  copyFileSync(new URL("../deploy/demo/cluster.yaml", import.meta.url), join(dir, "cluster.yaml"));
  const port = await freePort();
  writeFileSync(join(dir, "gateways", gateway.group, `${gateway.node}.yaml`), gatewayYaml(port));
  const tls = "certFile: broker.pem, keyFile: broker.key";
  const text = `dataDir: .
registry: cluster.yaml
broker: { tls: { port: ${port}, ${tls} } }
api: { port: 0, tls: { ${tls} }, enrolment: { brokerHost: localhost, brokerPort: ${port}, gatewayDir: gateways } }
`;
  const read = readPlatformConfig(text, "platform.yaml", serviceNames);
  const registry = readRegistry(readFileSync(join(dir, "cluster.yaml"), "utf8"), "cluster.yaml");
  if (!read.ok || !registry.ok) throw new Error("the configuration has faults");
  config = read.value;
  expect(await jilian("certificates", "broker", "localhost,127.0.0.1")).toContain(join(dir, "broker.pem"));
  const parts = { registry: registry.value, clock: systemClock, clockSetting: undefined, log, baseDir: dir };
  platform = await startPlatform(serviceNames, config, parts);
});
afterAll(async () => {
  await platform.close();
  rmSync(dir, { recursive: true, force: true });
});

const urlOf = () => String(platform.apiUrl).replace("127.0.0.1", "localhost");
async function newToken(): Promise<{ token: string; fingerprint: string }> {
  const said = await jilian("enrol", name);
  const [, token = ""] = /token: +(\S+)/.exec(said) ?? [];
  const [, fingerprint = ""] = /--fingerprint (\S+)/.exec(said) ?? [];
  return { token, fingerprint };
}
const serialIn = (file: string) => new X509Certificate(readFileSync(join(box, file))).serialNumber;

/** Gives the box a certificate as it is eighty days after it was made. */
async function age(): Promise<{ serial: string; expiresMs: number }> {
  const authority = await openAuthority(dir);
  const { keyPem, request } = newKey();
  const old = await authority.issueGateway(gateway, await checkRequest(request), 90, Date.now() - 80 * dayMs);
  withLedger((ledger) => ledger.addCertificate({ ...gateway, ...old, renews: null }));
  writeFileSync(join(box, "identity.pem"), identityText(keyPem, old.pem));
  return old;
}

/** The gateway's connection, as its configuration has it. */
async function startNode() {
  const setting = await readSetting(join(box, "gateway.yaml"), false, (text) => {
    throw new Error(text);
  });
  const { port = 0, tls } = setting.config.broker;
  const nobody = { username: undefined, password: undefined } as unknown as object;
  return { setting, running: edge(box, { ...nobody, host: "localhost", port, tls }) };
}

it("gives a new box its certificate and configuration, and to nobody else", async () => {
  await expect(jilian("enrol", `${gateway.group}/gw-77`)).rejects.toThrow("is not in the registry");
  const { token, fingerprint } = await newToken();
  const target = ["--config", join(box, "gateway.yaml")];
  const enrol = (...args: string[]) => call(enrolCommand, args);
  // Before anything is sent: a platform that cannot be known, and one that is another.
  expect(await enrol(urlOf(), token, ...target)).toMatchObject({
    code: 1,
    err: expect.stringContaining("TLS_UNTRUSTED"),
  });
  const wrong = `sha256:${"0".repeat(64)}`;
  expect((await enrol(urlOf(), token, ...target, "--fingerprint", wrong)).err).toContain(`ENROL_FINGERPRINT`);
  expect(
    (await enrol(urlOf().replace("https", "http").replace("localhost", "example.org"), token, ...target)).code,
  ).toBe(2);
  expect(existsSync(join(box, "identity.pem"))).toBe(false);

  writeFileSync(join(box, "gateway.yaml"), "group: 【必填】\n");
  const done = await enrol(urlOf(), token.toLowerCase(), ...target, "--fingerprint", fingerprint);
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain(`this box is now ${name}`);
  expect(done.out).toContain("next: jilian-gateway check");
  expect(statSync(join(box, "identity.pem")).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(box, "gateway.yaml"), "utf8")).toContain("certFile: identity.pem");
  expect(readFileSync(join(box, "gateway.yaml.before"), "utf8")).toContain("必填");
  const [first] = withLedger((ledger) => ledger.certificates());
  expect(first).toMatchObject({ ...gateway, serial: serialIn("identity.pem") });
  expect(await jilian("certificates", name)).toMatch(new RegExp(`^${first?.serial} +${name} .*valid$`, "m"));
  // What the platform keeps of the key is its hash.
  for (const file of ["ledger.sqlite", "ledger.sqlite-wal"])
    expect(readFileSync(join(dir, file)).includes("PRIVATE KEY")).toBe(false);

  const again = await enrol(urlOf(), token, ...target, "--fingerprint", fingerprint);
  expect(again).toMatchObject({ code: 1, err: expect.stringContaining("ENROLMENT_REFUSED") });
  expect(serialIn("identity.pem")).toBe(first?.serial);
  // One that is the platform's already is left, and nothing told of another.
  const ca = join(dir, "authority.pem");
  const same = await enrol(urlOf(), (await newToken()).token, ...target, "--ca", ca);
  expect(same).toMatchObject({ code: 0, out: expect.not.stringContaining("gateway.yaml.before") });
  // A configuration that is filled in is kept when the gateway enrols anew; here by the authority's file.
  writeFileSync(join(box, "gateway.yaml"), `${readFileSync(join(box, "gateway.yaml"), "utf8")}# own\n`);
  const renewed = await enrol(urlOf(), (await newToken()).token, ...target, "--ca", ca);
  expect(renewed).toMatchObject({ code: 0, err: "" });
  expect(renewed.out).toContain("gateway.yaml.new");
  expect(serialIn("identity.pem")).not.toBe(first?.serial);
  const actions = withLedger((ledger) => ledger.audit({ limit: 10 })).map(({ action }) => action);
  expect(actions.sort()).toEqual([
    ...["certificate.broker", "certificate.issue", "certificate.issue", "certificate.issue"],
    ...["enrolment.refuse", "enrolment.token", "enrolment.token", "enrolment.token", "registry.apply"],
  ]);
});

it("renews the certificate of a running gateway without losing a reading, and cuts off one that is revoked", {
  timeout: 40_000,
}, async () => {
  const old = await age();
  const { setting, running } = await startNode();
  const { node, outbox } = running;
  const connects = () => node.stats().connects;
  await vi.waitFor(() => expect(node.stats()).toMatchObject({ born: true, connects: 1 }), 10_000);
  let written = 0;
  const writing = setInterval(() => {
    running.write(1);
    written += 1;
  }, 10);
  await vi.waitFor(() => expect(written).toBeGreaterThan(20), 5000);

  // The platform does not take the first attempts: shown, and tried again.
  const api = JSON.parse(readFileSync(join(box, "enrolment.json"), "utf8")) as { url: string };
  const wayTo = (url: string) => writeFileSync(join(box, "enrolment.json"), JSON.stringify({ ...api, url }));
  wayTo(`https://localhost:${await freePort()}/`);
  const told: string[] = [];
  const renewal = startRenewal({
    config: () => setting.config,
    onRenewed: () => node.reconnect("renewed certificate"),
    log: pino({ level: "info" }, { write: (line: string) => void told.push(line) }),
    ...{ lookMs: 50, retryMinMs: 20 },
  });
  try {
    await vi.waitFor(() => expect(renewal.stats()?.failures).toBeGreaterThan(1), 5000);
    expect(renewal.stats()).toMatchObject({
      renewals: 0,
      endsMs: old.expiresMs,
      lastFailure: { reason: expect.any(String) },
    });
    expect(told[0]).toContain("CERTIFICATE_NOT_RENEWED");
    expect(serialIn("identity.pem")).toBe(old.serial);
    wayTo(api.url);
    await vi.waitFor(() => expect(renewal.stats()?.renewals).toBe(1), 10_000);
    await vi.waitFor(() => expect(node.stats()).toMatchObject({ born: true, connects: 2 }), 10_000);
    expect(renewal.stats()).toMatchObject({ failures: 0, lastFailure: undefined });
    expect(renewal.stats()?.endsMs).toBeGreaterThan(Date.now() + 80 * dayMs);
  } finally {
    await renewal[Symbol.asyncDispose]();
  }
  const serial = serialIn("identity.pem");
  expect(withLedger((ledger) => ledger.certificate(serial))).toMatchObject({ renews: old.serial });
  // The old one is not what the connection lives by any more.
  await jilian("revoke", old.serial);
  const atRenewal = written;
  await vi.waitFor(() => expect(written).toBeGreaterThan(atRenewal + 100), 5000);
  clearInterval(writing);
  await vi.waitFor(() => expect(outbox.stats().pendingRecords).toBe(0), 15_000);
  expect([connects(), outbox.stats().droppedSamples]).toEqual([2, 0]);
  const telemetry = platform.running.telemetry;
  const series = (await telemetry?.series())?.filter(({ definition }) => ["a", "b"].includes(definition.name)) ?? [];
  const rows = await Promise.all(
    series.map(({ id }) => telemetry?.read({ series: id, fromMs: 0, toMs: Date.now() + dayMs }, 100_000)),
  );
  expect(rows.map((list) => list?.length)).toEqual([written, written]);

  const fromMs = performance.now();
  expect(await jilian("revoke", name)).toContain("withdrawn");
  await vi.waitFor(() => expect(node.stats().connected).toBe(false), 5000);
  expect(performance.now() - fromMs).toBeLessThan(5000);
  await vi.waitFor(
    () => expect(platform.running.broker?.stats().refusedByCode.get("BROKER_CERTIFICATE_REVOKED")).toBeGreaterThan(0),
    5000,
  );
  expect(await jilian("certificates")).not.toContain(" valid");
  await expect(jilian("revoke", name)).rejects.toThrow("no certificate, token or password");
  await expect(jilian("revoke", serial)).rejects.toThrow("no certificate");
  await running.close();
});

it("renews as the real program does: at its start, with a new connection, shown in its status", {
  timeout: 40_000,
}, async () => {
  const old = await age();
  const { start, end } = programs();
  try {
    const opsPort = await freePort();
    const program = start(["run", "--config", join(box, "gateway.yaml")], { JILIAN__ops__port: String(opsPort) });
    await vi.waitFor(() => expect(program.output.out).toContain('"CERTIFICATE_RENEWED"'), 15_000);
    expect(serialIn("identity.pem")).not.toBe(old.serial);
    const status = async () => {
      const asked = start(["status", "--json", "--config", join(box, "gateway.yaml")]);
      await asked.ended;
      return JSON.parse(asked.output.out) as GatewayStatus;
    };
    await vi.waitFor(async () => expect((await status()).broker).toMatchObject({ born: true }), 15_000);
    const { certificate } = await status();
    expect(certificate).toMatchObject({ failures: 0 });
    expect(Date.parse(certificate?.ends ?? "")).toBeGreaterThan(Date.now() + 80 * dayMs);
    const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text();
    expect(metrics).toContain("jilian_gateway_certificate_renewals_total 1\n");
    program.child.kill("SIGTERM");
    expect(await program.ended).toBe(0);
  } finally {
    await end();
  }
});
