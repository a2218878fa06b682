import { once } from "node:events";
import { copyFileSync, readFileSync } from "node:fs";
import { type AddressInfo, createConnection } from "node:net";
import { join } from "node:path";
import { createServer, type Server, type TLSSocket } from "node:tls";
import {
  type Authority,
  type CertificateFiles,
  certificateFolder,
  hasOpenssl,
  makeAuthority,
} from "@jilian/domain/test-certificates.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type EdgeBench, edgeBench } from "./test-edge.ts";

const read = (path: string) => readFileSync(path, "utf8");
const minute = 60_000;

/** TLS in front of the bench's broker. */
async function tlsFront(target: number, files: CertificateFiles, clientCa?: string) {
  const sockets: TLSSocket[] = [];
  const verify = clientCa === undefined ? {} : { requestCert: true, ca: read(clientCa) };
  const server: Server = createServer({ cert: read(files.certFile), key: read(files.keyFile), ...verify }, (near) => {
    const far = createConnection(target, "127.0.0.1");
    sockets.push(near);
    near.pipe(far).pipe(near);
    near.on("error", () => far.destroy()).on("close", () => far.destroy());
    far.on("error", () => near.destroy()).on("close", () => near.destroy());
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    renew: (to: CertificateFiles) => server.setSecureContext({ cert: read(to.certFile), key: read(to.keyFile) }),
    cut: () => {
      for (const socket of sockets.splice(0)) socket.destroy();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

describe.skipIf(!hasOpenssl)("over TLS", () => {
  const folder = certificateFolder();
  let ca: Authority;
  let other: Authority;
  let bench: EdgeBench;
  const fronts: Awaited<ReturnType<typeof tlsFront>>[] = [];
  beforeAll(() => {
    ca = makeAuthority(folder.dir, "ca");
    other = makeAuthority(folder.dir, "other");
  });
  afterAll(folder.remove);
  beforeEach(async () => {
    bench = await edgeBench();
  });
  afterEach(async () => {
    await bench.close();
    for (const front of fronts.splice(0)) await front.close();
  });

  async function front(files: CertificateFiles, clientCa?: string) {
    const opened = await tlsFront(bench.host.port, files, clientCa);
    fronts.push(opened);
    return opened;
  }
  const connect = (port: number, tls: Record<string, string> = {}, host = "127.0.0.1") =>
    bench.start({
      broker: {
        host,
        port,
        tls: { caFile: ca.caFile, ...tls },
        keepaliveMs: 15_000,
        reconnectMinMs: 20,
        reconnectMaxMs: 100,
      },
    });
  const told = (code: string) =>
    vi.waitFor(() => {
      const line = bench.lines.find((found) => found.code === code);
      if (!line) throw new Error(`not told ${code}: ${JSON.stringify(bench.lines.map((found) => found.code))}`);
      return line as { remedy: string; address: string };
    }, 5000);

  test("births arrive when the broker's certificate comes from the authority named", async () => {
    const { port } = await front(ca.issue("broker"));
    const node = connect(port);
    await bench.host.until("NBIRTH", () => bench.host.ofType("NBIRTH")[0]);
    expect(node.stats()).toMatchObject({ connected: true, born: true, connects: 1 });
  });

  test("nothing is sent to a broker of another authority, a self-made one included", async () => {
    const { port } = await front(other.issue("broker"));
    const node = connect(port);
    expect((await told("TLS_UNTRUSTED")).remedy).toContain("tls.caFile");
    expect(node.stats()).toMatchObject({ connected: false, connects: 0 });
    expect(bench.host.seen).toEqual([]);
  });

  test("a certificate for another name is told; the name it has may be given", async () => {
    const { port } = await front(ca.issue("broker", { names: "DNS:broker.plant.example" }));
    connect(port);
    expect((await told("TLS_HOSTNAME")).address).toBe(`127.0.0.1:${port}`);
    connect(port, { serverName: "broker.plant.example" });
    await bench.host.until("NBIRTH", () => bench.host.ofType("NBIRTH")[0]);
  });

  test("times that are over or have not come are told as such, with this machine's clock", async () => {
    const old = await front(ca.issue("old", { fromMs: -10 * minute, toMs: -minute }));
    connect(old.port);
    expect((await told("TLS_EXPIRED")).remedy).toContain("clock");
    const early = await front(ca.issue("early", { fromMs: 10 * minute }));
    connect(early.port);
    expect((await told("TLS_NOT_YET_VALID")).remedy).toContain(new Date().toISOString().slice(0, 10));
  });

  test("a port without TLS is told", async () => {
    connect(bench.host.port);
    const line = await vi.waitFor(() => {
      const found = bench.lines.find(({ code }) => code === "TLS_NOT_SPOKEN" || code === "TLS_HANDSHAKE");
      if (!found) throw new Error("not told");
      return found;
    }, 5000);
    expect(line.remedy).toMatch(/TLS port/);
  });

  test("a client certificate is shown where one is asked for", async () => {
    const { port } = await front(ca.issue("broker"), ca.caFile);
    connect(port);
    expect((await told("TLS_CLIENT_CERTIFICATE")).remedy).toContain("tls.certFile");
    expect(bench.host.seen).toEqual([]);
    connect(port, ca.issue("gw-1"));
    await bench.host.until("NBIRTH", () => bench.host.ofType("NBIRTH")[0]);
  });

  test("files that are missing or wrong do not end the gateway, and are taken up once they are right", async () => {
    const { port, cut, renew } = await front(ca.issue("broker"));
    const caFile = join(folder.dir, "late.pem");
    connect(port, { caFile });
    expect((await told("TLS_FILE_UNREADABLE")).remedy).toContain("path");
    copyFileSync(ca.caFile, caFile);
    await bench.host.until("NBIRTH", () => bench.host.ofType("NBIRTH")[0]);
    // The authority changes on both sides: the next connection takes the new one.
    renew(other.issue("broker"));
    copyFileSync(other.caFile, caFile);
    cut();
    await bench.host.until("second NBIRTH", () => bench.host.ofType("NBIRTH")[1]);
  });
});
