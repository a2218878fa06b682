import { sign, X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EnrolAnswer, enrolPath, renewalText, renewPath } from "@jilian/domain/enrolment.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import { type Authority, checkRequest, openAuthority } from "@jilian/store/authority.ts";
import { newToken, tokenHash } from "@jilian/store/enrolment-token.ts";
import { signingRequest, type TestRequest } from "@jilian/store/test-requests.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { refusalBudget } from "./enrol-budget.ts";
import { type Api, startApi } from "./server.ts";
import { openWorld, type World } from "./test-app.ts";
import { createAnswerCheck, type OpenApiDocument } from "./test-openapi.ts";

const gateway = { group: "jinlv-1", node: "gw-1" };
const unregistered = { group: "jinlv-1", node: "gw-77" };
const dayMs = 86_400_000;
let world: World;
let folder = "";
let authority: Authority;
const apis: Api[] = [];
let check: ReturnType<typeof createAnswerCheck>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "enrol-"));
  mkdirSync(join(folder, "gateways", "jinlv-1"), { recursive: true });
  writeFileSync(join(folder, "gateways", "jinlv-1", "gw-1.yaml"), "group: jinlv-1\n");
  world = await openWorld();
  authority = await openAuthority(folder);
  await world.app.ready();
  check = createAnswerCheck(world.app.swagger() as unknown as OpenApiDocument);
});
afterAll(async () => {
  for (const api of apis) await api.close();
  await world.close();
  rmSync(folder, { recursive: true });
});

const enrolment = { brokerHost: "mqtt.example", brokerPort: 8883, certificateDays: 90, gatewayDir: "gateways" };

/** An interface of its own: refusals are counted for each. */
async function start(isOn = true): Promise<Api> {
  const config = { ...world.config, port: 0, ...(isOn ? { enrolment } : {}) };
  const api = await startApi(config, { ...world.deps, authority: async () => authority, baseDir: folder });
  apis.push(api);
  return api;
}

type Answer = { status: number; body: Record<string, unknown> };
async function post(api: Api, path: string, question: unknown): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  const reply = await fetch(`${api.url}${path}`, { method: "POST", headers, body: JSON.stringify(question) });
  const body = (await reply.json()) as Answer["body"];
  const contentType = String(reply.headers.get("content-type"));
  expect(check({ path, method: "post", status: reply.status, contentType, body })).toEqual([]);
  return { status: reply.status, body };
}

function token(of: { group: string; node: string } = gateway, expiresMs = Date.now() + dayMs): string {
  const made = newToken();
  world.ledger.addToken({ hash: tokenHash(made), ...of, createdMs: Date.now(), expiresMs });
  return made;
}
const audited = (action: string) => world.ledger.audit({ limit: 100 }).filter((entry) => entry.action === action);
const refusedText = { status: 403, code: "ENROLMENT_REFUSED" };
const told = ({ status, body: { code, detail, remedy } }: Answer) => ({ status, code, detail, remedy });

describe("enrolment", () => {
  it("signs the first certificate of a gateway for its token, once, and says where to go on", async () => {
    const api = await start();
    const requests = await Promise.all([1, 2, 3].map(() => signingRequest()));
    const once = token();
    const answers = await Promise.all(requests.map(({ pem }) => post(api, enrolPath, { token: once, request: pem })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 403, 403]);
    const at = answers.findIndex(({ status }) => status === 200);
    const answer = answers[at]?.body as EnrolAnswer;
    const [request, late] = [requests[at] as TestRequest, requests[(at + 1) % 3] as TestRequest];
    expect(answer).toMatchObject({
      ...gateway,
      broker: { host: "mqtt.example", port: 8883 },
      configuration: "group: jinlv-1\n",
    });
    expect([answer.authority, answer.brokerCa]).toEqual([authority.certificate, authority.certificate]);
    const made = new X509Certificate(answer.certificate);
    expect([authority.hasSigned(made), made.checkPrivateKey(request.key)]).toEqual([true, true]);
    const kept = world.ledger.certificates(gateway).filter(({ serial }) => serial === made.serialNumber);
    expect(kept).toMatchObject([{ renews: null, revokedMs: null, pem: made.toString().trim() }]);
    expect(world.ledger.certificates(gateway)).toHaveLength(1);
    const [issued] = audited("certificate.issue");
    expect(issued).toMatchObject({
      actor: "gateway jinlv-1/gw-1",
      subject: "gateway jinlv-1/gw-1",
      origin: "127.0.0.1",
    });
    expect(JSON.parse(issued?.detail ?? "{}")).toMatchObject({ serial: made.serialNumber });
    expect(audited("enrolment.refuse")).toHaveLength(2);
    expect((await post(api, enrolPath, { token: once, request: late.pem })).status).toBe(403);
    expect(audited("enrolment.refuse")).toHaveLength(3);
    expect(world.lines.join("")).not.toContain(once);
    expect(api.apiStats().counts.refusedEnrolments).toBe(3);
  });

  it("says the same of every token that counts not, so that nobody learns which gateways there are", async () => {
    const api = await start();
    const { pem: request } = await signingRequest();
    const all = [newToken(), token(gateway, Date.now() - 1), token(unregistered), "x"];
    const answers = [];
    for (const one of all) answers.push(told(await post(api, enrolPath, { token: one, request })));
    expect(answers[0]).toMatchObject(refusedText);
    expect(new Set(answers.map((one) => JSON.stringify(one))).size).toBe(1);
    // A slip beside the token is told without what was sent.
    const slips = [
      { token: `${newToken()}-${"S3CRET".repeat(20)}`, request },
      { token: "S3CRET", request: "S3CRET" },
    ];
    for (const slip of [...slips, { token: "S3CRET", request, more: "S3CRET" }, { tokn: "S3CRET", request }]) {
      const { status, body } = await post(api, enrolPath, slip);
      expect([status, JSON.stringify(body).includes("S3CRET")], JSON.stringify(body)).toEqual([400, false]);
    }
    expect(world.lines.join("")).not.toContain("S3CRET");
    // A token that is wrong is told before the request is looked at.
    expect(told(await post(api, enrolPath, { token: newToken(), request: "x".repeat(100) }))).toEqual(answers[0]);
  });

  it("gives the same certificate again to who asks with the same token and key, since an answer may be lost on the way", async () => {
    const [api, once, request] = [await start(), token(), await signingRequest()];
    const first = await post(api, enrolPath, { token: once, request: request.pem });
    const certificates = world.ledger.certificates().length;
    expect(await post(api, enrolPath, { token: once, request: request.pem })).toEqual(first);
    expect(world.ledger.certificates()).toHaveLength(certificates);
    // The token alone gives nothing, nor the key with another gateway's token.
    const { pem } = await signingRequest();
    expect((await post(api, enrolPath, { token: once, request: pem })).status).toBe(403);
    expect((await post(api, enrolPath, { token: once, request: "x".repeat(100) })).status).toBe(403);
    const other = token({ group: "jinlv-2", node: "gw-1" });
    await post(api, enrolPath, { token: other, request: pem });
    expect((await post(api, enrolPath, { token: other, request: request.pem })).status).toBe(403);
    world.ledger.revokeCertificate(new X509Certificate(String(first.body.certificate)).serialNumber, Date.now());
    expect((await post(api, enrolPath, { token: once, request: request.pem })).status).toBe(403);
  });

  it("refuses a request that proves nothing, and keeps the token for a better one", async () => {
    const api = await start();
    const once = token({ group: "jinlv-2", node: "gw-1" });
    const weak = await signingRequest({ kind: "RSA-1024" });
    expect(await post(api, enrolPath, { token: once, request: weak.pem })).toMatchObject({
      status: 422,
      body: { code: "CSR_INVALID" },
    });
    expect((await post(api, enrolPath, { token: once })).body).toMatchObject({ code: "PARAMETER_INVALID" });
    // Whatever it asks to be called, it becomes whom the token is for.
    const other = await signingRequest({
      kind: "RSA-2048",
      subject: "CN=gw-1,O=jinlv-1",
      altName: "urn:jilian:gateway:jinlv-1/gw-1",
    });
    const answer = (await post(api, enrolPath, { token: once, request: other.pem })).body as unknown as EnrolAnswer;
    expect(answer).toMatchObject({ group: "jinlv-2", node: "gw-1", configuration: null });
    expect(new X509Certificate(answer.certificate).subjectAltName).toBe("URI:urn:jilian:gateway:jinlv-2/gw-1");
  });

  it("slows down who guesses, and says when it is off", async () => {
    const api = await start();
    const { pem: request } = await signingRequest();
    const statuses = [];
    for (let i = 0; i < 12; i += 1) statuses.push((await post(api, enrolPath, { token: newToken(), request })).status);
    expect(statuses).toEqual([...Array(10).fill(403), 429, 429]);
    const audits = audited("enrolment.refuse").length;
    const late = token(gateway, Date.now() - 1);
    expect(await post(api, enrolPath, { token: late, request })).toMatchObject({
      body: { code: "TOO_MANY_ENROLMENTS" },
    });
    expect(audited("enrolment.refuse")).toHaveLength(audits);
    // Behind a proxy who guesses has the address of everybody: a token that is right passes all the same.
    expect((await post(api, enrolPath, { token: token(), request })).status).toBe(200);
    let nowMs = 0;
    const budget = refusalBudget(() => nowMs);
    for (let i = 0; i < 10; i += 1) budget.spend("a");
    expect([budget.isLeft("a"), budget.isLeft("b")]).toEqual([false, true]);
    nowMs = 6000;
    expect(budget.isLeft("a")).toBe(true);
    budget.spend("a");
    expect(budget.isLeft("a")).toBe(false);
    for (let i = 0; i < 10; i += 1) budget.spend(`2001:db8::${i}`);
    expect([budget.isLeft("2001:db8::ffff"), budget.isLeft("2001:db8:0:1::1")]).toEqual([false, true]);
    const off = await start(false);
    expect(await post(off, enrolPath, { token: "x", request })).toMatchObject({
      status: 503,
      body: { code: "ENROLMENT_OFF" },
    });
  });
});

describe("renewal", () => {
  type Old = { request: TestRequest; pem: string; serial: string };
  async function certificate(of = gateway, days = 90, nowMs = Date.now(), by = authority): Promise<Old> {
    const request = await signingRequest();
    const issued = await by.issueGateway(of, await checkRequest(request.pem), days, nowMs);
    world.ledger.addCertificate({ ...of, ...issued, renews: null });
    return { request, pem: issued.pem, serial: issued.serial };
  }
  const question = ({ request, pem }: Old, next: string, { timeMs = Date.now(), key = request.key } = {}) => ({
    ...{ certificate: pem, request: next, timeMs },
    signature: sign("sha256", Buffer.from(renewalText(next, timeMs)), key).toString("base64"),
  });

  it("signs the next certificate for who has the key of the one before, and the same again for the same question", async () => {
    const api = await start();
    const [old, next] = [await certificate(), await signingRequest()];
    const asked = question(old, next.pem);
    const first = await post(api, renewPath, asked);
    expect(first.status).toBe(200);
    const made = new X509Certificate(String(first.body.certificate));
    expect([made.checkPrivateKey(next.key), authority.hasSigned(made)]).toEqual([true, true]);
    expect(world.ledger.certificate(made.serialNumber)).toMatchObject({ ...gateway, renews: old.serial });
    const before = world.ledger.certificates().length;
    expect((await post(api, renewPath, asked)).body).toEqual(first.body);
    expect(world.ledger.certificates()).toHaveLength(before);
    expect(audited("certificate.renew")).toHaveLength(1);
  });

  it("refuses, with one text, whom nothing shows to be the gateway", async () => {
    const next = (await signingRequest()).pem;
    const good = await certificate();
    const revoked = await certificate();
    world.ledger.revokeCertificate(revoked.serial, Date.now());
    const strange = await openAuthority(mkdtempSync(join(folder, "other-")));
    const unknown = await signingRequest();
    const unlisted = await authority.issueGateway(gateway, await checkRequest(unknown.pem), 90, Date.now());
    const api = await start();
    const questions = [
      question(revoked, next),
      question(await certificate(gateway, 1, Date.now() - 2 * dayMs), next),
      question(await certificate(unregistered), next),
      question(await certificate(gateway, 90, Date.now(), strange), next),
      question({ request: unknown, pem: unlisted.pem, serial: unlisted.serial }, next),
      question(good, next, { key: (await signingRequest()).key }),
      { ...question(good, next), request: (await signingRequest()).pem },
      question(good, good.request.pem),
    ];
    const answers = [];
    for (const one of questions) answers.push(told(await post(api, renewPath, one)));
    expect(answers.map(({ status }) => status)).toEqual(questions.map(() => 403));
    expect(new Set(answers.map((one) => JSON.stringify(one))).size).toBe(1);
    expect((await post(await start(), renewPath, question(good, next))).status).toBe(200);
  });

  it("tells a gateway whose clock is wrong that, and nobody else: a new token would not help it", async () => {
    const [api, good, next] = [await start(), await certificate(), await signingRequest()];
    const timeMs = Date.now() - 16 * 60_000;
    const answer = await post(api, renewPath, question(good, next.pem, { timeMs }));
    expect(answer).toMatchObject({ status: 403, body: { code: "GATEWAY_CLOCK" } });
    expect(answer.body.remedy).toContain("clock");
    expect(answer.body.detail).toContain(isoTime(timeMs));
    const stranger = question(good, next.pem, { timeMs, key: next.key });
    expect((await post(api, renewPath, stranger)).body).toMatchObject({ code: "ENROLMENT_REFUSED" });
    expect((await post(api, renewPath, question(good, next.pem, { timeMs: 8.64e15 }))).status).toBe(400);
    expect((await post(api, renewPath, question(good, next.pem))).status).toBe(200);
  });

  it("bounds how many of one gateway are valid", async () => {
    const of = { group: "huamei-1", node: "gw-1" };
    const old = await certificate(of);
    for (let i = 1; i < 32; i += 1)
      world.ledger.addCertificate({
        ...of,
        serial: `F${i}`,
        issuedMs: 0,
        expiresMs: Date.now() + dayMs,
        renews: null,
        keyHash: "",
        pem: "",
      });
    const { pem } = await signingRequest();
    expect((await post(await start(), renewPath, question(old, pem))).status).toBe(403);
    world.ledger.revokeCertificate("F1", Date.now());
    expect((await post(await start(), renewPath, question(old, pem))).status).toBe(200);
  });
});
