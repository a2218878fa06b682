import { type EventEmitter, once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { type Authority, checkRequest, openAuthority } from "@jilian/store/authority.ts";
import { signingRequest } from "@jilian/store/test-requests.ts";
import type { IClientOptions, MqttClient } from "mqtt";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Name, type TestBroker, testBroker, until, willOf } from "./test-broker.ts";
import { connectByCertificate } from "./test-wire.ts";

const dayMs = 86_400_000;
const [own, others] = [
  { group: "f1", node: "gw-1" },
  { group: "f1", node: "gw-2" },
];
let folder = "";
let authority: Authority;
let foreign: Authority;
let files: { certFile: string; keyFile: string };
let test: TestBroker;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "broker-cert-"));
  for (const name of ["own", "foreign"]) mkdirSync(join(folder, name));
  authority = await openAuthority(join(folder, "own"));
  foreign = await openAuthority(join(folder, "foreign"));
  const { pem, key } = await authority.issueServer(["localhost", "127.0.0.1"], 30, Date.now());
  files = { certFile: join(folder, "broker.pem"), keyFile: join(folder, "broker.key") };
  writeFileSync(files.certFile, pem);
  writeFileSync(files.keyFile, key);
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => test.end());

async function start(caFile?: string): Promise<TestBroker> {
  const tls = { port: 0, minVersion: "TLSv1.2" as const, ...files, ...(caFile === undefined ? {} : { caFile }) };
  test = await testBroker({ tls }, { tlsPollMs: 20, authority: authority.certificate, revocationPollMs: 100 });
  return test;
}

type Identity = { cert: string; key: string; serial: string };
type Of = { days?: number; nowMs?: number; by?: Authority; isListed?: boolean };
async function identity(
  gateway = own,
  { days = 90, nowMs = Date.now(), by = authority, isListed = true }: Of = {},
): Promise<Identity> {
  const request = await signingRequest();
  const issued = await by.issueGateway(gateway, await checkRequest(request.pem), days, nowMs);
  if (isListed) test.ledger.addCertificate({ ...gateway, ...issued, renews: null });
  return { cert: issued.pem, key: request.keyPem, serial: issued.serial };
}

/** Connects over TLS with a certificate and, unless `over` says so, with neither user name nor password. */
function connect(name: Name, identity: Partial<Identity>, over: IClientOptions = {}): Promise<MqttClient> {
  const { serial: _, ...pair } = identity;
  const address = { protocol: "mqtts" as const, host: "localhost", port: test.broker.tlsPort as number };
  const nobody = { username: undefined, password: undefined } as unknown as IClientOptions;
  return test.connect(name, { ...address, ca: authority.certificate, ...nobody, ...pair, ...over });
}
const codeOf = (connecting: Promise<unknown>) =>
  connecting.then(
    () => "connected",
    (error: { code?: unknown }) => error.code,
  );
const closed = (client: MqttClient) =>
  once(client as unknown as EventEmitter, "close", { signal: AbortSignal.timeout(5000) });
const refusals = () => test.broker.stats().refusedByCode;

describe("a certificate of the platform's authority", () => {
  it("lets its gateway in without a password, and binds it as a user name does", async () => {
    await start();
    const heard: string[] = [];
    test.broker.bus.onMessage((topic) => heard.push(topic));
    const [first, second] = [await identity(), await identity(others)];
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const client = await connect("f1/gw-1", first, { maxVersion } as IClientOptions);
      await client.publishAsync("spBv1.0/f1/NDATA/gw-1", maxVersion, { qos: 1 });
      await client.endAsync();
    }
    expect(heard).toEqual(["spBv1.0/f1/NDATA/gw-1", "spBv1.0/f1/NDATA/gw-1"]);
    const victim = await connect("f1/gw-1", first);
    // Neither the id, nor the will, nor the topics of another, whatever it says of itself.
    expect(await codeOf(connect("f1/gw-1", second))).toBe(2);
    expect(await codeOf(connect("f1/gw-2", second, { will: willOf("f1/gw-1") }))).toBe(5);
    expect(await codeOf(connect("f1/gw-1", second, { username: "f1/gw-1" }))).toBe(5);
    expect(await codeOf(connect("ingest", second, { username: "ingest", password: "secret of ingest" }))).toBe(5);
    const hostile = await connect("f1/gw-2", second);
    const [granted] = await hostile.subscribeAsync("spBv1.0/f1/NCMD/gw-1", { qos: 1 }).catch(() => [{ qos: 128 }]);
    expect(granted?.qos).toBe(128);
    hostile.publish("spBv1.0/f1/NDATA/gw-1", "not mine");
    await closed(hostile);
    expect(heard.filter((topic) => topic.endsWith("/gw-1"))).toHaveLength(2);
    expect(victim.connected).toBe(true);
    expect(test.broker.stats().takeovers).toBe(0);
    expect(Object.fromEntries(refusals())).toMatchObject({
      BROKER_CLIENT_ID: 1,
      BROKER_WILL: 1,
      BROKER_CERTIFICATE_OTHER: 2,
    });
    expect(test.faults.find(({ code }) => code === "BROKER_CLIENT_ID")?.subject).toBe("f1/gw-2");
  });

  it("counts beside its own user name, and passwords go on to work", async () => {
    await start();
    const password = { username: "f1/gw-1", password: "secret of gw-1" };
    expect(await codeOf(connect("f1/gw-1", {}, password))).toBe("connected");
    expect(await codeOf(connect("f1/gw-1", await identity(), { username: "f1/gw-1", password: "another" }))).toBe(
      "connected",
    );
    expect(await codeOf(connect("ingest", {}, { username: "ingest", password: "secret of ingest" }))).toBe("connected");
    // Of another authority it proves nothing, and hinders nothing.
    const strange = await identity(own, { by: foreign });
    expect(await codeOf(connect("f1/gw-1", strange, password))).toBe("connected");
    expect(await codeOf(connect("f1/gw-1", {}, { ...password, password: "wrong" }))).toBe(4);
    expect(await codeOf(connect("f1/gw-1", {}))).toBe(4);
  });

  it("is refused when it has ended, is foreign, not in the ledger, or revoked", async () => {
    await start();
    const revoked = await identity();
    test.ledger.revokeCertificate(revoked.serial, Date.now());
    const cases = {
      BROKER_CERTIFICATE_EXPIRED: await identity(own, { days: 1, nowMs: Date.now() - 2 * dayMs }),
      BROKER_CERTIFICATE_FOREIGN: await identity(own, { by: foreign }),
      BROKER_CERTIFICATE_REVOKED: revoked,
    };
    for (const [code, one] of Object.entries(cases)) {
      expect(await codeOf(connect("f1/gw-1", one)), code).toBe(5);
      expect(refusals().get(code)).toBe(1);
    }
    expect(await codeOf(connect("f1/gw-1", await identity(own, { isListed: false })))).toBe(5);
    expect(refusals().get("BROKER_CERTIFICATE_REVOKED")).toBe(2);
    // A revoked certificate is refused with its password too; one who proves nothing is no subject of a finding.
    expect(await codeOf(connect("f1/gw-1", revoked, { username: "f1/gw-1", password: "secret of gw-1" }))).toBe(5);
    const subjects = test.faults.map(({ code, subject }) => [code, subject]);
    expect(subjects).toContainEqual(["BROKER_CERTIFICATE_REVOKED", "f1/gw-1"]);
    expect(subjects.find(([code]) => code === "BROKER_CERTIFICATE_FOREIGN")?.[1]).toMatch(/127\.0\.0\.1$/);
    expect(test.broker.stats().clients).toBe(0);
  });

  it("is asked for again when a TLS session is resumed: one that was revoked meanwhile is refused", async () => {
    await start();
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const { cert, key, serial } = await identity();
      const open = (session?: Buffer) => {
        const address = { port: test.broker.tlsPort as number, host: "localhost" };
        const tls = { ca: authority.certificate, maxVersion, ...(session ? { session } : {}) };
        const socket = connectTls({ ...address, ...tls, cert, key });
        socket.write(connectByCertificate("f1/gw-1"));
        return socket;
      };
      const first = open();
      const [told, answered] = await Promise.all([once(first, "session"), once(first, "data")]);
      const [session, accepted] = [told[0] as Buffer, answered[0] as Buffer];
      expect(accepted[3]).toBe(0);
      first.destroy();
      test.ledger.revokeCertificate(serial, Date.now());
      const again = open(session);
      const [refused] = (await once(again, "data")) as Buffer[];
      expect([again.isSessionReused(), refused?.[3]]).toEqual([true, 5]);
      again.destroy();
    }
    expect(refusals().get("BROKER_CERTIFICATE_REVOKED")).toBe(2);
  });

  it("does for the broker's own certificate nothing: a server's is no gateway's", async () => {
    await start();
    const server = { cert: readFileSync(files.certFile, "utf8"), key: readFileSync(files.keyFile, "utf8") };
    expect(await codeOf(connect("f1/gw-1", server))).toBe(5);
    expect(refusals().get("BROKER_CERTIFICATE_FOREIGN")).toBe(1);
  });

  it("stays in force when the broker's certificate is renewed, and beside an authority of the configuration", async () => {
    await start();
    const gateway = await identity();
    const { pem, key } = await authority.issueServer(["localhost"], 30, Date.now());
    const before = readFileSync(files.certFile);
    copyFileSync(files.keyFile, join(folder, "kept.key"));
    writeFileSync(files.keyFile, key);
    writeFileSync(files.certFile, pem);
    await until(() => test.logLines.join("").includes("renewed certificate of the broker"), "taken up");
    expect(await codeOf(connect("f1/gw-1", gateway))).toBe("connected");
    writeFileSync(files.certFile, before);
    copyFileSync(join(folder, "kept.key"), files.keyFile);
    await test.end();
    const caFile = join(folder, "ca.pem");
    writeFileSync(caFile, foreign.certificate);
    await start(caFile);
    expect(await codeOf(connect("f1/gw-1", await identity()))).toBe("connected");
    const theirs = await identity(own, { by: foreign });
    expect(await codeOf(connect("f1/gw-1", theirs, { username: "f1/gw-1", password: "secret of gw-1" }))).toBe(
      "connected",
    );
    expect(await codeOf(connect("f1/gw-1", {}, { username: "f1/gw-1", password: "secret of gw-1" }))).not.toBe(
      "connected",
    );
  });
});

describe("withdrawn access", () => {
  it("ends open connections within seconds, their will told, and those of nobody else", async () => {
    await start();
    const heard: string[] = [];
    test.broker.bus.onMessage((topic) => heard.push(topic));
    const [first, second] = [await identity(), await identity(others)];
    const [cut, stays] = [await connect("f1/gw-1", first), await connect("f1/gw-2", second)];
    const host = await test.connect("ingest");
    const startedMs = performance.now();
    expect(test.ledger.revokeCertificate(first.serial, Date.now())).toBe(true);
    await closed(cut);
    expect(performance.now() - startedMs).toBeLessThan(5000);
    await until(() => heard.includes("spBv1.0/f1/NDEATH/gw-1"), "its death is told");
    expect(test.faults).toContainEqual({
      code: "BROKER_ACCESS_WITHDRAWN",
      subject: "f1/gw-1",
      detail: "its certificate was revoked",
    });
    expect(await codeOf(connect("f1/gw-1", first))).toBe(5);
    await stays.publishAsync("spBv1.0/f1/NDATA/gw-2", "on", { qos: 1 });
    expect([stays.connected, host.connected, test.broker.stats().withdrawn]).toEqual([true, true, 1]);
  });

  it("ends connections whose password was withdrawn or replaced", async () => {
    await start();
    const [first, second] = [await test.connect("f1/gw-1"), await test.connect("f1/gw-2")];
    const host = await test.connect("ingest");
    const ends = [closed(first), closed(second)];
    test.ledger.revokeCredential("gateway", "f1/gw-1");
    await ends[0];
    expect(second.connected).toBe(true);
    test.ledger.setCredential({ kind: "gateway", name: "f1/gw-2", ...others }, "another secret");
    await ends[1];
    expect(test.faults.map(({ detail }) => detail)).toEqual([
      "its password was withdrawn",
      "its password was replaced",
    ]);
    expect(await codeOf(test.connect("f1/gw-2", { password: "another secret" }))).toBe("connected");
    expect(host.connected).toBe(true);
  });

  it("ends a connection whose certificate ends while it is open", async () => {
    await start();
    const soon = await identity(own, { days: 1, nowMs: Date.now() - dayMs + 3000 });
    const client = await connect("f1/gw-1", soon);
    await closed(client);
    expect(test.faults).toContainEqual({
      code: "BROKER_ACCESS_WITHDRAWN",
      subject: "f1/gw-1",
      detail: "its certificate has ended",
    });
  });
});
