/** What one hostile factory can do to its neighbours: behind the same address, on the same broker, with a name that begins alike. */
import { type EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { certificateFolder, hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { pino } from "pino";
import { Value } from "typebox/value";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { brokerSchema } from "./config.ts";
import type { BrokerFault } from "./gate.ts";
import { createBacklog, lineBudget } from "./limits.ts";
import { newCounters } from "./stats.ts";
import { refusalTeller } from "./tell.ts";
import { secrets, type TestBroker, testBroker, until } from "./test-broker.ts";
import { connectPacket, header, rawClient } from "./test-wire.ts";

const { limits: usual } = Value.Create(brokerSchema);
let test: TestBroker;
const start = async (...setting: Parameters<typeof testBroker>) => {
  test = await testBroker(...setting);
  return test.broker;
};
afterEach(() => test.end());

/** Connections that say nothing, from an address of their own. */
function silent(count: number, port: number, localAddress: string): Socket[] {
  return Array.from({ length: count }, () => {
    const socket = connectTcp({ port, host: "127.0.0.1", localAddress });
    socket.on("error", () => {});
    return socket;
  });
}
/** The code that a log-in from an address is answered with; -1 where it is closed without an answer. */
async function logIn(localAddress: string, name: keyof typeof secrets, password: string, clientId: string = name) {
  const socket = connectTcp({ port: test.broker.port, host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  socket.write(connectPacket(clientId, name, password));
  const connack = await Promise.race([once(socket, "data"), once(socket, "close").then(() => [])]);
  socket.destroy();
  return (connack as Buffer[])[0]?.[3] ?? -1;
}

// Not every system gives the whole of 127/8 to itself.
describe.skipIf(process.platform === "darwin")("connections that say nothing", () => {
  it("of one address keep nobody at another out, whatever limit they fill", async () => {
    const broker = await start({ maxConnections: 50, connectTimeoutMs: 30_000 });
    const hostile = silent(50, broker.port, "127.0.0.2");
    await until(() => broker.stats().connections === 50, "all places are taken");
    const socket = await rawClient(broker.port, "ingest", "ingest", secrets.ingest);
    expect(broker.stats().connections, "the oldest of theirs has gone").toBe(50);
    expect(broker.stats().dropped.connections).toBe(1);
    for (const one of [...hostile, socket]) one.destroy();
    await until(() => broker.stats().connections === 0, "all are gone");
  });

  it("never push out who was let in", async () => {
    const broker = await start({ maxConnections: 3, connectTimeoutMs: 30_000 });
    const clients = await Promise.all(
      ["ingest-1", "ingest-2"].map((id) => rawClient(broker.port, id, "ingest", secrets.ingest)),
    );
    const hostile = silent(20, broker.port, "127.0.0.2");
    await until(() => broker.stats().dropped.connections >= 19, "19 are dropped");
    expect(broker.stats()).toMatchObject({ clients: 2, connections: 3 });
    for (const one of [...hostile, ...clients]) one.destroy();
  });

  it.skipIf(!hasOpenssl)("and handshakes that are never finished keep nobody at another address out", async () => {
    const folder = certificateFolder();
    const authority = makeAuthority(folder.dir, "ca");
    const tls = { port: 0, webSocketPort: 0, minVersion: "TLSv1.2" as const, ...authority.issue("broker") };
    const broker = await start({ tls, connectTimeoutMs: 30_000, limits: { handshakes: 20 } });
    const ca = readFileSync(authority.caFile, "utf8");
    const hostile = silent(20, broker.tlsPort as number, "127.0.0.2");
    await until(() => broker.stats().connections === 20, "all places are taken");
    const client = await test.connect("f1/gw-1", {
      protocol: "mqtts",
      host: "localhost",
      port: broker.tlsPort as number,
      ca,
    });
    expect(client.connected).toBe(true);
    for (const one of hostile) one.destroy();
    // The same of upgrades to WebSocket.
    const web = Array.from({ length: 20 }, () => {
      const socket = connectTls({
        port: broker.webSocketPort as number,
        host: "127.0.0.1",
        localAddress: "127.0.0.2",
        ca,
      } as object);
      socket.on("error", () => {});
      return socket;
    });
    await Promise.all(web.map((socket) => once(socket, "secureConnect")));
    const socket = new WebSocket(`wss://localhost:${broker.webSocketPort}/mqtt`, ["mqtt"], { ca });
    await once(socket, "open");
    socket.terminate();
    for (const one of web) one.destroy();
    folder.remove();
  });
});

describe.skipIf(process.platform === "darwin")("wrong passwords", () => {
  it("of one factory keep nobody out who shares its address and has logged in before", async () => {
    await start();
    expect(await logIn("127.0.0.1", "ingest", secrets.ingest)).toBe(0);
    const codes: number[] = [];
    for (let i = 0; i < 30; i += 1) codes.push(await logIn("127.0.0.1", "f3/gw-1", `guess ${i}`));
    expect(codes.at(-1), "guessing is slowed").toBe(3);
    expect(await logIn("127.0.0.1", "ingest", secrets.ingest), "the right one").toBe(0);
    expect(await logIn("127.0.0.9", "ingest", secrets.ingest), "from its next address").toBe(0);
    expect(await logIn("127.0.0.1", "ingest", "a wrong secret"), "its name alone").toBe(3);
    test.ledger.setCredential({ kind: "host", name: "ingest" }, "another secret");
    expect(await logIn("127.0.0.1", "ingest", secrets.ingest), "the old one").toBe(3);
  });
});

describe("a client id", () => {
  it("that begins with two names pushes out nobody: neither another account nor one of another enterprise", async () => {
    const broker = await start();
    test.ledger.setCredential({ kind: "viewer", name: "wall@ea-north", enterprise: "ea-north" }, "secret of the north");
    const north = await test.connect("wall@ea", {
      username: "wall@ea-north",
      password: "secret of the north",
      clientId: "wall@ea-north",
    });
    let isGone = false;
    (north as unknown as EventEmitter).once("close", () => {
      isGone = true;
    });
    const other = await test.connect("wall@ea", { clientId: "wall@ea-north" });
    await north.subscribeAsync("spBv1.0/#");
    expect([isGone, north.connected, other.connected, broker.stats().clients]).toEqual([false, true, true, 2]);
    // Within an account the new one takes the place of the old one, as MQTT asks for.
    const again = await test.connect("wall@ea", { clientId: "wall@ea-north" });
    await until(() => !other.connected, "its own old one is gone");
    expect([again.connected, broker.stats().clients]).toEqual([true, 2]);
  });
});

describe("births of one factory", () => {
  it("leave room for those of others", async () => {
    const size = 30_000;
    const broker = await start({ limits: { ...usual, birthBytes: 100_000 } });
    const [hostile, other] = await Promise.all([test.connect("f1/gw-1"), test.connect("f3/gw-1")]);
    for (const device of ["a", "b", "c", "d"])
      await hostile.publishAsync(`spBv1.0/f1/DBIRTH/gw-1/${device}`, Buffer.alloc(size), { qos: 1 });
    await other.publishAsync("spBv1.0/f3/NBIRTH/gw-1", Buffer.alloc(size), { qos: 1 });
    const viewer = await test.connect("wall@eb");
    const heard: string[] = [];
    viewer.on("message", (topic) => heard.push(topic));
    await viewer.subscribeAsync("$sparkplug/certificates/#");
    await until(() => heard.length > 0, "the birth that is kept");
    expect(heard).toEqual(["$sparkplug/certificates/spBv1.0/f3/NBIRTH/gw-1"]);
    expect(broker.stats().birthBytes).toBeLessThanOrEqual(100_000);
    // What has gone for it was told.
    expect(broker.stats().birthsDropped).toBeGreaterThan(0);
    expect(test.faults.map(({ code, subject }) => `${code} ${subject}`)).toContain("BROKER_BIRTH_NOT_KEPT f1/gw-1");
  });
});

describe("the log and the findings", () => {
  it("do not grow with each connection of somebody who was not let in", async () => {
    const broker = await start();
    for (let i = 0; i < 40; i += 1) {
      const socket = connectTcp(broker.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write(header(0x10, 20_000));
      await once(socket, "close");
    }
    expect(broker.stats().ended.oversize).toBe(40);
    const lines = test.logLines.filter((line) => line.includes("BROKER_PAYLOAD_TOO_LARGE")).length;
    expect(lines).toBeGreaterThan(0);
    expect(lines + broker.stats().linesNotLogged).toBe(40);
    expect(lines).toBeLessThan(30);
    expect(test.faults.at(-1)?.subject).toBe("127.0.0.1");
  });

  it("name the network of a stranger whose addresses are as many as he likes", async () => {
    await start();
    const lines: string[] = [];
    const faults: BrokerFault[] = [];
    const log = pino({}, { write: (line: string) => lines.push(line) });
    const told = {
      log,
      counters: newCounters(),
      report: (fault: BrokerFault) => faults.push(fault),
      lines: lineBudget(),
    };
    const refuse = refusalTeller(told, new Map());
    const refusal = { code: "BROKER_BAD_CREDENTIALS", reason: "wrong" };
    for (let i = 0; i < 100; i += 1) {
      const address = `2001:db8:1:2::${i}`;
      refuse("refusedConnects", refusal, { subject: address, address });
    }
    expect(lines.length).toBeLessThan(30);
    expect(new Set(faults.map(({ subject }) => subject))).toEqual(new Set(["2001:db8:1:2::/64"]));
    refuse("refusedConnects", refusal, { subject: "f1/gw-1", address: "2001:db8:1:2::1" });
    expect(faults.at(-1)?.subject).toBe("f1/gw-1");
  });
});

it("what waits for many clients of one enterprise ends one of them, and not who has a little more waiting for him alone", async () => {
  await start();
  const ended: string[] = [];
  const backlog = createBacklog(() => ({ clientBytes: 1e9, totalBytes: 1_000_000 }));
  const open = (name: string, owner: string) => {
    const socket = new Duplex({ read: () => {}, write: () => {}, highWaterMark: 1 });
    backlog.guard(
      socket,
      () => ended.push(name),
      () => owner,
    );
    return socket;
  };
  const host = open("ingest", "host ingest");
  const viewers = Array.from({ length: 10 }, (_, i) => open(`viewer ${i}`, "eb"));
  for (let i = 0; i < 64; i += 1) host.write(Buffer.alloc(2000));
  for (let i = 0; i < 128; i += 1) for (const viewer of viewers) if (!viewer.destroyed) viewer.write(Buffer.alloc(900));
  expect(ended.length).toBeGreaterThan(0);
  expect(ended).not.toContain("ingest");
  for (const one of [host, ...viewers]) one.destroy();
});
