import { execFileSync } from "node:child_process";
import { createPublicKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderMetrics } from "@jilian/domain/metric-rows.ts";
import { type Authority, hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { enrolCommand } from "./commands/enrol.ts";
import { statusText } from "./commands/status.ts";
import { call } from "./commands/test-io.ts";
import { checkedCertificate, identityText, newKey, placeFor, putFile, readEnrolment } from "./identity.ts";
import { certificateRows } from "./ops-metrics.ts";
import { isDue, type Renewal, startRenewal } from "./renewal.ts";
import type { GatewayStatus } from "./status.ts";

/** What a box does by itself when the platform is not what it should be; the whole way is tests/enrolment.test.ts. */
const dayMs = 86_400_000;
let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "jilian-identity-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Without what libraries of OPC UA, in the same process, say of OpenSSL's configuration. */
const { OPENSSL_CONF: _, ...env } = process.env;

describe("the files of an identity", () => {
  it("are replaced whole, with the rights asked for, and leave nothing behind", () => {
    const path = join(dir, "identity.pem");
    putFile(path, "first", 0o600);
    const place = placeFor(path, 0o600);
    expect(readFileSync(path, "utf8")).toBe("first");
    place.put("second");
    place.giveUp();
    placeFor(path, 0o600).giveUp();
    expect([readFileSync(path, "utf8"), statSync(path).mode & 0o777, readdirSync(dir)]).toEqual([
      "second",
      0o600,
      ["identity.pem"],
    ]);
    expect(() => placeFor(join(dir, "none", "x"), 0o600)).toThrow(
      expect.objectContaining({ code: "IDENTITY_UNWRITABLE" }),
    );
    writeFileSync(join(dir, "enrolment.json"), '{"url":1}');
    expect(readEnrolment(dir)).toBeUndefined();
  });

  it.skipIf(!hasOpenssl)("begin with a request that OpenSSL reads and verifies", () => {
    const { request, key } = newKey();
    const run = (...args: string[]) =>
      execFileSync("openssl", ["req", "-noout", ...args], { input: request, stdio: "pipe", env }).toString();
    expect(createPublicKey(run("-pubkey")).equals(createPublicKey(key))).toBe(true);
    expect(() => run("-verify")).not.toThrow();
    expect(run("-subject")).toMatch(/^subject=\s*$/);
  });
});

it("a certificate is due when less than a third of its life is left", () => {
  const life = { validFromDate: new Date(0), validToDate: new Date(90 * dayMs) } as X509Certificate;
  expect([isDue(life, 60 * dayMs), isDue(life, 60 * dayMs + 1), isDue(life, 91 * dayMs)]).toEqual([false, true, true]);
});

it("status and metrics show the certificate, and that it is not renewed", () => {
  const certificate = {
    ends: "2027-02-25T00:00:00.000Z",
    failures: 3,
    lastFailure: { at: "now", reason: "no answer" },
  };
  const broker = { address: "a", connected: true, born: true, connects: 1 };
  const outbox = {
    pendingRecords: 0,
    pendingBytes: 0,
    maxBytes: 1,
    droppedSamples: 0,
    droppedByReason: {},
    asideRecords: 0,
  };
  const status = {
    broker,
    outbox: { ...outbox, isWritable: true },
    devices: [],
    certificate,
  } as unknown as GatewayStatus;
  expect(statusText(status)).toContain(
    "certificate  ends 2027-02-25T00:00:00.000Z; NOT RENEWED after 3 attempts, the last now: no answer",
  );
  const stats = { endsMs: 2000, renewals: 1, failures: 3, lastFailure: undefined };
  const told = renderMetrics(certificateRows(() => stats));
  expect(told).toContain("jilian_gateway_certificate_expiry_timestamp_seconds 2\n");
  expect(told).toContain("jilian_gateway_certificate_renewal_failures 3\n");
  expect(renderMetrics(certificateRows(() => undefined))).not.toMatch(/^jilian/m);
});

describe("enrol", () => {
  let server: Server;
  let answer: { status: number; body: string };
  const asked: string[] = [];
  beforeEach(async () => {
    asked.length = 0;
    server = createServer(async (request: IncomingMessage, reply) => {
      let body = "";
      for await (const chunk of request) body += String(chunk);
      asked.push(`${request.method} ${request.url} ${body}`);
      reply.writeHead(answer.status).end(answer.body);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = (path = "") => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  const enrol = (...args: string[]) => call(enrolCommand, [...args, "--config", join(dir, "gateway.yaml")]);

  it("sends nothing where its arguments are wrong", async () => {
    const wrong = [
      [url()],
      ["platform", "T"],
      ["ftp://platform", "T"],
      ["http://platform.example", "T"],
      [url(), "T", "--fingerprint", "sha256:12"],
      [url(), "T", "--dir", join(dir, "none")],
      [url(), "T", "--ca", join(dir, "none")],
      [url(), "T", "more"],
    ];
    for (const args of wrong) expect(await enrol(...args), args.join(" ")).toMatchObject({ code: 2, out: "" });
    expect(asked).toEqual([]);
  });

  it("says what is wrong with an answer, and writes nothing", async () => {
    const problem = { code: "ENROLMENT_REFUSED", detail: "no\u001b[2J", remedy: "ask for a new token" };
    const cases: [typeof answer, string][] = [
      [
        { status: 403, body: JSON.stringify(problem) },
        "ENROL_REFUSED: ENROLMENT_REFUSED: no\ufffd[2J\n  remedy: ask for a new token",
      ],
      [{ status: 200, body: "<html>log in</html>" }, "ENROL_ANSWER: status 200, and no JSON"],
      [{ status: 200, body: "{}" }, "ENROL_ANSWER"],
      [{ status: 502, body: "[]" }, "ENROL_ANSWER: status 502"],
    ];
    for (const [given, says] of cases) {
      answer = given;
      const done = await enrol(url("/prefix/"), "TOKEN");
      expect(done).toMatchObject({ code: 1, out: "" });
      expect(done.err).toContain(says);
    }
    expect(asked[0]).toMatch(
      /^POST \/prefix\/gateway\/v1\/enrol \{"token":"TOKEN","request":"-----BEGIN CERTIFICATE REQUEST/,
    );
    expect(asked.join("")).not.toContain("PRIVATE");
    const target = url();
    server.closeAllConnections();
    server.close();
    expect((await enrol(target, "TOKEN")).err).toContain("ENROL_UNREACHABLE");
    // The key waits there: the answer may have been lost, and comes again for the same key.
    expect(readdirSync(dir)).toEqual(["identity.pending"]);
    expect(statSync(join(dir, "identity.pending")).mode & 0o777).toBe(0o600);
    const keyOf = (text: string) =>
      execFileSync("openssl", ["req", "-noout", "-pubkey"], { input: requestOf(text), stdio: "pipe", env }).toString();
    const requestOf = (text: string) => (JSON.parse(text.slice(text.indexOf("{"))) as { request: string }).request;
    if (hasOpenssl) expect(keyOf(asked[0] as string)).toBe(keyOf(asked[1] as string));
  });
});

describe.skipIf(!hasOpenssl)("with certificates of others", () => {
  const made = mkdtempSync(join(tmpdir(), "jilian-authorities-"));
  let ca: Authority;
  let other: Authority;
  let renewal: Renewal | undefined;
  beforeAll(() => {
    ca = makeAuthority(made, "ca");
    other = makeAuthority(made, "other");
  });
  afterEach(async () => renewal?.[Symbol.asyncDispose]());
  afterAll(() => rmSync(made, { recursive: true }));
  const read = (path: string) => readFileSync(path, "utf8");

  it("an answer is held against key and authority", () => {
    const { certFile, keyFile } = ca.issue("gw");
    const key = newKey().key;
    const [own, pem, theirs] = [read(ca.caFile), read(certFile), read(other.caFile)];
    expect(() => checkedCertificate(pem, key, own)).toThrow("for another key");
    const right = identityText(read(keyFile), pem);
    expect(new X509Certificate(right).subject).toBe("CN=gw");
    expect(() => checkedCertificate("x", key, own)).toThrow(expect.objectContaining({ code: "ENROL_ANSWER" }));
    expect(() => checkedCertificate(theirs, key, own)).toThrow();
  });

  it("one that cannot renew itself is told before it ends, and not touched", async () => {
    const told: Record<string, unknown>[] = [];
    const log = pino({}, { write: (line: string) => void told.push(JSON.parse(line)) });
    const begin = (toMs: number) => {
      const { certFile, keyFile } = ca.issue("gw", { toMs });
      const config = () => ({ broker: { tls: { certFile, keyFile } } }) as never;
      renewal = startRenewal({ config, onRenewed: async () => undefined, log, lookMs: 5 });
      return certFile;
    };
    begin(20 * dayMs);
    await vi.waitFor(() => expect(renewal?.stats()?.endsMs).toBeGreaterThan(Date.now()));
    await renewal?.[Symbol.asyncDispose]();
    expect(told).toEqual([]);
    const file = begin(5 * dayMs);
    await vi.waitFor(() => expect(told).toHaveLength(1));
    expect(told[0]).toMatchObject({ code: "CERTIFICATE_ENDS_SOON", level: 40 });
    expect(renewal?.stats()).toMatchObject({ failures: 0, renewals: 0 });
    expect(existsSync(file)).toBe(true);
  });
});
