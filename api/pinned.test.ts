import { hourMs, isoTime, periodStart } from "@jilian/domain/periods.ts";
import { nullReasons } from "@jilian/domain/result.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Figure } from "./figures.ts";
import { openWorld, type World } from "./test-app.ts";
import { figure, hourResults, worldNowMs } from "./test-world.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

type Page = { figures: Figure[]; next: string | null; pinned: boolean; asOfChange: number | null };
async function page(query: string): Promise<Page> {
  const { status, body } = await world.get(`/open/v1/metrics?${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as unknown as Page;
}

const nowHour = periodStart("hour", worldNowMs);
const asked = `level=factory&period=hour&from=${nowHour - 6 * hourMs}&to=${nowHour + hourMs}`;

/** All pages of a question; `between` runs after each. */
async function walk(limit: number, between: () => void): Promise<{ pages: Page[]; figures: Figure[] }> {
  const pages = [await page(`${asked}&limit=${limit}`)];
  for (let next = pages[0]?.next; next; next = pages.at(-1)?.next) {
    between();
    pages.push(await page(`limit=${limit}&cursor=${next}`));
  }
  return { pages, figures: pages.flatMap((p) => p.figures) };
}

describe("pages of hours and days", () => {
  it.each([1, 2, 5, 11])(
    "of %i show what one large page showed at the start, while late data revises it",
    async (limit) => {
      world.ledger.writeResults(hourResults(world.registry));
      const whole = await page(asked);
      expect(whole).toMatchObject({ pinned: true, asOfChange: 12, next: null });
      let revision = 0;
      const revise = () => {
        revision += 1;
        const late = hourResults(world.registry).map((r) => ({
          ...r,
          ...({ value: `${revision}.5`, status: "revised", revision } as const),
        }));
        world.ledger.writeResults(late);
        const newcomer = { indicator: "oee", level: "factory", entity: "huamei-1", period: "hour" } as const;
        world.ledger.writeResults([figure(world.registry, { ...newcomer, startMs: nowHour - revision * hourMs })]);
      };
      const { pages, figures } = await walk(limit, revise);
      expect(revision).toBeGreaterThan(0);
      expect(figures).toEqual(whole.figures);
      expect(new Set(pages.map((p) => p.asOfChange))).toEqual(new Set([12]));
      const now = await page(asked);
      expect(now.figures).not.toEqual(whole.figures);
      expect(now.asOfChange).toBe(world.ledger.changeLog().last);
    },
  );

  it("neither miss nor repeat what was provisional, and tell by `change` what was looked at again", async () => {
    const open = (entity: string, value: string) =>
      figure(
        world.registry,
        { indicator: "energy.electricity", level: "factory", entity, period: "hour", startMs: nowHour },
        { value },
      );
    world.ledger.writeResults(["huamei-1", "jinlv-1", "jinlv-2"].map((entity) => open(entity, "1")));
    let value = 1;
    const { pages, figures } = await walk(1, () => {
      value += 1;
      world.ledger.writeResults(["huamei-1", "jinlv-1", "jinlv-2"].map((entity) => open(entity, `${value}`)));
    });
    expect(figures.map((f) => f.entity)).toEqual(["huamei-1", "jinlv-1", "jinlv-2"]);
    const beyond = figures.map((f) => (f.change ?? 0) > (pages[0]?.asOfChange ?? 0));
    expect(beyond).toEqual([false, true, true]);
  });

  it("end with a reason where the ledger is another one, or shorter", async () => {
    world.ledger.writeResults(hourResults(world.registry));
    const { next } = await page(`${asked}&limit=3`);
    const other = await openWorld();
    const refused = await other.get(`/open/v1/metrics?cursor=${next}`);
    expect(refused).toMatchObject({ status: 409, body: { code: "LOG_REPLACED" } });
    const held = JSON.parse(Buffer.from(next ?? "", "base64url").toString());
    const forge = (pin: unknown) => Buffer.from(JSON.stringify({ ...held, p: pin })).toString("base64url");
    const get = (pin: unknown) => world.get(`/open/v1/metrics?cursor=${forge(pin)}`);
    expect(await get({ ...held.p, c: 13 })).toMatchObject({ status: 409, body: { code: "CHANGE_AHEAD" } });
    for (const pin of [undefined, null, {}, { ...held.p, c: -1 }, { ...held.p, c: 1.5 }, { ...held.p, x: 1 }])
      expect((await get(pin)).status, JSON.stringify(pin)).toBe(400);
    await other.close();
  });

  it("are not pinned for minutes and devices, and say so", async () => {
    for (const query of ["level=factory&period=minute", "level=device&period=hour", "level=device&period=minute"])
      expect(await page(query)).toMatchObject({ pinned: false, asOfChange: null });
  });
});

describe("the history of a figure", () => {
  const start = encodeURIComponent(isoTime(nowHour - hourMs));
  const query = `indicator=energy.electricity&level=factory&entity=jinlv-1&period=hour`;
  const history = (more: string) => world.get(`/open/v1/metrics/history?${query}&${more}`);

  it("has every revision, oldest first, each with its time and its readings' last transaction", async () => {
    const [first] = hourResults(world.registry, 1);
    if (!first) throw new Error("no figure");
    world.ledger.writeResults([first]);
    for (const revision of [1, 2])
      world.ledger.writeResults([
        {
          ...first,
          value: `${revision}`,
          status: "revised",
          revision,
          asOfMs: worldNowMs + revision,
          inputWatermark: 41 + revision,
        },
      ]);
    const { body } = await history(`start=${start}`);
    expect(body).toMatchObject({
      log: world.ledger.changeLog().id,
      revisions: [
        { value: "100.250001", status: "final", revision: 0, change: 1 },
        { value: "1", status: "revised", revision: 1, inputWatermark: 42, change: 2 },
        { value: "2", revision: 2, inputWatermark: 43, change: 3, entityName: "金铝一厂（挤压）" },
      ],
    });
    expect((await history(`start=${nowHour - hourMs}`)).body).toEqual(body);
  });

  it("refuses what cannot be: no such figure, a start that is none, levels and periods without revisions", async () => {
    const none = await history(`start=${start}`);
    expect(none).toMatchObject({ status: 404, body: { code: "FIGURE_UNKNOWN" } });
    const inside = await history(`start=${nowHour - hourMs + 1}`);
    expect(inside.body.faults).toMatchObject([{ parameter: "start", remedy: `write ${isoTime(nowHour - hourMs)}` }]);
    for (const bad of ["start=x", "start=-5", "", `start=${start}&foo=1`])
      expect((await history(bad)).status, bad).toBe(400);
    const get = async (level: string, period: string) =>
      (
        await world.get(
          `/open/v1/metrics/history?indicator=energy.electricity&entity=x&level=${level}&period=${period}&start=0`,
        )
      ).status;
    expect(await get("device", "hour")).toBe(400);
    expect(await get("factory", "minute")).toBe(400);
    expect(await get("factory", "hour")).toBe(404);
  });
});

describe("definitions", () => {
  type Definition = {
    id: string;
    version: number;
    levels: string[];
    periods: string[];
    reasons: { id: string; zh: string }[];
  };
  type Factor = { name: string; value: string; unit: string; inForce: boolean };

  it("tell what a figure is made of: formula, source, factors with exact values, roles with units", async () => {
    const { body } = await world.get("/open/v1/definitions");
    expect(body).toMatchObject({
      timeZone: "Asia/Shanghai",
      watermarkMs: 900_000,
      registryVersion: world.registry.version,
    });
    const factors = body.factors as Factor[];
    expect(factors.find((f) => f.name === "GB/T 2589-2020")).toMatchObject({
      value: "0.1229",
      unit: "kgce/kWh",
      inForce: true,
    });
    expect(factors.filter((f) => f.unit === "kgCO2/kWh" && f.inForce)).toMatchObject([{ value: "0.5306" }]);
    expect(factors.filter((f) => f.unit === "kgCO2/kWh").length).toBeGreaterThan(3);
    expect(body.roles).toContainEqual({
      id: "energy.import",
      kind: "counter",
      unit: "kWh",
      zh: "用电量",
      en: "Imported energy",
    });
    const info = (await world.get("/open/v1/info")).body.indicators as { id: string }[];
    const definitions = body.definitions as Definition[];
    expect(definitions.map((d) => d.id)).toEqual(info.map((i) => i.id));
    for (const { id, reasons } of definitions)
      for (const reason of reasons)
        expect(nullReasons, id).toHaveProperty(reason.id, { zh: reason.zh, en: expect.any(String) });
    expect(definitions.find((d) => d.id === "oee")).toMatchObject({
      periods: ["hour", "shift", "day", "month", "quarter", "year", "pilot"],
      version: 1,
    });
  });

  it("come one by one, and name what is known", async () => {
    const one = await world.get("/open/v1/definitions/quality.fpy");
    expect(one.body).toMatchObject({
      id: "quality.fpy",
      zh: "一次合格率",
      source: expect.stringContaining("ISO 22400-2"),
    });
    const none = await world.get("/open/v1/definitions/quality.fpv");
    expect(none).toMatchObject({
      status: 404,
      body: { code: "DEFINITION_UNKNOWN", known: expect.arrayContaining(["energy.electricity"]) },
    });
    expect((await world.get("/open/v1/definitions?x=1")).status).toBe(400);
    const posted = await world.app.inject({ method: "POST", url: "/open/v1/definitions/oee" });
    expect(posted).toMatchObject({ statusCode: 405, headers: { allow: "GET, HEAD" } });
  });
});
