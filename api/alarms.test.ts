import { isoTime, minuteMs } from "@jilian/domain/periods.ts";
import type { AlarmFacts } from "@jilian/store/alarms.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApi } from "./server.ts";
import { openWorld, type World } from "./test-app.ts";
import { followStream } from "./test-follow.ts";
import { createAnswerCheck, type OpenApiDocument } from "./test-openapi.ts";
import { apiKey, worldNowMs } from "./test-world.ts";

const operatorKey = "chen.operator-secret";
let world: World;
beforeAll(async () => {
  world = await openWorld();
  world.ledger.setCredential({ kind: "operator", name: "chen" }, "operator-secret");
});
afterAll(() => world.close());

const press = "jinlv-1/gw-1/press-1";
const facts: AlarmFacts = {
  kind: "threshold",
  priority: "high",
  zh: "功率过高",
  en: null,
  unit: "kW",
  registryVersion: "0123456789ab",
  simulated: true,
};

/** Keeps an alarm that was raised some minutes ago. @returns its id */
function raise(minutesAgo: number, clearedMinutesAgo?: number, device = press, id?: number): number {
  const fromMs = worldNowMs - minutesAgo * minuteMs;
  const clearedMs = clearedMinutesAgo === undefined ? undefined : worldNowMs - clearedMinutesAgo * minuteMs;
  const peak = { peak: 12_500_000n, peakMs: fromMs };
  const event = {
    parts: [{ fromMs, toMs: clearedMs, ...peak }],
    ...{ clearedMs, ending: clearedMs === undefined ? undefined : ("cleared" as const), ...peak },
  };
  const [made = 0] = world.ledger.writeAlarms(
    [{ id, track: { rule: "power", device, metric: "p" }, facts, event }],
    worldNowMs,
  );
  return made;
}

type Page = { alarms: { id: number; state: string }[]; next: string | null; counts: object };
const list = async (query: string) => {
  const { status, body } = await world.get(`/open/v1/alarms${query}`);
  return { status, body: body as unknown as Page & { code?: string } };
};

async function acknowledge(id: number | string, key = operatorKey, query = "?note=seen") {
  const path = `/operator/v1/alarms/${id}/acknowledge`;
  const headers = { authorization: `Bearer ${key}` };
  const reply = await world.app.inject({ method: "POST", url: `${path}${query}`, headers });
  const check = createAnswerCheck(world.app.swagger() as unknown as OpenApiDocument);
  const answer = {
    path,
    status: reply.statusCode,
    contentType: String(reply.headers["content-type"]),
    body: reply.json(),
  };
  expect(check({ ...answer, method: "post" })).toEqual([]);
  return { status: reply.statusCode, body: reply.json() };
}

describe("alarms over the open interface", () => {
  it("come by the time of raising, page by page, with state, times and peak", async () => {
    const ids = [raise(50, 40), raise(30), raise(30, 20, "jinlv-1/gw-1/oven-1"), raise(10, 9)];
    const all: { id: number }[] = [];
    for (let next: string | null = ""; next !== null; ) {
      const page: Awaited<ReturnType<typeof list>> = await list(`?limit=2${next === "" ? "" : `&cursor=${next}`}`);
      expect(page.status).toBe(200);
      all.push(...page.body.alarms);
      next = page.body.next;
    }
    expect(all.map(({ id }) => id)).toEqual(ids);
    expect(all[1]).toMatchObject({
      ...{ state: "active_unacknowledged", device: press, peak: "12.5", unit: "kW", cleared: null, unknownSince: null },
      parts: [{ from: isoTime(worldNowMs - 30 * minuteMs), to: null }],
    });
    expect((await list("?state=active_unacknowledged")).body.alarms.map(({ id }) => id)).toEqual([ids[1]]);
    expect((await list("?device=jinlv-1/gw-1/oven-1")).body.alarms.map(({ id }) => id)).toEqual([ids[2]]);
    const [from, to] = [25, 15].map((ago) => worldNowMs - ago * minuteMs);
    expect((await list(`?from=${from}&to=${to}`)).body.alarms.map(({ id }) => id)).toEqual([ids[1], ids[2]]);
    expect((await list("")).body.counts).toEqual({ active: 1, unknown: 0, unacknowledged: 4 });
    const one = await world.get(`/open/v1/alarms/${ids[3]}`);
    expect(one.body.alarm).toMatchObject({ id: ids[3], state: "returned_unacknowledged" });
  });

  it("refuses what it does not know, with every fault", async () => {
    expect(await world.get("/open/v1/alarms/999")).toMatchObject({ status: 404, body: { code: "ALARM_UNKNOWN" } });
    expect((await world.get("/open/v1/alarms/x")).body.code).toBe("PARAMETER_INVALID");
    expect((await list("?state=ringing")).body.code).toBe("PARAMETER_INVALID");
    expect((await list("?device=jinlv-1/gw-1/none")).body.code).toBe("ENTITY_UNKNOWN");
    expect((await list("?from=0&to=1795378286459")).body.code).toBe("PARAMETER_INVALID");
    const cursor = (await list("?limit=1")).body.next;
    expect((await list(`?cursor=${cursor}&state=withdrawn`)).body.code).toBe("PARAMETER_INVALID");
  });
});

describe("acknowledging", () => {
  it("is an operator's, once, and enters the audit", async () => {
    const id = raise(5);
    expect((await acknowledge(id, apiKey)).status).toBe(401);
    const done = await acknowledge(id);
    expect(done.status).toBe(200);
    expect(done.body.alarm).toMatchObject({ state: "active_acknowledged", acknowledgedBy: "chen", note: "seen" });
    expect(await acknowledge(id)).toMatchObject({ status: 409, body: { code: "ALARM_SETTLED" } });
    expect(await acknowledge(999)).toMatchObject({ status: 404, body: { code: "ALARM_UNKNOWN" } });
    expect(world.ledger.audit({ limit: 1 })).toMatchObject([
      { actor: "chen", action: "alarm.acknowledge", subject: String(id) },
    ]);
    expect(world.ledger.audit({ limit: 9 }).filter(({ action }) => action === "alarm.acknowledge")).toHaveLength(1);
  });

  it("is not for what was withdrawn", async () => {
    const id = raise(4, 3);
    world.ledger.writeAlarms(
      [{ id, track: { rule: "power", device: press, metric: "p" }, facts, event: undefined }],
      worldNowMs,
    );
    expect(await acknowledge(id)).toMatchObject({ status: 409, body: { code: "ALARM_SETTLED" } });
  });
});

describe("the stream", () => {
  it("tells alarms and figures in the order of their common numbers, and alarms alone if asked to", async () => {
    const api = await startApi(world.config, world.deps);
    const headers = { authorization: `Bearer ${apiKey}` };
    const open = (query: string) => followStream(`${api.url}/open/v1/stream?lastEventId=0${query}`, headers);
    const both = await open("");
    const alarms = await open("&events=alarm");
    const figures = await open("&level=factory");
    try {
      const id = raise(2);
      raise(2, 1, press, id);
      const { last } = world.ledger.changeLog();
      const isIn = ({ events }: Awaited<ReturnType<typeof open>>) => events.some((event) => event.id === String(last));
      await expect.poll(() => isIn(both) && isIn(alarms), { timeout: 10_000 }).toBe(true);
      const ids = both.events.map((event) => Number(event.id));
      expect(ids).toEqual([...ids].sort((a, b) => a - b));
      expect(new Set(both.events.map(({ event }) => event))).toEqual(new Set(["position", "alarm"]));
      const told = alarms.events.filter(({ event }) => event === "alarm").map(({ data }) => JSON.parse(data));
      expect(told.at(-1)).toMatchObject({ id, state: "returned_unacknowledged", change: last });
      expect(figures.events.map(({ event }) => event)).toEqual(["position"]);
    } finally {
      for (const one of [both, alarms, figures]) one.leave();
      await api.close();
    }
  });
});
