import { connect } from "node:net";
import { Type } from "typebox";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApi } from "./server.ts";
import { openWorld, type World } from "./test-app.ts";
import { apiKey } from "./test-world.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
  world.app.get("/break", { schema: { response: { 200: Type.Object({}) } } }, async () => {
    throw new Error("the disk is /var/secret/place");
  });
});
afterAll(() => world.close());

const routes = [
  "/info",
  "/enterprises",
  "/factories",
  "/devices",
  "/metrics",
  "/metrics/latest",
  "/readings",
  "/findings",
];

describe("API keys", () => {
  it.each([...routes.map((r) => `/open/v1${r}`), "/wall/state"])("%s answers 401 without one", async (url) => {
    const reply = await world.app.inject({ url });
    expect(reply.statusCode).toBe(401);
    expect(reply.headers["www-authenticate"]).toBe('Bearer realm="jilian"');
    expect(reply.headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(reply.json()).toMatchObject({ status: 401, code: "UNAUTHORIZED", type: "urn:jilian:problem:UNAUTHORIZED" });
  });

  it("come in either header; a wrong, malformed or other kind's key is refused and never logged", async () => {
    const status = async (headers: Record<string, string>) =>
      (await world.app.inject({ url: "/open/v1/info", headers })).statusCode;
    world.ledger.setCredential({ kind: "host", name: "ingest" }, "host-secret-1");
    expect(await status({ "x-api-key": apiKey })).toBe(200);
    expect(await status({ authorization: `bearer ${apiKey}` })).toBe(200);
    expect(await status({ authorization: "Bearer yanshi.wrong-secret-99" })).toBe(401);
    expect(await status({ "x-api-key": "ingest.host-secret-1" })).toBe(401);
    expect(await status({ "x-api-key": "noform" })).toBe(401);
    expect(await status({ authorization: `Basic ${Buffer.from("a:b").toString("base64")}` })).toBe(401);
    const logged = world.lines.join("\n");
    expect(logged).toContain("API key refused");
    for (const secret of ["wrong-secret-99", "host-secret-1", "noform", "correct-horse"])
      expect(logged).not.toContain(secret);
  });

  it("end at once when the credential changes", async () => {
    const get = (key: string) => world.app.inject({ url: "/open/v1/info", headers: { "x-api-key": key } });
    world.ledger.setCredential({ kind: "api", name: "guest" }, "first-secret");
    expect((await get("guest.first-secret")).statusCode).toBe(200);
    world.ledger.setCredential({ kind: "api", name: "guest" }, "second-secret");
    expect((await get("guest.first-secret")).statusCode).toBe(401);
    expect((await get("guest.second-secret")).statusCode).toBe(200);
  });

  it("cannot be guessed fast, while a key that was right before goes on working", async () => {
    const other = await openWorld();
    try {
      expect((await other.get("/open/v1/info")).status).toBe(200);
      const replies = await Promise.all(
        Array.from({ length: 60 }, (_, i) =>
          other.app.inject({ url: "/open/v1/info", headers: { "x-api-key": `x.guess-no-${i}` } }),
        ),
      );
      const codes = replies.map((r) => r.statusCode);
      expect(new Set(codes)).toEqual(new Set([401, 429]));
      expect(replies.find((r) => r.statusCode === 429)?.headers["retry-after"]).toBe("1");
      expect((await other.get("/open/v1/info")).status).toBe(200);
    } finally {
      await other.close();
    }
  });
});

it("refused keys are logged once a second, with the number of those held back", async () => {
  const other = await openWorld();
  try {
    const told = () =>
      other.lines.map((l) => JSON.parse(l)).filter((l: { msg?: string }) => l.msg === "API key refused") as {
        heldBack: number;
      }[];
    let refused = 0;
    const guess = async () => {
      const { statusCode } = await other.app.inject({
        url: "/open/v1/info",
        headers: { "x-api-key": "x.wrong-guess" },
      });
      if (statusCode === 401) refused += 1;
    };
    const startedMs = performance.now();
    for (let i = 0; i < 10; i += 1) await guess();
    expect(refused).toBe(10);
    expect(told().length).toBeLessThanOrEqual(1 + Math.floor((performance.now() - startedMs) / 1000));
    const before = told().length;
    const toldAfterAnother = async () => {
      await guess();
      return told().length;
    };
    await expect.poll(toldAfterAnother, { timeout: 5000 }).toBe(before + 1);
    // Every refusal is in the lines: told, or held back before one.
    expect(told().reduce((sum, { heldBack }) => sum + 1 + heldBack, 0)).toBe(refused);
    expect(told().some(({ heldBack }) => heldBack > 0)).toBe(true);
  } finally {
    await other.close();
  }
});

describe("problems", () => {
  it("tells an unknown address from a method that is not served", async () => {
    const unknown = await world.get("/open/v2/info");
    expect(unknown).toMatchObject({
      status: 404,
      body: { code: "ROUTE_UNKNOWN", remedy: expect.stringContaining("/open/v1/info") },
    });
    for (const method of ["POST", "PUT", "DELETE", "PATCH"] as const) {
      const reply = await world.app.inject({ method, url: "/open/v1/info", headers: { "x-api-key": apiKey } });
      expect(reply.statusCode).toBe(405);
      expect(reply.headers.allow).toBe("GET, HEAD");
      expect(reply.json().code).toBe("METHOD_NOT_ALLOWED");
    }
  });

  it.each([
    ["malformed JSON", { "content-type": "application/json" }, "{"],
    ["no JSON", { "content-type": "application/x-unknown" }, "a"],
    ["more than it takes", { "content-type": "application/json" }, `"${"x".repeat(5000)}"`],
  ])("refuses a method before it reads the body: %s", async (_what, headers, payload) => {
    const post = (url: string) => world.app.inject({ method: "POST", url, headers, payload });
    const known = await post("/open/v1/metrics");
    expect(known).toMatchObject({
      statusCode: 405,
      headers: { allow: "GET, HEAD", "x-content-type-options": "nosniff" },
    });
    expect(known.json()).toMatchObject({
      code: "METHOD_NOT_ALLOWED",
      detail: "POST is not served at /open/v1/metrics",
    });
    expect((await post("/open/v1/nothing")).json()).toMatchObject({ status: 404, code: "ROUTE_UNKNOWN" });
  });

  it("answers 500 with an id that the log has, and nothing of the cause", async () => {
    const reply = await world.app.inject({ url: "/break" });
    expect(reply.statusCode).toBe(500);
    expect(reply.headers["content-type"]).toMatch(/^application\/problem\+json/);
    const { instance } = reply.json();
    expect(instance).toMatch(/^urn:uuid:[0-9a-f-]{36}$/);
    expect(reply.body).not.toMatch(/secret|\.ts|stack/);
    const line = world.lines.find((l) => l.includes(instance));
    expect(line).toContain("/var/secret/place");
  });

  it("refuses bad addresses and unknown parameters with their remedy", async () => {
    const unreadable = await world.app.inject({ url: "/open/v1/%zz" });
    expect(unreadable.headers).toMatchObject({
      "content-type": expect.stringContaining("application/problem+json"),
      "x-content-type-options": "nosniff",
    });
    expect(unreadable.json()).toMatchObject({ status: 400, code: "FST_ERR_BAD_URL" });
    const reply = await world.get("/open/v1/info?lang=en");
    expect(reply).toMatchObject({ status: 400, body: { faults: [{ parameter: "lang", remedy: 'leave out "lang"' }] } });
  });
});

describe("answers", () => {
  it("carry security headers everywhere, and no CORS", async () => {
    for (const url of ["/", "/wall/wall.js", "/open/v1/info", "/nothing", "/health/live"]) {
      const { headers } = await world.app.inject({ url, headers: { origin: "http://evil.example" } });
      expect(headers["content-security-policy"]).toContain("default-src 'self'");
      expect(headers["content-security-policy"]).toContain("frame-ancestors 'self'");
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(headers["access-control-allow-origin"]).toBeUndefined();
    }
  });

  it("tell health without a key", async () => {
    expect((await world.app.inject({ url: "/health/live" })).json()).toEqual({ status: "ok" });
    expect((await world.app.inject({ url: "/health/ready" })).json()).toEqual({ status: "ok" });
    const other = await openWorld();
    await other.telemetry.close();
    const reply = await other.app.inject({ url: "/health/ready" });
    expect(reply.statusCode).toBe(503);
    expect(reply.json()).toMatchObject({ code: "NOT_READY" });
    expect((await other.app.inject({ url: "/health/live" })).statusCode).toBe(200);
    await other.close();
  });
});

describe("startApi", () => {
  it("takes a free port, answers real sockets, and closes within a second although clients stay connected", async () => {
    const api = await startApi(world.config, world.deps);
    expect(api.url).toBe(`http://127.0.0.1:${api.port}`);
    const reply = await fetch(`${api.url}/open/v1/info`, { headers: { authorization: `Bearer ${apiKey}` } });
    expect(reply.status).toBe(200);
    const socket = connect(api.port, "127.0.0.1");
    const silent = connect(api.port, "127.0.0.1");
    const closed = Promise.all([socket, silent].map((s) => new Promise((resolve) => s.on("close", resolve))));
    await new Promise((resolve) => socket.write("GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n", resolve));
    await new Promise((resolve) => socket.once("data", resolve));
    const from = performance.now();
    await api.close();
    await closed;
    expect(performance.now() - from).toBeLessThan(1000);
  });

  it("answers bytes that are not HTTP with a problem and hangs up", async () => {
    await using api = await startApi(world.config, world.deps);
    const socket = connect(api.port, "127.0.0.1");
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
    });
    socket.write("\x10\x1f\x00\x06MQIsdp\r\n\r\n");
    await new Promise((resolve) => socket.on("close", resolve));
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(text).toContain("application/problem+json");
    expect(text).toContain("REQUEST_MALFORMED");
  });

  it("says when its port is taken", async () => {
    await using api = await startApi(world.config, world.deps);
    await expect(startApi({ ...world.config, port: api.port }, world.deps)).rejects.toMatchObject({
      code: "API_LISTEN_FAILED",
      address: `127.0.0.1:${api.port}`,
      action: "start the open data interface",
      remedy: expect.stringContaining("api.port"),
      cause: { code: "EADDRINUSE" },
    });
  });
});
