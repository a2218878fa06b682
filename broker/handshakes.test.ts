import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { PassThrough } from "node:stream";
import { connect as connectTls } from "node:tls";
import { type Authority, certificateFolder, hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { Value } from "typebox/value";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { brokerSchema } from "./config.ts";
import { entrance } from "./entrance.ts";
import { handshakeBudget } from "./limits.ts";
import { type TestBroker, testBroker, until } from "./test-broker.ts";

const base = Value.Create(brokerSchema);

it("lets a plant of forty gateways behind one address come back at once, twice, and then ten a second", () => {
  let nowMs = 0;
  const { handshakesAtOnce: atOnce, handshakesPerSecond: perSecond } = base.limits.address;
  const handshakes = handshakeBudget(
    () => ({ atOnce, perSecond }),
    () => nowMs,
  );
  const begin = (times: number) =>
    Array.from({ length: times }, () => handshakes.isLeft("plant") && handshakes.spend("plant") === undefined).filter(
      Boolean,
    ).length;
  expect(begin(120)).toBe(100);
  nowMs += 4000;
  expect(begin(120)).toBe(40);
  expect(handshakes.isLeft("another plant")).toBe(true);
});

it("counts an IPv6 address as its /64, and connections without TLS not at all", () => {
  const config = { ...base, limits: { ...base.limits, address: { handshakesAtOnce: 2, handshakesPerSecond: 1 } } };
  const dropped: string[] = [];
  const { accept, stats } = entrance(config, (reason, address) => dropped.push(`${reason} ${address}`));
  const come = (remoteAddress: string, isSecure = true) => {
    const connection = Object.assign(new PassThrough(), { remoteAddress, bytesRead: 0, bytesWritten: 0 });
    accept(connection as unknown as Socket, { isSecure, take: () => true });
    return !connection.destroyed;
  };
  expect(["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:3::", "2001:db8:1:3::1"].map((one) => come(one))).toEqual(
    [true, true, false, true],
  );
  expect(come("2001:db8:1:2::1", false)).toBe(true);
  expect(dropped).toEqual(["handshakeRate 2001:db8:1:2:3::"]);
  expect(stats()).toMatchObject({ connections: 4, dropped: { handshakeRate: 1 } });
});

// Not every system gives the whole of 127/8 to itself.
describe.skipIf(!hasOpenssl || process.platform === "darwin")("a client that makes handshakes in a loop", () => {
  const folder = certificateFolder();
  let authority: Authority;
  let ca = "";
  let test: TestBroker;
  beforeAll(() => {
    authority = makeAuthority(folder.dir, "ca");
    ca = readFileSync(authority.caFile, "utf8");
  });
  afterAll(folder.remove);
  afterEach(() => test.end());

  /** Whether a handshake was done; the connection is dropped then. */
  async function shake(port: number | undefined): Promise<boolean> {
    const options = { port, host: "127.0.0.1", localAddress: "127.0.0.2", ca };
    const socket = connectTls(options as object);
    socket.on("error", () => {});
    const done = await Promise.race([
      once(socket, "secureConnect").then(() => true),
      once(socket, "close").then(() => false),
    ]).catch(() => false);
    socket.destroy();
    return done;
  }

  it("is turned away before TLS begins, on both ports together, told once, and keeps nobody else out", async () => {
    const tls = { port: 0, webSocketPort: 0, minVersion: "TLSv1.2" as const, ...authority.issue("broker") };
    const address = { handshakesAtOnce: 6, handshakesPerSecond: 1 };
    test = await testBroker({ tls, limits: { address } });
    const { broker } = test;
    const from = performance.now();
    const done: boolean[] = [];
    for (let i = 0; i < 30; i += 1) done.push(await shake(i % 2 ? broker.tlsPort : broker.webSocketPort));
    const most = 6 + (performance.now() - from) / 1000;
    const through = done.filter(Boolean).length;
    expect(done.slice(0, 6)).toEqual(Array(6).fill(true));
    expect(through).toBeLessThanOrEqual(most);
    // A client that leaves as soon as it is done may be a failure to the broker, whose part ends later (RFC 8446, 4.4.4).
    const begun = () => broker.stats().tlsHandshakes + broker.stats().tlsFailures;
    await until(() => begun() >= through, "the handshakes that were let through");
    expect([broker.stats().dropped.handshakeRate, begun()]).toEqual([30 - through, through]);
    const lines = test.logLines.filter((line) => line.includes("broker.limits.address.handshakesPerSecond"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/"level":40,.*"code":"BROKER_TOO_MANY_CONNECTIONS","subject":"127.0.0.2"/);
    expect(test.faults).toMatchObject([{ code: "BROKER_TOO_MANY_CONNECTIONS", subject: "127.0.0.2" }]);

    const web = new WebSocket(`wss://localhost:${broker.webSocketPort}/mqtt`, ["mqtt"], { ca });
    await once(web, "open");
    web.terminate();
    const gateway = { protocol: "mqtts", host: "localhost", port: broker.tlsPort as number, ca } as const;
    expect((await test.connect("f1/gw-1", gateway)).connected).toBe(true);
    broker.reload({
      ...base,
      tls,
      limits: { ...base.limits, address: { handshakesAtOnce: 10_000, handshakesPerSecond: 10_000 } },
    });
    expect(await shake(broker.tlsPort), "after other limits were taken up").toBe(true);
  });
});
