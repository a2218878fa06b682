import { hourMs, isoTime, minuteMs, periodStart } from "@jilian/domain/periods.ts";
import { publishResults } from "@jilian/store/live.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Figure } from "./figures.ts";
import { openMs, openWorld, type World } from "./test-app.ts";
import { figure, hourResults, worldNowMs } from "./test-world.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
  world.ledger.writeResults(hourResults(world.registry));
});
afterAll(() => world.close());

type Page = { figures: Figure[]; next: string | null };
async function page(query: string): Promise<Page> {
  const { status, body } = await world.get(`/open/v1/metrics?${query}`);
  expect(body.code, JSON.stringify(body)).toBeUndefined();
  expect(status).toBe(200);
  return body as Page;
}
const keyOf = (f: Figure) => `${f.start} ${f.entity} ${f.indicator}`;

/** Every figure of a question, page by page; `between` runs after each. */
async function all(query: string, limit: number, between: () => void = () => {}): Promise<Figure[]> {
  const found: Figure[] = [];
  let next: string | null = "";
  for (let i = 0; next !== null && i < 500; i += 1) {
    const one: Page = await page(next === "" ? `${query}&limit=${limit}` : `limit=${limit}&cursor=${next}`);
    expect(one.figures.length).toBeLessThanOrEqual(limit);
    found.push(...one.figures);
    next = one.next;
    between();
  }
  return found;
}

describe("figures", () => {
  it("carry everything needed to judge them, times with the zone's offset, the value digit for digit", async () => {
    const startMs = periodStart("hour", worldNowMs) - hourMs;
    const { figures } = await page(`level=factory&entity=jinlv-1&indicator=energy.electricity&from=${startMs}`);
    expect(figures).toHaveLength(1);
    expect(figures[0]).toEqual({
      indicator: "energy.electricity",
      level: "factory",
      entity: "jinlv-1",
      entityName: "金铝一厂（挤压）",
      period: "hour",
      start: "2026-11-22T13:00:00+08:00",
      end: "2026-11-22T14:00:00+08:00",
      value: "105.250001",
      reason: null,
      unit: "kWh",
      completeness: 1,
      estimatedShare: 0,
      lowerBound: false,
      status: "final",
      revision: 0,
      definitionVersion: 1,
      factorTable: null,
      registryVersion: world.registry.version,
      inputWatermark: 41,
      asOf: "2026-11-22T14:00:05+08:00",
      simulated: true,
      change: 11,
    });
  });

  it("are the newest look of live memory where the newest are asked for, and keep their change number while they say the same", async () => {
    const other = await openWorld();
    const key = { indicator: "energy.electricity", level: "factory", entity: "jinlv-1", period: "hour" } as const;
    const at = { ...key, startMs: periodStart("hour", worldNowMs) };
    const asked = "/open/v1/metrics/latest?level=factory&period=hour";
    const newest = async () => ((await other.get(asked)).body.figures as Figure[]).find((f) => f.entity === "jinlv-1");
    const first = figure(other.registry, at, { value: "7.1", asOfMs: worldNowMs - 20_000 });
    other.ledger.writeResults([first]);
    publishResults(other.live, [{ ...first, asOfMs: worldNowMs - 10_000, inputWatermark: 50 }]);
    expect(await newest()).toMatchObject({ value: "7.1", inputWatermark: 50, change: 1 });
    publishResults(other.live, [{ ...first, value: "7.3", asOfMs: worldNowMs - 5_000 }]);
    expect(await newest()).toMatchObject({ value: "7.3" });
    expect(await newest()).not.toHaveProperty("change");
    other.ledger.writeResults([{ ...first, value: "7.4", asOfMs: worldNowMs }]);
    expect(await newest()).toMatchObject({ value: "7.4", change: 2 });
    await other.close();
  });

  it("merge stored minutes with the open one of live memory, once each", async () => {
    const { figures } = await page("level=cluster&period=minute&indicator=energy.electricity");
    const starts = figures.map((f) => f.start);
    expect(new Set(starts).size).toBe(starts.length);
    expect(starts.at(-1)).toBe(isoTime(openMs));
    expect(figures.at(-1)).toMatchObject({ value: "2.604", completeness: 0.8, status: "provisional" });
    expect(figures).toHaveLength(41);
  });
});

describe("pages", () => {
  it.each([1, 3, 7, 100])("of %i give every figure once, in order", async (limit) => {
    const query = `level=factory&period=minute&from=${openMs - 40 * minuteMs}&to=${openMs}`;
    const found = (await all(query, limit)).map(keyOf);
    expect(found).toHaveLength(160);
    expect(new Set(found).size).toBe(160);
    expect(found).toEqual([...found].sort());
  });

  it("stay stable while figures are added before and behind them", async () => {
    const other = await openWorld();
    other.ledger.writeResults(hourResults(other.registry));
    const startMs = periodStart("hour", worldNowMs);
    const cluster = (hour: number) => ({
      ...({ indicator: "energy.electricity", level: "factory", entity: "huamei-1", period: "hour" } as const),
      startMs: startMs + hour * hourMs,
    });
    const first = await other.get(`/open/v1/metrics?level=factory&from=${startMs - 6 * hourMs}&to=${startMs}&limit=5`);
    const next = first.body.next as string;
    other.ledger.writeResults([-6, -5, -1].map((hour) => figure(other.registry, cluster(hour))));
    const second = await other.get(`/open/v1/metrics?limit=100&cursor=${next}`);
    const [a, b] = [first, second].map(({ body }) => (body.figures as Figure[]).map(keyOf));
    expect(a).toHaveLength(5);
    // Seven of the old ones remain; what is new comes with a new question, and nothing comes twice.
    expect(b).toHaveLength(7);
    expect((a ?? []).filter((key) => b?.includes(key))).toEqual([]);
    await other.close();
  });

  it("keep the range of the first page, whose default moved on since", async () => {
    const first = await world.get("/open/v1/metrics?level=factory&period=minute&limit=1");
    const second = await world.get(`/open/v1/metrics?cursor=${first.body.next}&level=factory`);
    expect(second.body).toMatchObject({ from: first.body.from, to: first.body.to });
  });
});

describe("figures of devices", () => {
  const device = encodeURIComponent("jinlv-1/gw-1/meter-1");

  it("are folded from leaves: minute, hour and day to the same digits", async () => {
    const minutes = await page(
      `level=device&period=minute&entity=${device}&from=${openMs - 30 * minuteMs}&to=${openMs}`,
    );
    expect(minutes.figures).toHaveLength(30);
    expect(minutes.figures[0]).toMatchObject({
      ...{ indicator: "energy.import", entityName: "进线电表", value: "1.000001", unit: "kWh", completeness: 0.75 },
      ...{ simulated: true, inputWatermark: 41, definitionVersion: 1, revision: 0 },
    });
    const hours = await page(`level=device&period=hour&indicator=energy.import&from=${openMs - 2 * hourMs}`);
    // 14:02 to 14:32: all thirty leaves lie in the open hour; before it there is nothing, and it says so.
    expect(hours.figures.map((f) => [f.value, f.reason])).toEqual([
      [null, "no_data"],
      ["30.00003", null],
    ]);
    const day = await page("level=device&period=day&indicator=energy.import&from=2026-11-22T00:00:00%2B08:00");
    expect(day.figures.map((f) => f.value)).toEqual(["30.00003"]);
  });

  it("page like all others", async () => {
    const query = `level=device&period=minute&from=${openMs - 30 * minuteMs}&to=${openMs}`;
    const whole = (await all(query, 1000)).map(keyOf);
    expect(whole).toHaveLength(60);
    expect(whole).toEqual([...whole].sort());
    for (const limit of [1, 7]) expect((await all(query, limit)).map(keyOf)).toEqual(whole);
  });

  it("do not exist for minutes to come, nor for devices without counters", async () => {
    expect((await page(`level=device&period=minute&from=${worldNowMs}&to=${worldNowMs + hourMs}`)).figures).toEqual([]);
    expect((await page(`level=device&entity=${encodeURIComponent("jinlv-1/gw-1/oven-1")}`)).figures).toEqual([]);
  });
});

describe("the latest", () => {
  it("is one figure of each indicator, entity and period; live before stored", async () => {
    const { body } = await world.get("/open/v1/metrics/latest");
    const figures = body.figures as Figure[];
    const keys = figures.map((f) => `${f.indicator} ${f.level} ${f.entity} ${f.period}`);
    expect(new Set(keys).size).toBe(keys.length);
    const of = (indicator: string, entity: string, period: string) =>
      figures.find((f) => f.indicator === indicator && f.entity === entity && f.period === period);
    expect(of("devices.online", "nanhai-aluminium", "minute")).toMatchObject({ value: "4", unit: "1" });
    expect(of("energy.electricity", "nanhai-aluminium", "minute")?.start).toBe(isoTime(openMs));
    // Only the ledger has these; only the telemetry store those.
    expect(of("energy.electricity", "jinlv-2", "hour")).toMatchObject({ value: "105.250001", change: 12 });
    expect(of("energy.electricity", "huamei-1", "minute")).toMatchObject({ value: null, reason: "no_data" });
    expect(body.notice).toContain("模拟数据");
  });

  it("filters", async () => {
    const { body } = await world.get("/open/v1/metrics/latest?level=factory&entity=jinlv-1&period=hour");
    expect((body.figures as Figure[]).map((f) => `${f.entity} ${f.period}`)).toEqual(["jinlv-1 hour"]);
  });
});

describe("bad questions", () => {
  const faults = async (query: string) => {
    const { status, body } = await world.get(`/open/v1/metrics?${query}`);
    expect(status).toBe(400);
    return (body.faults as { parameter: string; remedy: string }[]).map((f) => f.parameter);
  };

  it("are answered with every fault at once", async () => {
    expect(await faults("level=site&period=week&limit=0&foo=1")).toEqual(
      expect.arrayContaining(["level", "period", "limit", "foo"]),
    );
    expect(await faults("from=yesterday&to=2026-11-22")).toEqual(["to", "from"]);
    expect(await faults("limit=5001")).toEqual(["limit"]);
    expect(await faults("limit=abc")).toEqual(["limit"]);
    expect(await faults("level=factory&level=cluster")).toEqual(["level"]);
    expect(await faults("period=minute&from=2026-01-01T00:00:00Z")).toEqual(["from"]);
    expect(await faults("indicator=")).toEqual(["indicator"]);
  });

  it("name what is known", async () => {
    const unknown = await world.get("/open/v1/metrics?indicator=energy.elektricity");
    expect(unknown).toMatchObject({ status: 400, body: { code: "INDICATOR_UNKNOWN" } });
    expect(unknown.body.known).toContain("energy.electricity");
    expect(unknown.body.known).not.toContain("energy.import");
    const level = await world.get("/open/v1/metrics?indicator=energy.electricity&level=device");
    expect(level.body.detail).toContain("factory, enterprise, cluster");
    const entity = await world.get("/open/v1/metrics?level=factory&entity=jinlv-9");
    expect(entity).toMatchObject({
      status: 404,
      body: { code: "ENTITY_UNKNOWN", known: ["jinlv-1", "jinlv-2", "huamei-1", "duanzhou-1"] },
    });
    expect((await world.get("/open/v1/metrics/latest?level=device")).status).toBe(400);
    expect((await world.get("/open/v1/metrics/latest?entity=jinlv-1")).status).toBe(400);
  });

  it("refuses cursors that are forged, of another address, or of another question", async () => {
    const made = (content: unknown) => Buffer.from(JSON.stringify(content)).toString("base64url");
    const q = { level: "cluster", period: "minute", fromMs: 0, toMs: worldNowMs };
    for (const cursor of [
      "x",
      made({}),
      made({ q, a: [0, "a", "b"] }),
      made({ q: { ...q, level: "x" }, a: [0, "", ""] }),
    ]) {
      expect(await faults(`cursor=${cursor}`)).toEqual(["cursor"]);
    }
    const { next } = await page("level=factory&period=minute&limit=1");
    expect(await faults(`cursor=${next}&level=cluster&period=hour`)).toEqual(["level", "period"]);
    const forged = made({ q: { ...q, level: "factory", entity: "nowhere", fromMs: worldNowMs - 1 }, a: [0, "", ""] });
    expect((await world.get(`/open/v1/metrics?cursor=${forged}`)).status).toBe(404);
  });
});
