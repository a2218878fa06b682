import { afterEach, describe, expect, it, vi } from "vitest";
import { type OpsSource, opsAnswers, type Parts, textAnswer } from "./ops.ts";

const good: Parts = { store: { ready: true, state: "open", detail: { lastTx: 5 } } };
const source = (over: Partial<OpsSource> = {}): OpsSource => ({
  health: async () => good,
  metrics: async () => "a 1\n",
  ...over,
});

afterEach(() => vi.useRealTimers());

describe("answers of the ops address", () => {
  it("tell that the process lives, whatever its parts do", async () => {
    const answer = opsAnswers(source({ health: () => new Promise(() => {}) }));
    expect(await answer("GET", "/health/live")).toMatchObject({ status: 200, body: '{"status":"live"}' });
  });

  it("are 200 when every part is ready and 503 with the reasons when one is not", async () => {
    const ready = await opsAnswers(source())("GET", "/health/ready?verbose=1");
    expect([ready.status, JSON.parse(ready.body)]).toEqual([200, { status: "ready", reasons: [], parts: good }]);
    const bad = { ...good, bus: { ready: false, state: "not connected", reason: "no broker" } };
    const answer = await opsAnswers(source({ health: async () => bad }))("GET", "/health/ready");
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      503,
      { status: "not ready", reasons: ["bus: no broker"], parts: bad },
    ]);
  });

  it("are 503 when a part does not answer in time, or fails", async () => {
    vi.useFakeTimers();
    const answer = opsAnswers(source({ health: () => new Promise(() => {}) }));
    const late = answer("GET", "/health/ready");
    await vi.advanceTimersByTimeAsync(2001);
    expect(await late).toMatchObject({ status: 503, body: "health: no answer within 2000 ms\n" });
    const broken = opsAnswers(source({ metrics: () => Promise.reject(new Error("no disk")) }));
    expect(await broken("GET", "/metrics")).toMatchObject({ status: 503, body: "no disk\n" });
  });

  it("are read-only, and nothing else is there", async () => {
    const answer = opsAnswers(source());
    expect(await answer("POST", "/metrics")).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
    expect(await answer("GET", "/metrics/")).toMatchObject({ status: 404 });
    expect(await answer("GET", "/constructor")).toMatchObject({ status: 404 });
    expect((await answer("HEAD", "/metrics")).status).toBe(200);
    expect((await answer("GET", "/metrics")).headers).toMatchObject({
      "content-type": "text/plain; version=0.0.4; charset=utf-8",
      "cache-control": "no-store",
    });
  });

  it("are for this machine alone, where the program says so", async () => {
    const local = { "/own": (query: URLSearchParams) => textAnswer(200, `x=${query.get("x")}`) };
    const answer = opsAnswers(source({ local }));
    expect(await answer("GET", "/own?x=1&x=2", { isLocal: true })).toMatchObject({ status: 200, body: "x=1\n" });
    expect((await answer("GET", "/own", { isLocal: false })).status).toBe(403);
    expect((await answer("GET", "/own")).status).toBe(403);
    expect((await answer("POST", "/own", { isLocal: true })).status).toBe(405);
  });

  it("are made once for all who ask at once, and anew for who asks afterwards", async () => {
    let asked = 0;
    const gate = Promise.withResolvers<void>();
    const answer = opsAnswers(
      source({
        metrics: async () => {
          asked += 1;
          await gate.promise;
          return `a ${asked}\n`;
        },
      }),
    );
    const all = Promise.all(Array.from({ length: 20 }, () => answer("GET", "/metrics")));
    gate.resolve();
    expect(new Set((await all).map(({ body }) => body))).toEqual(new Set(["a 1\n"]));
    expect((await answer("GET", "/metrics")).body).toBe("a 2\n");
  });
});
