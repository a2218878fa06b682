import { connect } from "node:net";
import { hourMs, periodStart } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, startApi } from "./server.ts";
import { openWorld, type World } from "./test-app.ts";
import { type Follower, followStream } from "./test-follow.ts";
import { apiKey, figure, worldNowMs } from "./test-world.ts";

let world: World;
let api: Api;
beforeEach(async () => {
  world = await openWorld();
  api = await startApi(world.config, world.deps);
});
afterEach(async () => {
  await api.close();
  await world.close();
});

const headers = { authorization: `Bearer ${apiKey}` };
const startMs = periodStart("hour", worldNowMs) - 3 * hourMs;
const key = { indicator: "energy.electricity", level: "factory", period: "hour", startMs } as const;

/** Writes one revision of a factory's hour. */
function write(entity: string, value: string, over: Partial<Result> = {}): void {
  world.ledger.writeResults([figure(world.registry, { ...key, entity }, { value, ...over })]);
}

type Changes = {
  log: string;
  changes: { change: number; entity: string; value: string; status: string }[];
  next: number;
  last: number;
};
async function changes(query: string): Promise<Changes> {
  const { status, body } = await world.get(`/open/v1/changes?${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Changes;
}
const told = (c: Changes) => c.changes.map((r) => `${r.change} ${r.entity} ${r.value}`);

describe("changes", () => {
  it("go on from `next` without a gap and without a repetition, in any size of step, while others write", async () => {
    write("jinlv-1", "1");
    write("jinlv-2", "1");
    write("jinlv-1", "2", { status: "revised", revision: 1 });
    const first = await changes("");
    expect(told(first)).toEqual(["1 jinlv-1 1", "2 jinlv-2 1", "3 jinlv-1 2"]);
    expect(first).toMatchObject({ next: 3, last: 3, log: world.ledger.changeLog().id });
    const seen: string[] = [];
    let after = 0;
    for (let turn = 0; turn < 12; turn += 1) {
      const step = await changes(`after=${after}&limit=2&log=${first.log}`);
      seen.push(...told(step));
      after = step.next;
      if (turn < 4) write("huamei-1", `${turn}`, { status: "revised", revision: turn + 1 });
    }
    expect(seen.map((line) => Number(line.split(" ")[0]))).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(after).toBe(7);
  });

  it("filter, and go on over what they left out", async () => {
    for (const entity of ["jinlv-1", "jinlv-2", "jinlv-1", "huamei-1"])
      write(entity, String(Math.random()), { status: "final" });
    const only = await changes("level=factory&entity=jinlv-1");
    expect(told(only)).toHaveLength(2);
    expect(only.next).toBe(4);
    const none = await changes("indicator=energy.comprehensive");
    expect(none).toMatchObject({ changes: [], next: 4, last: 4 });
    expect(await changes(`level=factory&entity=jinlv-1&limit=1&after=1`)).toMatchObject({ changes: [{ change: 3 }] });
  });

  it("wait until something is there, for all who wait with one look at the ledger", async () => {
    const from = performance.now();
    const waiting = Array.from({ length: 4 }, () => fetch(`${api.url}/open/v1/changes?wait=20`, { headers }));
    await expect.poll(() => api.apiStats().open.waiters).toBe(4);
    write("jinlv-1", "7");
    const answers = (await Promise.all((await Promise.all(waiting)).map((r) => r.json()))) as Changes[];
    expect(performance.now() - from).toBeLessThan(5000);
    for (const answer of answers) expect(told(answer)).toEqual(["1 jinlv-1 7"]);
    expect(api.apiStats()).toMatchObject({ open: { waiters: 0 }, counts: { sentChanges: 4 } });
  });

  it("wait on through changes that the filter leaves out, and answer empty when the time is over", async () => {
    const answer = fetch(`${api.url}/open/v1/changes?wait=1&indicator=oee`, { headers }).then((r) => r.json());
    await expect.poll(() => api.apiStats().open.waiters).toBe(1);
    write("jinlv-1", "7");
    expect(await answer).toMatchObject({ changes: [], next: 1, last: 1 });
  });

  it("free the place of a client that went away, and answer at once when the service ends", async () => {
    const abort = new AbortController();
    const gone = fetch(`${api.url}/open/v1/changes?wait=30`, { headers, signal: abort.signal }).catch(() => "gone");
    await expect.poll(() => api.apiStats().open.waiters).toBe(1);
    abort.abort();
    expect(await gone).toBe("gone");
    await expect.poll(() => api.apiStats().open.waiters).toBe(0);
    const waiting = fetch(`${api.url}/open/v1/changes?wait=30`, { headers }).then((r) => r.json());
    await expect.poll(() => api.apiStats().open.waiters).toBe(1);
    const from = performance.now();
    const [answer] = await Promise.all([waiting.catch(() => "cut"), api.close()]);
    expect(performance.now() - from).toBeLessThan(1000);
    expect(answer).toMatchObject({ changes: [], next: 0 });
  });

  it("refuse more who wait than configured, while those who do not wait are served", async () => {
    const abort = new AbortController();
    const all = Array.from({ length: 5 }, () =>
      fetch(`${api.url}/open/v1/changes?wait=30`, { headers, signal: abort.signal }).catch(() => undefined),
    );
    await expect.poll(() => api.apiStats().open.waiters).toBe(5);
    const refused = await fetch(`${api.url}/open/v1/changes?wait=1`, { headers });
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("10");
    expect(await refused.json()).toMatchObject({ code: "TOO_MANY_STREAMS" });
    expect((await fetch(`${api.url}/open/v1/changes`, { headers })).status).toBe(200);
    abort.abort();
    await Promise.all(all);
    await expect.poll(() => api.apiStats().open.waiters).toBe(0);
  });

  it("tell a key that was withdrawn while it waited nothing", async () => {
    world.ledger.setCredential({ kind: "api", name: "guest" }, "first-secret");
    const own = { "x-api-key": "guest.first-secret" };
    const waiting = fetch(`${api.url}/open/v1/changes?wait=20`, { headers: own });
    await expect.poll(() => api.apiStats().open.waiters).toBe(1);
    world.ledger.revokeCredential("api", "guest");
    write("jinlv-1", "7");
    expect((await waiting).status).toBe(401);
  });

  it("refuse positions that this log never gave, and what is no position", async () => {
    write("jinlv-1", "1");
    const get = (query: string) => world.get(`/open/v1/changes?${query}`);
    const ahead = await get("after=2");
    expect(ahead).toMatchObject({
      status: 409,
      body: { code: "CHANGE_AHEAD", remedy: expect.stringContaining("after=0") },
    });
    expect(await get("after=1&log=0123456789abcdef")).toMatchObject({ status: 409, body: { code: "LOG_REPLACED" } });
    for (const query of [
      "after=-1",
      "after=x",
      "after=1.5",
      "after=1e99",
      "wait=31",
      "wait=-1",
      "wait=x",
      "limit=0",
      "log=",
    ]) {
      const { status, body } = await get(query);
      expect(status, query).toBe(400);
      expect((body.faults as { parameter: string }[])[0]?.parameter, query).toBe(query.split("=")[0]);
    }
    expect((await get("entity=jinlv-1")).status).toBe(400);
    expect((await get("level=device")).status).toBe(400);
    expect((await get("level=factory&entity=x")).status).toBe(404);
    expect((await get("indicator=x")).status).toBe(400);
  });
});

const ids = (follower: Follower) => follower.events.filter((e) => e.event === "change").map((e) => Number(e.id));

describe("the stream of changes", () => {
  const open = (query = "", more: Record<string, string> = {}) =>
    followStream(`${api.url}/open/v1/stream?${query}`, { ...headers, ...more });

  it("begins now, tells where that is, and brings each change once, in order", async () => {
    write("jinlv-1", "1");
    const follower = await open();
    expect(follower.status).toBe(200);
    expect(follower.headers.get("content-type")).toBe("text/event-stream");
    expect(follower.headers.get("cache-control")).toBe("no-store");
    expect(follower.headers.get("x-content-type-options")).toBe("nosniff");
    await expect.poll(() => follower.events).toHaveLength(1);
    expect(follower.text()).toMatch(/^retry: 2000\n\n/);
    expect(follower.events[0]).toMatchObject({ event: "position", id: "1" });
    expect(JSON.parse(follower.events[0]?.data ?? "")).toEqual({ log: world.ledger.changeLog().id, after: 1, last: 1 });
    for (const value of ["2", "3", "4"]) write("jinlv-1", value, { status: "revised", revision: Number(value) });
    await expect.poll(() => ids(follower)).toEqual([2, 3, 4]);
    const listed = await changes("after=1");
    expect(follower.events.slice(1).map((e) => JSON.parse(e.data))).toEqual(listed.changes);
    expect(api.apiStats().open.streams).toBe(1);
    follower.leave();
    await expect.poll(() => api.apiStats().open.streams).toBe(0);
  });

  it("goes on behind the last event that a client got, through many cuts, without a gap or a repetition", async () => {
    const seen: number[] = [];
    for (let cut = 0; cut < 5; cut += 1) {
      const from = seen.at(-1) ?? 0;
      const follower = await open("", { "last-event-id": String(from) });
      for (let i = 0; i < 3; i += 1) write("jinlv-2", `${cut}.${i}`, { status: "revised", revision: cut * 3 + i + 1 });
      // What the client has when the line is cut, it has; whatever was on its way comes again.
      await expect.poll(() => ids(follower).length).toBeGreaterThan(0);
      follower.leave();
      seen.push(...ids(follower));
    }
    const last = await open(`lastEventId=${seen.at(-1)}`);
    await expect.poll(() => [...seen, ...ids(last)].at(-1)).toBe(15);
    expect([...seen, ...ids(last)]).toEqual(Array.from({ length: 15 }, (_, i) => i + 1));
    last.leave();
  });

  it("brings the whole log in steps to who begins at 0, filtered for who filters", async () => {
    for (let i = 0; i < 450; i += 1)
      write(i % 3 === 0 ? "jinlv-1" : "jinlv-2", `${i}`, { status: "revised", revision: i });
    const [all, some] = await Promise.all([open("lastEventId=0"), open("lastEventId=0&level=factory&entity=jinlv-1")]);
    await expect.poll(() => ids(all)).toEqual(Array.from({ length: 450 }, (_, i) => i + 1));
    await expect.poll(() => ids(some)).toEqual(Array.from({ length: 150 }, (_, i) => 3 * i + 1));
    for (const follower of [all, some]) follower.leave();
  });

  it("ends when its key is withdrawn, and says nothing more", async () => {
    world.ledger.setCredential({ kind: "api", name: "guest" }, "first-secret");
    const follower = await followStream(`${api.url}/open/v1/stream`, { "x-api-key": "guest.first-secret" });
    await expect.poll(() => follower.events.length).toBe(1);
    world.ledger.revokeCredential("api", "guest");
    write("jinlv-1", "7");
    await follower.ended;
    expect(ids(follower)).toEqual([]);
  });

  it("ends at once when the service does", async () => {
    const follower = await open();
    const from = performance.now();
    await api.close();
    await follower.ended;
    expect(performance.now() - from).toBeLessThan(1000);
  });

  it("is refused beyond the number configured, and served again when one has left", async () => {
    const followers = await Promise.all(Array.from({ length: 5 }, () => open()));
    const refused = await fetch(`${api.url}/open/v1/stream`, { headers });
    expect(refused.status).toBe(503);
    expect(refused.headers.get("content-type")).toMatch(/^application\/problem\+json/);
    expect(await refused.json()).toMatchObject({ code: "TOO_MANY_STREAMS", status: 503 });
    followers[0]?.leave();
    await expect.poll(() => api.apiStats().open.streams).toBe(4);
    followers.push(await open());
    expect(followers.at(-1)?.status).toBe(200);
    expect(api.apiStats().counts.refusedStreams).toBe(1);
    for (const follower of followers) follower.leave();
  });

  it("holds little for a client that does not read, and goes on for others", async () => {
    const long = "9".repeat(20_000);
    for (let i = 0; i < 600; i += 1) write("jinlv-1", `${i}.${long}`, { status: "revised", revision: i });
    const socket = connect(api.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.pause();
    socket.write(`GET /open/v1/stream?lastEventId=0 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${apiKey}\r\n\r\n`);
    await expect.poll(() => api.apiStats().open.streams).toBe(1);
    const other = await open("lastEventId=599");
    await expect.poll(() => ids(other)).toEqual([600]);
    // 12 MB are there for it; what it does not read stays in the ledger. A step is 200 changes, 4 MB.
    expect(api.apiStats().counts.sentChanges).toBeLessThanOrEqual(1 + 200);
    socket.destroy();
    await expect.poll(() => api.apiStats().open.streams).toBe(1);
    other.leave();
  });

  it("refuses an id that is none, a position ahead of the log, a wrong key, another method", async () => {
    const get = (query: string, more: Record<string, string> = {}, method = "GET") =>
      fetch(`${api.url}/open/v1/stream?${query}`, { method, headers: { ...headers, ...more } });
    for (const bad of ["x", "-1", "1.5", "1 2", "9".repeat(40)]) {
      const reply = await get("", { "last-event-id": bad });
      expect(reply.status, bad).toBe(400);
      expect(await reply.json()).toMatchObject({ faults: [{ parameter: "Last-Event-ID" }] });
    }
    expect((await get("lastEventId=-1")).status).toBe(400);
    expect((await get("", { "last-event-id": "1" })).status).toBe(409);
    expect((await get("lastEventId=0&log=other")).status).toBe(409);
    expect((await get("foo=1")).status).toBe(400);
    expect((await get("", { authorization: "Bearer a.wrong-secret" })).status).toBe(401);
    const head = await get("", {}, "HEAD");
    expect([head.status, head.headers.get("allow")]).toEqual([405, "GET"]);
    expect(api.apiStats().open.streams).toBe(0);
  });
});
