import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { get as httpGet } from "node:http";
import { get } from "node:https";
import { connect, type PeerCertificate } from "node:tls";
import {
  type Authority,
  certificateFolder,
  hasOpenssl,
  makeAuthority,
  makeWeak,
} from "@jilian/domain/test-certificates.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApiConfig } from "./config.ts";
import { startApi } from "./server.ts";
import { openWorld, type World } from "./test-app.ts";

/** Skipped where there is no `openssl` program to make certificates with. */
describe.skipIf(!hasOpenssl)("TLS (skipped without openssl)", () => {
  const folder = certificateFolder();
  let ca: Authority;
  let world: World;
  beforeAll(async () => {
    ca = makeAuthority(folder.dir, "ca");
    world = await openWorld();
  });
  afterAll(async () => {
    await world.close();
    folder.remove();
  });

  const config = (tls: Partial<NonNullable<ApiConfig["tls"]>>): ApiConfig => ({
    ...world.config,
    tls: { certFile: "own.pem", keyFile: "own.key", minVersion: "TLSv1.2", ...tls },
  });
  /** Puts a certificate in the place that the configuration names, relative to its folder. */
  function install(files: { certFile: string; keyFile: string }): void {
    copyFileSync(files.certFile, `${folder.dir}/own.pem`);
    copyFileSync(files.keyFile, `${folder.dir}/own.key`);
  }
  const deps = () => ({ ...world.deps, baseDir: folder.dir });
  const authority = () => readFileSync(ca.caFile);

  type Reply = { status: number; headers: Record<string, unknown> };
  const ask = (url: string) =>
    new Promise<Reply>((resolve, reject) => {
      const request = get(url, { ca: authority(), agent: false }, (reply) => {
        reply.resume();
        resolve({ status: reply.statusCode ?? 0, headers: reply.headers });
      });
      request.on("error", reject);
    });
  const certificateAt = (port: number) =>
    new Promise<PeerCertificate>((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", servername: "localhost", ca: authority() }, () => {
        resolve(socket.getPeerCertificate());
        socket.destroy();
      });
      socket.on("error", reject);
    });
  const logged = (code: string) => world.lines.filter((line) => line.includes(`"${code}"`));

  it("is spoken alone, by paths relative to the configuration, and browsers are told to stay with it", async () => {
    install(ca.issue("one"));
    await using api = await startApi(config({}), deps());
    expect(api.url).toBe(`https://127.0.0.1:${api.port}`);
    const reply = await ask(`${api.url}/health/live`);
    expect(reply).toMatchObject({ status: 200, headers: { "strict-transport-security": "max-age=31536000" } });
    expect((await ask(`${api.url}/open/v1/info`)).status).toBe(401);
    const plain = new Promise((resolve) => {
      httpGet(`http://127.0.0.1:${api.port}/health/live`, { agent: false }, () => resolve("answered")).on("error", () =>
        resolve("refused"),
      );
    });
    expect(await plain).toBe("refused");
    const { headers } = await world.app.inject({ url: "/health/live" });
    expect(headers["strict-transport-security"]).toBeUndefined();
  });

  it("keeps to the least version", async () => {
    install(ca.issue("two"));
    await using api = await startApi(config({ minVersion: "TLSv1.3" }), deps());
    const old = new Promise((resolve) => {
      const socket = connect({ port: api.port, host: "127.0.0.1", ca: authority(), maxVersion: "TLSv1.2" }, () =>
        resolve("spoken"),
      );
      socket.on("error", () => resolve("refused"));
    });
    expect(await old).toBe("refused");
    expect((await ask(`${api.url}/health/live`)).status).toBe(200);
  });

  it("takes up a renewed certificate without a restart, and keeps the old one while the files do not match", async () => {
    const before = logged("TLS_KEY_MISMATCH").length;
    const [first, second] = [ca.issue("first"), ca.issue("second")];
    install(first);
    await using api = await startApi(config({}), deps());
    expect((await certificateAt(api.port)).subject.CN).toBe("first");
    copyFileSync(second.certFile, `${folder.dir}/own.pem`);
    api.reloadCertificate();
    expect((await certificateAt(api.port)).subject.CN).toBe("first");
    api.reloadCertificate();
    // Told to who asks, each time.
    expect(logged("TLS_KEY_MISMATCH")).toHaveLength(before + 2);
    copyFileSync(second.keyFile, `${folder.dir}/own.key`);
    api.reloadCertificate();
    expect((await certificateAt(api.port)).subject.CN).toBe("second");
    makeWeak({ certFile: `${folder.dir}/own.pem`, keyFile: `${folder.dir}/own.key` });
    api.reloadCertificate();
    expect((await certificateAt(api.port)).subject.CN).toBe("second");
    expect(logged("ERR_SSL_EE_KEY_TOO_SMALL")).not.toEqual([]);
  });

  it("says what is wrong with its files before it listens", async () => {
    const [own, other] = [ca.issue("own"), ca.issue("other")];
    install(own);
    const starts = (tls: Parameters<typeof config>[0]) => expect(startApi(config(tls), deps())).rejects;
    await starts({ certFile: "missing.pem" }).toMatchObject({
      code: "TLS_FILE_UNREADABLE",
      address: `${folder.dir}/missing.pem`,
      remedy: expect.stringContaining("path"),
    });
    await starts({ keyFile: other.keyFile }).toMatchObject({ code: "TLS_KEY_MISMATCH" });
    writeFileSync(`${folder.dir}/junk.pem`, "junk");
    await starts({ certFile: "junk.pem" }).toMatchObject({ code: "TLS_FILE_INVALID" });
    await starts({ keyFile: "junk.pem" }).toMatchObject({ code: "TLS_FILE_INVALID" });
  });

  it("warns of a certificate that has ended or soon will, and starts nevertheless", async () => {
    install(ca.issue("ended", { fromMs: -10 * 86_400_000, toMs: -86_400_000 }));
    await (await startApi(config({}), deps())).close();
    expect(logged("TLS_EXPIRED")[0]).toContain("renew the certificate");
    install(ca.issue("soon", { toMs: 5 * 86_400_000 }));
    await (await startApi(config({}), deps())).close();
    expect(logged("TLS_EXPIRES_SOON")).toHaveLength(1);
    expect(world.lines.join("")).not.toContain("PRIVATE KEY");
  });
});
