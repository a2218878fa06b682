import { minuteMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openMs, openWorld, type World } from "./test-app.ts";
import { metrics } from "./test-world.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world.close());

type Reading = { time: string; value: string | null };
const meter = `device=${encodeURIComponent("jinlv-1/gw-1/meter-1")}&metric=${encodeURIComponent(metrics.energy.name)}`;
const press = `device=${encodeURIComponent("jinlv-1/gw-1/press-1")}`;

describe("readings", () => {
  it("come with exact digits at native width, three times, quality and transaction", async () => {
    const { body } = await world.get(`/open/v1/readings?${meter}`);
    expect(body).toMatchObject({
      role: "energy.import",
      unit: "kWh",
      datatype: "Float",
      simulated: true,
      metric: "电能/正向有功总",
      next: null,
    });
    const readings = body.readings as Reading[];
    // A 32-bit float stays one: no 1234.0999755859375.
    expect(readings.map((r) => r.value)).toEqual([
      "1234.1",
      "1234.2",
      "1234.3",
      "1234.4",
      "1234.5",
      "1234.6",
      "1234.7",
      "1234.8",
      "1234.9",
      "1235",
      null,
    ]);
    expect(readings[4]).toMatchObject({ status: "UncertainLastUsableValue", quality: "uncertain" });
    expect(readings.at(-1)).toEqual({
      time: "2026-11-22T14:32:01.001+08:00",
      value: null,
      status: "BadTimeout",
      quality: "bad",
      gatewayTime: "2026-11-22T14:32:01.003+08:00",
      ingestTime: "2026-11-22T14:32:01.041+08:00",
      tx: 1,
    });
  });

  it("keep 64-bit integers and booleans", async () => {
    const one = async (metric: string) =>
      (await world.get(`/open/v1/readings?${press}&metric=${metric}`)).body.readings;
    expect(await one("Production%2FTotal")).toMatchObject([{ value: "9007199254740993" }]);
    expect(await one("Running")).toMatchObject([{ value: "true" }]);
  });

  it("have the unit and role of their time: a page ends where a birth changed them", async () => {
    const other = await openWorld();
    const changedMs = openMs - 50_000;
    const { series } = other;
    const place = { group: "jinlv-1", node: "gw-1", device: "meter-1", metric: metrics.energy.name };
    const definition = { ...metrics.energy, unit: "MWh", role: "energy.export", simulated: false };
    expect(await other.telemetry.ensureSeries([{ ...place, definition, sinceMs: changedMs }])).toEqual([series[0]]);
    const first = await other.get(`/open/v1/readings?${meter}`);
    expect(first.body).toMatchObject({ unit: "kWh", role: "energy.import", simulated: true });
    expect((first.body.readings as Reading[]).map((r) => r.value)).toEqual([
      ...["1234.1", "1234.2", "1234.3", "1234.4", "1234.5"],
    ]);
    const rest = await other.get(`/open/v1/readings?cursor=${first.body.next}`);
    expect(rest.body).toMatchObject({ unit: "MWh", role: "energy.export", simulated: false, next: null });
    expect((rest.body.readings as Reading[]).map((r) => r.value)).toEqual([
      ...["1234.6", "1234.7", "1234.8", "1234.9", "1235", null],
    ]);
    // A question of one side alone, and one whose first part is empty.
    const from = (ms: number) => `&from=${encodeURIComponent(new Date(ms).toISOString())}`;
    const to = (ms: number) => `&to=${encodeURIComponent(new Date(ms).toISOString())}`;
    const before = await other.get(`/open/v1/readings?${meter}${from(openMs - 90_000)}${to(changedMs)}`);
    expect(before.body).toMatchObject({ unit: "kWh", next: null });
    const after = await other.get(`/open/v1/readings?${meter}${from(changedMs - 1000)}${to(openMs)}`);
    expect(after.body).toMatchObject({ unit: "MWh", next: null });
    expect(after.body.readings).toHaveLength(5);
    await other.close();
  });

  it("page by time, stable while readings arrive", async () => {
    const other = await openWorld();
    const first = await other.get(`/open/v1/readings?${meter}&limit=4`);
    const late = { series: other.series[0] ?? 0, value: 1, status: Status.Good, gatewayTimeMs: 1, ingestTimeMs: 1 };
    const times = [openMs - 95_000, openMs - 5_000];
    await other.telemetry.write({ samples: times.map((sourceTimeMs) => ({ ...late, sourceTimeMs })), commits: [] });
    const rest = await other.get(`/open/v1/readings?limit=4&cursor=${first.body.next}`);
    const last = await other.get(`/open/v1/readings?limit=9&cursor=${rest.body.next}`);
    const found = [first, rest, last].map(({ body }) => (body.readings as Reading[]).map((r) => r.value));
    expect(found[0]).toEqual(["1234.1", "1234.2", "1234.3", "1234.4"]);
    // The late reading before the first page's end is not squeezed in, the one behind it comes in its place.
    expect(found.slice(1).flat()).toEqual(["1234.5", "1234.6", "1234.7", "1234.8", "1234.9", "1235", "1", null]);
    await other.close();
  });

  it("take half-open ranges", async () => {
    const { body } = await world.get(`/open/v1/readings?${meter}&from=${openMs - 100_000}&to=${openMs - 80_000}`);
    expect((body.readings as Reading[]).map((r) => r.value)).toEqual(["1234.1", "1234.2"]);
  });

  it("name what is missing or unknown", async () => {
    const none = await world.get("/open/v1/readings");
    expect((none.body.faults as { parameter: string }[]).map((f) => f.parameter)).toEqual(["device", "metric"]);
    const device = await world.get("/open/v1/readings?device=a/b/c&metric=x");
    expect(device).toMatchObject({
      status: 404,
      body: { code: "ENTITY_UNKNOWN", known: ["jinlv-1/gw-1/meter-1", "jinlv-1/gw-1/press-1"] },
    });
    const metric = await world.get(`/open/v1/readings?${press}&metric=x`);
    expect(metric).toMatchObject({
      status: 404,
      body: { code: "METRIC_UNKNOWN", known: ["Production/Total", "Running"] },
    });
    const { body } = await world.get(`/open/v1/readings?${meter}&limit=1`);
    expect((await world.get(`/open/v1/readings?${press}&cursor=${body.next}`)).status).toBe(400);
    expect((await world.get(`/open/v1/readings?cursor=${body.next}x`)).status).toBe(400);
    expect((await world.get(`/open/v1/metrics?cursor=${body.next}`)).status).toBe(400);
  });
});

describe("the registry with live state", () => {
  type Device = { id: string; name: string; state: string; reason: string | null; firstBirthTime: string | null };
  const devices = async (query: string) => (await world.get(`/open/v1/devices?${query}`)).body;

  it("tells online, stale, offline and never apart, with the gateway's reason", async () => {
    const found = (await devices("")).devices as Device[];
    expect(Object.fromEntries(found.map((d) => [d.id, d.state]))).toEqual({
      "jinlv-1/gw-1/meter-1": "online",
      "jinlv-1/gw-1/press-1": "online",
      "jinlv-1/gw-1/press-2": "offline",
      "jinlv-1/gw-1/oven-1": "stale",
      "jinlv-2/gw-1/meter-1": "online",
      "jinlv-2/gw-1/line-1": "online",
      "huamei-1/gw-1/meter-1": "offline",
      "huamei-1/gw-1/punch-1": "offline",
      "huamei-1/gw-1/vision-1": "offline",
      "duanzhou-1/gw-1/die-1": "never",
    });
    expect(found.find((d) => d.id === "jinlv-1/gw-1/press-2")).toMatchObject({
      name: "2 号挤压机 2500T",
      reason: "MODBUS_CONNECT_REFUSED 192.168.10.22:502: connection refused",
      lastGoodTime: "2026-11-22T14:21:25+08:00",
      firstBirthTime: "2026-11-20T14:32:25+08:00",
    });
  });

  it("calls a device that was born once offline, not never, after a restart lost live memory", async () => {
    world.ledger.noteBirth({ group: "duanzhou-1", node: "gw-1", device: "die-1", firstBirthMs: openMs });
    expect((await devices("factory=duanzhou-1")).devices).toMatchObject([{ state: "offline", lastGoodTime: null }]);
  });

  it("filters, and lists unregistered devices apart, counting them nowhere", async () => {
    expect((await devices("factory=jinlv-1&state=online")).devices).toHaveLength(2);
    const body = await devices("factory=jinlv-1");
    expect(body.unregistered).toEqual([
      {
        id: "jinlv-1/gw-1/press-9",
        firstSeenTime: "2026-11-22T14:31:25+08:00",
        lastSeenTime: "2026-11-22T14:31:25+08:00",
      },
    ]);
    expect(body.devices).toHaveLength(4);
    expect((await devices("factory=jinlv-2")).unregistered).toEqual([]);
    expect((await world.get("/open/v1/devices?factory=x")).status).toBe(404);
    expect((await world.get("/open/v1/devices?state=broken")).status).toBe(400);
  });

  it("counts per factory and enterprise", async () => {
    const { body } = await world.get("/open/v1/factories?enterprise=jinlv");
    expect(body.factories).toMatchObject([
      {
        ...{ id: "jinlv-1", name: "金铝一厂（挤压）", connected: true },
        devices: { registered: 4, everConnected: 4, online: 2, stale: 1, offline: 1, never: 0 },
        gateways: [{ id: "gw-1", name: "挤压车间", uplink: "5G CPE", alive: true, since: "2026-11-22T08:32:25+08:00" }],
      },
      { id: "jinlv-2", devices: { registered: 2, everConnected: 1, online: 2 } },
    ]);
    const all = await world.get("/open/v1/enterprises");
    expect(all.body.enterprises).toMatchObject([
      { id: "jinlv", factories: { registered: 2, connected: 2 }, devices: { registered: 6, online: 4 } },
      {
        id: "huamei",
        name: "深圳华美精密五金有限公司",
        factories: { registered: 1, connected: 0 },
        devices: { offline: 3 },
      },
      { id: "duanzhou" },
    ]);
  });
});

describe("info and findings", () => {
  it("tells who, when, which indicators, which limits, and that it is a demonstration", async () => {
    const { body } = await world.get("/open/v1/info");
    expect(body).toMatchObject({
      product: "Jilian 集联",
      cluster: { id: "nanhai-aluminium", name: "南海铝型材产业集群" },
      demo: true,
      timeZone: "Asia/Shanghai",
      now: "2026-11-22T14:32:25+08:00",
      registryVersion: world.registry.version,
      limits: { defaultLimit: 500, maxLimit: 5000 },
    });
    const indicators = body.indicators as { id: string }[];
    const of = (id: string) => indicators.find((i) => i.id === id);
    expect(of("factories.connected")).toMatchObject({
      zh: "工厂连接数",
      levels: ["enterprise", "cluster", "pilot"],
      periods: ["minute", "quarter_hour", "hour", "shift", "day", "month", "quarter", "year", "pilot"],
    });
    expect(of("production.scrap")).toMatchObject({ zh: "报废数", unit: "pcs", levels: ["device"] });
    expect(of("power.active")).toBeUndefined();
  });

  it("does not call a real pilot a demonstration", async () => {
    const real = await openWorld({ demo: false });
    expect((await real.get("/open/v1/info")).body).toMatchObject({ demo: false, notice: null });
    expect((await real.get("/open/v1/metrics")).body).toMatchObject({ notice: null });
    expect((await real.get("/open/v1/findings")).body).toMatchObject({ notice: null });
    await real.close();
  });

  it("lists findings, newest first, as many as asked", async () => {
    world.ledger.noteFinding({ code: "CONFLICT", subject: "x", detail: "y" }, openMs - minuteMs);
    const { body } = await world.get("/open/v1/findings?limit=1");
    expect(body.findings).toEqual([
      {
        code: "CONFLICT",
        subject: "x",
        detail: "y",
        firstTime: "2026-11-22T14:31:00+08:00",
        lastTime: "2026-11-22T14:31:00+08:00",
        count: 1,
        closedTime: null,
        closedBy: null,
      },
    ]);
    expect(body.droppedPeriods).toBe(0);
    const all = await world.get("/open/v1/findings");
    expect(all.body.notice).toBe("模拟数据 / simulated data: a demonstration, not a plant");
    expect(all.body.findings).toHaveLength(2);
    expect(JSON.stringify(all.body)).toContain("读数由 120 变为 3");
  });
});
