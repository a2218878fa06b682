import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, startApi } from "./server.ts";
import { openWorld, type World } from "./test-app.ts";
import { type Follower, followStream } from "./test-follow.ts";
import { apiKey, worldNowMs } from "./test-world.ts";
import type { WallState } from "./wall-state.ts";

let world: World;
let api: Api;
const startedMs = performance.now();
/** Time goes on from the world's own; nothing of the small cluster becomes stale within a test. */
const clock = { now: () => Math.floor(worldNowMs + (performance.now() - startedMs) / 100), rate: 1 };
beforeEach(async () => {
  world = await openWorld();
  api = await startApi(world.config, { ...world.deps, clock });
});
afterEach(async () => {
  await api.close();
  await world.close();
});

const headers = { authorization: `Bearer ${apiKey}` };
const open = (more: Record<string, string> = headers) => followStream(`${api.url}/wall/stream`, more);
const states = (f: Follower) => f.events.filter((e) => e.event === "state").map((e) => JSON.parse(e.data) as WallState);
const nows = (f: Follower) => f.events.filter((e) => e.event === "now").map((e) => JSON.parse(e.data).nowMs as number);

describe("the stream of the wall", () => {
  it("brings the document at once, again when something changed, and between them only the time", async () => {
    const follower = await open();
    await expect.poll(() => states(follower)).toHaveLength(1);
    const asked = (await (await fetch(`${api.url}/wall/state`, { headers })).json()) as WallState;
    expect({ ...states(follower)[0], nowMs: 0 }).toEqual({ ...asked, nowMs: 0 });
    await expect.poll(() => nows(follower).length, { timeout: 10_000 }).toBeGreaterThan(1);
    expect(states(follower)).toHaveLength(1);
    expect(nows(follower)).toEqual(nows(follower).toSorted());
    const known = world.live.devices.get("jinlv-2/gw-1/line-1");
    if (known) known.born = false;
    await expect.poll(() => states(follower), { timeout: 5000 }).toHaveLength(2);
    expect(states(follower)[1]?.figures.devicesOnline.value).toBe("3");
    follower.leave();
    await expect.poll(() => api.apiStats().open.walls).toBe(0);
  });

  it("is one text for all displays, made twice a second at most", async () => {
    const followers = await Promise.all(Array.from({ length: 5 }, () => open()));
    for (const follower of followers) await expect.poll(() => states(follower)).toHaveLength(1);
    expect(new Set(followers.map((f) => f.events[0]?.data)).size).toBeLessThanOrEqual(2);
    const sixth = await fetch(`${api.url}/wall/stream`, { headers });
    expect(await sixth.json()).toMatchObject({ status: 503, code: "TOO_MANY_STREAMS" });
    for (const follower of followers) follower.leave();
  });

  it("wants a key unless the wall is public, ends when it is withdrawn, and when the service ends", async () => {
    expect((await fetch(`${api.url}/wall/stream`)).status).toBe(401);
    world.ledger.setCredential({ kind: "api", name: "hall" }, "first-secret");
    const hall = await open({ "x-api-key": "hall.first-secret" });
    await expect.poll(() => states(hall)).toHaveLength(1);
    world.ledger.revokeCredential("api", "hall");
    await hall.ended;
    const other = await open();
    const from = performance.now();
    await api.close();
    await other.ended;
    expect(performance.now() - from).toBeLessThan(1000);
    await using free = await startApi({ ...world.config, wall: { public: true } }, world.deps);
    const public_ = await followStream(`${free.url}/wall/stream`, {});
    await expect.poll(() => states(public_)).toHaveLength(1);
    public_.leave();
  });
});

it("counts requests by route, method and status, refused keys, and nothing that a client could make up", async () => {
  await fetch(`${api.url}/open/v1/info`, { headers });
  await fetch(`${api.url}/open/v1/definitions/oee`, { headers });
  await fetch(`${api.url}/open/v1/definitions/none`, { headers });
  await fetch(`${api.url}/open/v1/info`, { headers: { "x-api-key": "a.wrong-secret" } });
  for (let i = 0; i < 20; i += 1) await fetch(`${api.url}/nothing/${i}`, { method: "PROPFIND" });
  const count = (route: string, status: number) =>
    api.apiStats().requests.find((r) => r.route === route && r.status === status)?.count;
  await expect.poll(() => count("none", 404)).toBe(20);
  expect(count("/open/v1/info", 200)).toBe(1);
  expect(count("/open/v1/info", 401)).toBe(1);
  expect(count("/open/v1/definitions/:id", 200)).toBe(1);
  expect(count("/open/v1/definitions/:id", 404)).toBe(1);
  expect(api.apiStats().requests).toHaveLength(5);
  expect(api.apiStats().requests.find((r) => r.route === "none")?.method).toBe("other");
  expect(api.apiStats().counts.refusedKeys).toBe(1);
});
