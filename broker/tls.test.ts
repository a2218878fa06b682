import { type EventEmitter, once } from "node:events";
import { copyFileSync, readFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import {
  type Authority,
  certificateFolder,
  hasOpenssl,
  makeAuthority,
  makeWeak,
} from "@jilian/domain/test-certificates.ts";
import { Value } from "typebox/value";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { brokerFaults, brokerSchema, plainPort } from "./config.ts";
import { secrets, type TestBroker, testBroker, until, willOf } from "./test-broker.ts";
import { connectPacket, header, publishPacket } from "./test-wire.ts";

const read = (path: string) => readFileSync(path, "utf8");
const minute = 60_000;

it("listens without TLS only when told to, once there is TLS", () => {
  const tls = { certFile: "c", keyFile: "k", port: 8883, minVersion: "TLSv1.2" } as const;
  expect([plainPort({}), plainPort({ port: 1884 }), plainPort({ tls }), plainPort({ tls, port: 1883 })]).toEqual([
    1883,
    1884,
    undefined,
    1883,
  ]);
  const config = { ...Value.Create(brokerSchema), host: "h", tls };
  expect(brokerFaults({ ...config, port: 8883 })).toHaveLength(1);
  expect(brokerFaults({ ...config, port: 1883 })).toEqual([]);
});

describe.skipIf(!hasOpenssl)("a broker with TLS", () => {
  const folder = certificateFolder();
  let ca: Authority;
  let other: Authority;
  let test: TestBroker;
  beforeAll(() => {
    ca = makeAuthority(folder.dir, "ca");
    other = makeAuthority(folder.dir, "other");
  });
  afterAll(folder.remove);
  afterEach(() => test.end());

  type Over = { caFile?: string; minVersion?: "TLSv1.3"; connectTimeoutMs?: number; maxConnections?: number };
  const limits = { address: { handshakesAtOnce: 1000, handshakesPerSecond: 1000 } };
  async function start(
    files = ca.issue("broker"),
    { connectTimeoutMs, maxConnections, ...tls }: Over = {},
    tlsPollMs = 20,
  ) {
    const bounds = {
      limits,
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      ...(maxConnections === undefined ? {} : { maxConnections }),
    };
    const config = { tls: { port: 0, minVersion: "TLSv1.2" as const, ...files, ...tls }, ...bounds };
    test = await testBroker(config, { tlsPollMs });
    return test.broker;
  }
  const secure = { ca: () => read(ca.caFile) };
  type Options = Parameters<TestBroker["connect"]>[1] & Pick<ConnectionOptions, "minVersion" | "maxVersion">;
  const client = (over: Options = {}) =>
    test.connect("f1/gw-1", {
      protocol: "mqtts",
      host: "localhost",
      port: test.broker.tlsPort as number,
      ca: secure.ca(),
      ...over,
    });
  const codeOf = (connecting: Promise<unknown>) =>
    connecting.then(
      () => "connected",
      (error: { code?: unknown }) => error.code,
    );

  /** The certificate that the broker shows now. */
  async function shown(port: number): Promise<string> {
    const socket: TLSSocket = connectTls({ port, host: "127.0.0.1", ca: secure.ca() });
    await once(socket, "secureConnect");
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return String(subject.CN);
  }

  async function gone(socket: Socket): Promise<void> {
    socket.on("error", () => {});
    await once(socket, "close", { signal: AbortSignal.timeout(5000) });
  }

  it("carries a client that trusts its authority, beside a listener without TLS that was asked for", async () => {
    const broker = await start();
    const heard: string[] = [];
    broker.bus.onMessage((topic) => heard.push(topic));
    const secured = await client();
    const plain = await test.connect("f1/gw-2");
    await secured.publishAsync("spBv1.0/f1/NDATA/gw-1", Buffer.alloc(20_000), { qos: 1 });
    await plain.publishAsync("spBv1.0/f1/NDATA/gw-2", "plain", { qos: 1 });
    expect(heard).toEqual(["spBv1.0/f1/NDATA/gw-1", "spBv1.0/f1/NDATA/gw-2"]);
    const stats = broker.stats();
    expect(stats).toMatchObject({ clients: 2, connections: 2, tlsHandshakes: 1, tlsFailures: 0 });
    expect(stats.bytesReceived).toBeGreaterThan(20_000);
    expect(stats.certificateEndsMs).toBeGreaterThan(Date.now());
    await secured.endAsync();
    await until(() => broker.stats().connections === 1, "the connection is gone");
    expect(broker.stats().bytesReceived).toBeGreaterThan(20_000);
  });

  it("is refused by clients for what is wrong with its certificate", async () => {
    await start();
    expect(await codeOf(client({ ca: read(other.caFile) }))).toMatch(/UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/);
    expect(await codeOf(client({ servername: "elsewhere.example" }))).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    await until(() => test.broker.stats().tlsFailures > 0, "a failed handshake is counted");
    await test.end();
    await start(ca.issue("old", { fromMs: -10 * minute, toMs: -minute }));
    expect(await codeOf(client())).toBe("CERT_HAS_EXPIRED");
    expect(test.logLines.join("")).toMatch(/"code":"TLS_EXPIRED".*no client will trust the broker/);
    await test.end();
    await start(ca.issue("early", { fromMs: 10 * minute }));
    expect(await codeOf(client())).toBe("CERT_NOT_YET_VALID");
  });

  it("asks for a client certificate where it knows an authority of clients, and still for the password", async () => {
    await start(ca.issue("broker"), { caFile: ca.caFile });
    const [own, foreign] = [ca.issue("gw-1"), other.issue("gw-1")];
    const pair = ({ certFile, keyFile }: typeof own) => ({ cert: read(certFile), key: read(keyFile) });
    expect(await codeOf(client())).not.toBe("connected");
    expect(await codeOf(client(pair(foreign)))).not.toBe("connected");
    expect(await codeOf(client({ ...pair(own), password: "wrong" }))).toBe(4);
    expect(await codeOf(client(pair(own)))).toBe("connected");
    expect(test.broker.stats().tlsFailures).toBe(2);
  });

  it("refuses old versions of TLS", async () => {
    const broker = await start(ca.issue("broker"), { minVersion: "TLSv1.3" });
    expect(await codeOf(client({ maxVersion: "TLSv1.2" }))).toMatch(/ERR_SSL|EPROTO|ECONNRESET/);
    expect(await codeOf(client({ minVersion: "TLSv1.3" }))).toBe("connected");
    expect(broker.stats()).toMatchObject({ tlsHandshakes: 1, tlsFailures: 1 });
  });

  it("ends a client without TLS and one that never finishes its handshake", async () => {
    const broker = await start(ca.issue("broker"), { connectTimeoutMs: 300 });
    const port = broker.tlsPort as number;
    const plain = connectTcp(port, "127.0.0.1");
    plain.write(connectPacket("f1/gw-1", "f1/gw-1", secrets["f1/gw-1"]));
    await gone(plain);
    const startedMs = performance.now();
    const silent = connectTcp(port, "127.0.0.1");
    await gone(silent);
    expect(performance.now() - startedMs).toBeGreaterThan(250);
    await until(() => broker.stats().connections === 0, "both are forgotten");
    expect(broker.stats()).toMatchObject({ clients: 0, tlsHandshakes: 0, tlsFailures: 2 });
    expect(test.logLines.join("")).not.toContain(secrets["f1/gw-1"]);
  });

  it("ends one that finished its handshake and never sends CONNECT", async () => {
    const broker = await start(ca.issue("broker"), { connectTimeoutMs: 300 });
    const silent = connectTls({ port: broker.tlsPort as number, host: "127.0.0.1", ca: secure.ca() });
    await once(silent, "secureConnect");
    await gone(silent);
    await until(() => broker.stats().connections === 0, "it is forgotten");
    expect(broker.stats()).toMatchObject({ tlsHandshakes: 1, tlsFailures: 0 });
  });

  it("bounds handshakes that are under way: what is beyond is closed at once, and the others are let in", async () => {
    const broker = await start();
    const silent = Array.from({ length: 300 }, () => connectTcp(broker.tlsPort as number, "127.0.0.1"));
    for (const socket of silent) socket.on("error", () => {});
    await until(() => broker.stats().dropped.handshakes === 300 - 256, "44 are dropped");
    expect(broker.stats().connections).toBe(256);
    for (const socket of silent) socket.destroy();
    await until(() => broker.stats().connections === 0, "all are gone");
    expect(await codeOf(client())).toBe("connected");
  });

  it("counts connections over both ports", async () => {
    const broker = await start(ca.issue("broker"), { maxConnections: 2 });
    await test.connect("f1/gw-2");
    await client();
    const third = connectTcp(broker.port, "127.0.0.1");
    await gone(third);
    const fourth = connectTcp(broker.tlsPort as number, "127.0.0.1");
    await gone(fourth);
    expect(broker.stats()).toMatchObject({ connections: 2, dropped: { connections: 2 } });
  });

  it("holds the limits of a packet inside TLS too", async () => {
    const broker = await start();
    const socket = connectTls({ port: broker.tlsPort as number, host: "127.0.0.1", ca: secure.ca() });
    await once(socket, "secureConnect");
    socket.write(header(0x10, 20_000));
    await gone(socket);
    expect(broker.stats().ended.oversize).toBe(1);
    const accepted = connectTls({ port: broker.tlsPort as number, host: "127.0.0.1", ca: secure.ca() });
    await once(accepted, "secureConnect");
    accepted.write(connectPacket("ingest", "ingest", secrets.ingest));
    await once(accepted, "data");
    accepted.write(publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.alloc(1000)));
    accepted.write(header(0x30, 200_000_000));
    await gone(accepted);
    expect(broker.stats()).toMatchObject({ ended: { oversize: 2 }, messages: 1 });
  });

  it("ends its TLS clients when it closes, wills told, and frees both ports", async () => {
    const broker = await start();
    const told: string[] = [];
    broker.bus.onMessage((topic) => told.push(topic));
    const victim = await client({ will: willOf("f1/gw-1") });
    const stalled = connectTcp(broker.tlsPort as number, "127.0.0.1");
    await until(() => broker.stats().connections === 2, "both are there");
    const ends = Promise.all([once(victim as unknown as EventEmitter, "close"), gone(stalled)]);
    await broker.close();
    await ends;
    expect(told).toEqual(["spBv1.0/f1/NDEATH/gw-1"]);
    const again = connectTcp(broker.tlsPort as number, "127.0.0.1");
    const [error] = (await once(again, "error")) as [{ code: string }];
    expect(error.code).toBe("ECONNREFUSED");
  });

  it("takes up a renewed certificate without a new start, and keeps the old one while the files do not match", async () => {
    const first = ca.issue("first");
    const files = { certFile: join(folder.dir, "live.pem"), keyFile: join(folder.dir, "live.key") };
    const put = (from: typeof first, keys: (keyof typeof first)[]) => {
      for (const key of keys) copyFileSync(from[key], files[key]);
    };
    put(first, ["certFile", "keyFile"]);
    const broker = await start(files);
    const port = broker.tlsPort as number;
    const lasting = await client();
    expect(await shown(port)).toBe("first");
    const second = ca.issue("second");
    put(second, ["certFile"]);
    await until(() => test.logLines.join("").includes("TLS_KEY_MISMATCH"), "the mismatch is told");
    expect(await shown(port)).toBe("first");
    put(second, ["keyFile"]);
    await until(() => test.logLines.join("").includes("renewed certificate of the broker"), "taken up");
    expect(await shown(port)).toBe("second");
    await lasting.publishAsync("spBv1.0/f1/NDATA/gw-1", "still connected", { qos: 1 });
    const told = (code: string) => test.logLines.filter((line) => line.includes(code)).length;
    expect(told("TLS_KEY_MISMATCH")).toBe(1);
    makeWeak(files);
    await until(() => told("ERR_SSL_EE_KEY_TOO_SMALL") > 0, "what cannot be served");
    put(first, ["certFile"]);
    await until(() => told("TLS_KEY_MISMATCH") > 1, "the next fault");
    expect([told("ERR_SSL_EE_KEY_TOO_SMALL"), await shown(port)]).toEqual([1, "second"]);

    await test.end();
    put(second, ["certFile", "keyFile"]);
    await start(files, {}, 60_000);
    put(first, ["certFile", "keyFile"]);
    const renew = () =>
      test.broker.reload({ ...Value.Create(brokerSchema), tls: { port: 0, minVersion: "TLSv1.2", ...files } });
    renew();
    expect(await shown(test.broker.tlsPort as number), "at once when it is told to").toBe("first");
    makeWeak(files);
    for (let i = 0; i < 2; i += 1) renew();
    expect(await shown(test.broker.tlsPort as number), "what cannot be served").toBe("first");
    expect(told("ERR_SSL_EE_KEY_TOO_SMALL"), "who asks is told").toBe(2);
    put(second, ["certFile", "keyFile"]);
    renew();
    expect(await shown(test.broker.tlsPort as number)).toBe("second");
  });

  it("does not start with files that are wrong", async () => {
    const [a, b] = [ca.issue("a"), ca.issue("b")];
    await start(a);
    const starting = (files: typeof a) =>
      testBroker({ tls: { port: 0, minVersion: "TLSv1.2", ...files } }).then(
        () => undefined,
        (thrown) => thrown,
      );
    expect(await starting({ ...a, keyFile: b.keyFile })).toMatchObject({
      code: "TLS_KEY_MISMATCH",
      remedy: expect.any(String),
    });
    expect(await starting({ ...a, certFile: "/nowhere.pem" })).toMatchObject({ code: "TLS_FILE_UNREADABLE" });
  });
});

it("warns loudly when it listens without TLS where others reach it", async () => {
  const exposed = await testBroker({ host: "0.0.0.0" });
  const loopback = await testBroker();
  expect(exposed.logLines.join("")).toContain("BROKER_PLAIN_EXPOSED");
  expect(loopback.logLines.join("")).not.toContain("BROKER_PLAIN_EXPOSED");
  await Promise.all([exposed.end(), loopback.end()]);
});
