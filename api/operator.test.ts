import { isoTime } from "@jilian/domain/periods.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { openWorld, type World } from "./test-app.ts";
import { createAnswerCheck, type OpenApiDocument } from "./test-openapi.ts";
import { apiKey, worldNowMs } from "./test-world.ts";

const operatorKey = "chen.operator-secret";
let world: World;
let check: ReturnType<typeof createAnswerCheck>;

beforeAll(async () => {
  world = await openWorld();
  world.ledger.setCredential({ kind: "operator", name: "chen" }, "operator-secret");
  await world.app.ready();
  check = createAnswerCheck(world.app.swagger() as unknown as OpenApiDocument);
});
afterAll(() => world.close());

type Sent = { key?: string; body?: string; type?: string };

/** Asks the operator interface, and holds the answer to the OpenAPI document. */
async function ask(
  method: "GET" | "POST",
  url: string,
  { key = operatorKey, body, type = "application/yaml" }: Sent = {},
) {
  const headers = { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "content-type": type }) };
  const reply = await world.app.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) });
  const contentType = String(reply.headers["content-type"]);
  const path = url.split("?")[0] ?? "";
  const answer = { path, status: reply.statusCode, contentType, body: reply.json() };
  expect(check({ ...answer, method: method === "GET" ? "get" : "post" })).toEqual([]);
  return { status: reply.statusCode, body: reply.json() };
}

let number = 0;
/** The registry with another name, so that each call changes something. */
function renamed(name = `集群 ${++number}`): string {
  const file = structuredClone(world.registry.file);
  file.cluster.name = name;
  return stringify(file);
}
const newest = () => world.ledger.lastRegistryNumber();

describe("keys", () => {
  it("of the open data interface open nothing here, and those of operators nothing there", async () => {
    for (const [method, url] of [
      ["GET", "/operator/v1/registry"],
      ["GET", "/operator/v1/audit"],
      ["POST", "/operator/v1/registry"],
    ] as const) {
      const refused = await ask(method, url, { key: apiKey, ...(method === "POST" ? { body: renamed() } : {}) });
      expect([refused.status, refused.body.code]).toEqual([401, "UNAUTHORIZED"]);
    }
    const headers = { authorization: `Bearer ${operatorKey}` };
    expect((await world.app.inject({ url: "/open/v1/info", headers })).statusCode).toBe(401);
    expect(newest()).toBe(1);
  });
});

describe("applying", () => {
  let base = 0;
  beforeEach(() => {
    base = newest();
  });

  it("first tells the difference and applies nothing", async () => {
    const { status, body } = await ask("POST", "/operator/v1/registry?dryRun=true&from=2026-11-20", {
      body: renamed("新名"),
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ applied: false, number: null, base, from: "2026-11-20T00:00:00+08:00" });
    expect(body.recomputedDays).toBe(Math.ceil((worldNowMs - Date.parse("2026-11-20T00:00:00+08:00")) / 86_400_000));
    expect(body.differences).toEqual([
      expect.objectContaining({ kind: "cluster", field: "name", after: '"新名"', change: "changed" }),
    ]);
    expect(newest()).toBe(base);
  });

  it("adds a version that both interfaces show, with who, when, from where and what", async () => {
    const { body } = await ask("POST", `/operator/v1/registry?note=${encodeURIComponent("改名")}`, {
      body: renamed("改后"),
    });
    expect(body).toMatchObject({ applied: true, number: base + 1, from: isoTime(worldNowMs), recomputedDays: 0 });
    const own = (await ask("GET", "/operator/v1/registry")).body;
    expect(own.current).toMatchObject({ number: base + 1, appliedBy: "chen", note: "改名", until: null });
    expect(own.versions[base - 1]).toMatchObject({ number: base, until: isoTime(worldNowMs), inForce: true });
    expect(own.registry.cluster.name).toBe("改后");
    const { entries } = (await ask("GET", "/operator/v1/audit?limit=1")).body;
    expect(entries).toMatchObject([
      { actor: "chen", origin: "127.0.0.1", action: "registry.apply", time: isoTime(worldNowMs) },
    ]);
    expect(entries[0].detail).toMatchObject({ number: base + 1, note: "改名", differences: [{ field: "name" }] });
    const open = await world.get("/open/v1/registry");
    expect(open.body).toMatchObject({
      version: body.version,
      number: base + 1,
      registry: { cluster: { name: "改后" } },
    });
    const before = await world.get(`/open/v1/registry?asOf=${worldNowMs - 1}`);
    expect(before.body).toMatchObject({ number: base, until: isoTime(worldNowMs) });
    expect((await world.get("/open/v1/registry?asOf=yesterday")).body.faults).toMatchObject([{ parameter: "asOf" }]);
    expect(JSON.stringify(open.body)).not.toContain("chen");
  });

  it("takes JSON too, and does nothing where nothing differs", async () => {
    const file = world.ledger.registryVersions().at(-1)?.fileJson ?? "";
    const { status, body } = await ask("POST", "/operator/v1/registry", { body: file, type: "application/json" });
    expect([status, body.applied, body.differences, newest()]).toEqual([200, false, [], base]);
  });

  it("refuses a registry with faults, all of them at once with their lines", async () => {
    const body = renamed()
      .replace("demo: true", "demo: maybe")
      .replace(/creditCode: .*/, "creditCode: wrong");
    const refused = await ask("POST", "/operator/v1/registry", { body });
    expect([refused.status, refused.body.code]).toEqual([422, "REGISTRY_INVALID"]);
    expect(refused.body.faults.map((f: { parameter: string }) => f.parameter)).toEqual([
      expect.stringMatching(/^line \d+ \/pilot\/demo$/),
      expect.stringMatching(/^line \d+ \/enterprises\/0\/creditCode$/),
    ]);
    expect((await ask("POST", "/operator/v1/registry", { body: "a: [" })).status).toBe(422);
    expect(newest()).toBe(base);
  });

  it("refuses a wrong moment, an unknown parameter and what was made on an older version", async () => {
    const wrong = await ask("POST", "/operator/v1/registry?from=gestern", { body: renamed() });
    expect([wrong.status, wrong.body.faults[0].parameter]).toEqual([400, "from"]);
    expect((await ask("POST", "/operator/v1/registry?dry=1", { body: renamed() })).status).toBe(400);
    const moved = await ask("POST", `/operator/v1/registry?base=${base - 1}`, { body: renamed() });
    expect([moved.status, moved.body.code]).toEqual([409, "REGISTRY_MOVED"]);
    expect(newest()).toBe(base);
  });

  it("checks one registry at a time, and answers others meanwhile", async () => {
    const sent = [renamed(), renamed()].map((body) => ask("POST", "/operator/v1/registry?dryRun=true", { body }));
    expect((await world.get("/open/v1/info")).status).toBe(200);
    const answers = await Promise.all(sent);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 503]);
    expect(answers.find(({ status }) => status === 503)?.body.code).toBe("REGISTRY_BUSY");
    expect((await ask("POST", "/operator/v1/registry?dryRun=true", { body: renamed() })).status).toBe(200);
  });

  it("takes no other media type, no larger body, and no other method", async () => {
    const send = (type: string, body: string) =>
      world.app.inject({
        ...{ method: "POST", url: "/operator/v1/registry", payload: body },
        headers: { authorization: `Bearer ${operatorKey}`, "content-type": type },
      });
    expect((await send("application/xml", "<a/>")).statusCode).toBe(415);
    expect((await send("application/yaml", `# ${"x".repeat(17 * 1024 * 1024)}`)).statusCode).toBe(413);
    const other = await world.app.inject({ method: "DELETE", url: "/operator/v1/registry" });
    expect([other.statusCode, other.headers.allow]).toEqual([405, "GET, HEAD, POST"]);
  });
});
