import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { type Authority, certificateFolder, hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { packetLengths } from "./limits.ts";
import { secrets, type TestBroker, testBroker, until } from "./test-broker.ts";
import { connectPacket, header, publishPacket, subscribePacket } from "./test-wire.ts";

describe.skipIf(!hasOpenssl)("MQTT over WebSocket over TLS", () => {
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

  async function start(over: Parameters<typeof testBroker>[0] = {}, deps: Parameters<typeof testBroker>[1] = {}) {
    const tls = { port: 0, webSocketPort: 0, minVersion: "TLSv1.2" as const, ...authority.issue("broker") };
    test = await testBroker({ tls, ...over }, deps);
    return test.broker;
  }
  const url = (path = "/mqtt") => `wss://localhost:${test.broker.webSocketPort}${path}`;
  const open = (protocol: string[] = ["mqtt"], path?: string) => new WebSocket(url(path), protocol, { ca });
  /** A connection below TLS, for what no client library sends. */
  async function raw(): Promise<TLSSocket> {
    const socket = connectTls({ port: test.broker.webSocketPort as number, host: "127.0.0.1", ca });
    socket.on("error", () => {});
    await once(socket, "secureConnect");
    return socket;
  }
  const gone = (socket: NodeJS.EventEmitter) => once(socket, "close", { signal: AbortSignal.timeout(5000) });
  async function accepted(clientId = "ingest"): Promise<WebSocket> {
    const socket = open();
    socket.on("error", () => {});
    await once(socket, "open");
    socket.send(connectPacket(clientId, "ingest", secrets.ingest));
    const [connack] = (await once(socket, "message")) as [Buffer];
    expect(connack.toString("hex")).toBe("20020000");
    return socket;
  }

  it("carries clients of another make beside the other ports, large messages too, under the same rules", async () => {
    const broker = await start();
    const web = {
      protocol: "wss",
      host: "localhost",
      path: "/mqtt",
      port: broker.webSocketPort as number,
      ca,
    } as const;
    const [gateway, host] = await Promise.all([test.connect("f1/gw-1", web), test.connect("ingest")]);
    const heard: number[] = [];
    host.on("message", (_topic, payload) => heard.push(payload.length));
    await host.subscribeAsync("spBv1.0/#");
    await gateway.publishAsync("spBv1.0/f1/NDATA/gw-1", Buffer.alloc(900_000), { qos: 1 });
    await gateway.publishAsync("spBv1.0/f1/NDATA/gw-1", Buffer.alloc(10), { qos: 1 });
    await until(() => heard.length === 2, "both messages");
    expect(heard).toEqual([900_000, 10]);
    expect(broker.stats()).toMatchObject({ clients: 2, webSockets: 1, tlsHandshakes: 1, webSocketFailures: 0 });
    expect(broker.stats().bytesReceived).toBeGreaterThan(900_000);
    expect(test.logLines.join("")).toContain('"client":"f1/gw-1","kind":"gateway","address":"127.0.0.1"');
    await expect(gateway.subscribeAsync("spBv1.0/#")).rejects.toThrow();
    const end = gone(gateway as unknown as NodeJS.EventEmitter);
    gateway.publish("spBv1.0/f3/NDATA/gw-1", "x");
    await end;
    await until(() => broker.stats().connections === 1, "it is ended");
    await expect(test.connect("f1/gw-2", { ...web, password: "wrong secret" })).rejects.toMatchObject({ code: 4 });
  });

  it("takes packets in any pieces, and several in one frame", async () => {
    const broker = await start();
    const socket = open();
    await once(socket, "open");
    const bytes = Buffer.concat([
      connectPacket("ingest", "ingest", secrets.ingest),
      publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.alloc(300)),
      publishPacket("spBv1.0/f1/NCMD/gw-2", Buffer.alloc(300)),
    ]);
    for (let at = 0; at < bytes.length; at += 37) socket.send(bytes.subarray(at, at + 37));
    await until(() => broker.stats().messages === 2, "both messages");
    socket.close();
    await until(() => broker.stats().connections === 0, "closed");
  });

  it("refuses other paths, sub-protocols and plain requests, with the status that says so", async () => {
    const broker = await start();
    const refusal = async (socket: WebSocket) => ((await once(socket, "error")) as [Error])[0].message;
    expect(await refusal(open(["mqtt"], "/"))).toContain("404");
    expect(await refusal(open(["other"]))).toContain("400");
    expect(await refusal(open([]))).toContain("400");
    const answers: string[] = [];
    for (const request of [
      "GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n",
      "POST /mqtt HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
      // No key: not an upgrade that RFC 6455 knows.
      "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
    ]) {
      const socket = await raw();
      socket.write(request);
      const [answer] = (await once(socket, "data")) as [Buffer];
      answers.push(answer.toString().slice(9, 12));
      await gone(socket);
    }
    expect(answers).toEqual(["426", "426", "400"]);
    for (const bytes of ["\x10\x0c\x00\x04MQTT", `GET /mqtt HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`]) {
      const socket = await raw();
      const end = gone(socket);
      socket.write(Buffer.from(bytes, "latin1"));
      socket.resume();
      await end;
    }
    await until(() => broker.stats().connections === 0, "all are gone");
    expect(broker.stats()).toMatchObject({ webSockets: 0, webSocketFailures: 8, clients: 0 });
  });

  it("ends who is idle before the upgrade, and after it before CONNECT", async () => {
    const broker = await start({ connectTimeoutMs: 300 });
    const silent = await raw();
    const half = await raw();
    half.write("GET /mqtt HTTP/1.1\r\nHost: x\r\n");
    const upgraded = open();
    await once(upgraded, "open");
    await Promise.all([gone(silent), gone(half), gone(upgraded)]);
    await until(() => broker.stats().connections === 0, "all are forgotten");
    expect(broker.stats()).toMatchObject({ webSockets: 1, webSocketFailures: 2 });
  });

  it("ends text frames, frames beyond the limit, packets that announce too much, and strangers that send much", async () => {
    const broker = await start({ maxPayloadBytes: 100_000 });
    const text = await accepted("ingest-0");
    const textEnd = gone(text);
    // Every byte of it is ASCII: it would be a good message.
    text.send(publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.from("x")).toString());
    await textEnd;
    const large = await accepted("ingest-1");
    const largeEnd = gone(large);
    large.send(publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.alloc(101_000)));
    await largeEnd;
    const announcing = await accepted("ingest-2");
    const announcingEnd = gone(announcing);
    announcing.send(header(0x30, 200_000_000));
    await announcingEnd;
    const stranger = await raw();
    const strangerEnd = gone(stranger);
    stranger.write(
      "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
    );
    const [answer] = (await once(stranger, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 101 /);
    // A frame of 90,000 bytes whose end does not come: it is held in memory meanwhile.
    stranger.write(Buffer.from("82ff0000000000015f9000000000", "hex"));
    stranger.write(Buffer.alloc(50_000));
    await strangerEnd;
    await until(() => broker.stats().connections === 0, "all are gone");
    expect(broker.stats()).toMatchObject({ messages: 0, ended: { oversize: 1 } });
    const fine = await accepted("ingest-3");
    fine.close();
  });

  it("ends a client that floods with frames that carry nothing, which no share of messages would hold", async () => {
    const broker = await start();
    const floods = {
      ping: (socket: WebSocket) => socket.ping("x"),
      pong: (socket: WebSocket) => socket.pong("x"),
      empty: (socket: WebSocket) => socket.send(Buffer.alloc(0)),
    };
    for (const [what, send] of Object.entries(floods)) {
      const socket = await accepted(`ingest-${what}`);
      const end = gone(socket);
      for (let i = 0; i < 50; i += 1) send(socket);
      socket.send(subscribePacket("spBv1.0/#"));
      await once(socket, "message");
      for (let i = 0; i < 2000 && socket.readyState === WebSocket.OPEN; i += 1) send(socket);
      await end;
    }
    await until(() => broker.stats().connections === 0, "all are ended");
  });

  it("cuts off a subscriber that does not read, alone", async () => {
    const limits = {
      client: { connectsPerMinute: 60, messagesPerSecond: 1e5, bytesPerSecond: 1e9, queueBytes: 2_000_000 },
    };
    const broker = await start({ limits });
    const stalled = await accepted("ingest-stalled");
    stalled.send(subscribePacket("spBv1.0/#"));
    await once(stalled, "message");
    stalled.pause();
    const host = await test.connect("ingest");
    while (broker.stats().ended.slow === 0)
      await host.publishAsync("spBv1.0/f1/NCMD/gw-1", Buffer.alloc(100_000), { qos: 1 });
    expect(test.faults).toEqual([expect.objectContaining({ code: "BROKER_SLOW_CLIENT", subject: "ingest -stalled" })]);
    await until(() => broker.stats().connections === 1, "it is gone");
    stalled.terminate();
  });

  it("hands what is kept out to who reads slowly, and ends who reads nothing of it", async () => {
    const client = { connectsPerMinute: 60, messagesPerSecond: 1e5, bytesPerSecond: 1e9, queueBytes: 2_000_000 };
    const { stats } = await start({ limits: { client, birthBytesPerGateway: 1e8 } }, { stallMs: 500 });
    const gateway = await test.connect("f1/gw-1");
    for (let i = 0; i < 20; i += 1) gateway.publish(`spBv1.0/f1/DBIRTH/gw-1/device-${i}`, Buffer.alloc(1_000_000));
    await until(() => stats().birthBytes > 20_000_000, "all births are kept", 15_000);
    const [slow, stalled] = await Promise.all([accepted("ingest-slow"), accepted("ingest-stalled")]);
    let heard = 0;
    const count = packetLengths((_lengthBytes, type) => {
      if (type === 3) heard += 1;
    });
    slow.on("message", (data: Buffer) => {
      count(data);
      slow.pause();
      setTimeout(() => slow.resume(), 20);
    });
    stalled.pause();
    for (const each of [slow, stalled]) each.send(subscribePacket("$sparkplug/certificates/#"));
    await until(() => heard === 20, "all of them", 15_000);
    await until(() => stats().ended.slow === 1, "who reads nothing is ended", 15_000);
    expect(test.faults).toEqual([expect.objectContaining({ code: "BROKER_SLOW_CLIENT", subject: "ingest -stalled" })]);
    slow.terminate();
    stalled.terminate();
  });
});
