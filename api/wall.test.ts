import { existsSync } from "node:fs";
import type { AlarmFacts } from "@jilian/store/alarms.ts";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Api, startApi } from "./server.ts";
import { openWorld, type World } from "./test-app.ts";
import { colourOf, leastContrast, overflowing } from "./test-wall-probe.ts";
import { openWay } from "./test-way.ts";
import { apiKey, worldNowMs } from "./test-world.ts";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
/** Folder for pictures of the page, for the eye; none are taken without it. */
const pictures = process.env.JILIAN_PICTURES;

/** Time goes on from the world's own, so that ages grow. */
const startedMs = performance.now();
const clock = { now: () => Math.floor(worldNowMs + performance.now() - startedMs), rate: 1 };

let browser: Browser;
let world: World;
beforeAll(async () => {
  if (!executablePath) return;
  browser = await chromium.launch({ executablePath, args: flags.split(" ") });
  world = await openWorld({ wallPublic: true });
  raiseAlarms();
});

/** Two that are open, one of them without readings, and one that has returned. */
function raiseAlarms(): void {
  const facts: AlarmFacts = {
    kind: "threshold",
    priority: "urgent",
    zh: "液压压力过低",
    en: "Hydraulic pressure too low",
    unit: "MPa",
    registryVersion: world.registry.version,
    simulated: true,
  };
  const since = (minutesAgo: number) => worldNowMs - minutesAgo * 60_000;
  const event = (fromMs: number, toMs: number | undefined, clearedMs?: number) => {
    const peak = { peak: 9_100_000n, peakMs: fromMs };
    return {
      ...peak,
      parts: [{ fromMs, toMs, ...peak }],
      clearedMs,
      ending: clearedMs ? ("cleared" as const) : undefined,
    };
  };
  const track = (name: string) => ({ rule: "pressure", device: `jinlv-1/gw-1/${name}`, metric: "pressure" });
  world.ledger.writeAlarms(
    [
      { id: undefined, track: track("press-1"), facts, event: event(since(3), undefined) },
      {
        id: undefined,
        track: track("press-2"),
        facts: { ...facts, priority: "low" },
        event: event(since(90), since(50)),
      },
      { id: undefined, track: track("press-1"), facts, event: event(since(20), since(10), since(10)) },
    ],
    worldNowMs,
  );
}
afterAll(async () => {
  await browser?.close();
  await world?.close();
});

type Opened = { page: Page; troubles: string[] };
async function open(url: string, width: number, height: number): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width, height } });
  const troubles: string[] = [];
  const { origin } = new URL(url);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && troubles.push(message.text()));
  page.on("pageerror", (error) => troubles.push(error.message));
  page.on("request", (request) => request.url().startsWith(`${origin}/`) || troubles.push(`asked ${request.url()}`));
  page.on(
    "response",
    (response) => response.status() >= 400 && troubles.push(`${response.status()} ${response.url()}`),
  );
  await page.goto(url);
  return { page, troubles };
}

async function picture(page: Page, name: string): Promise<void> {
  if (pictures) await page.screenshot({ path: `${pictures}/wall-${name}.png`, fullPage: true });
}

const judged =
  ".value, .value small, .judgement span, .judgement b, .judgement p, .mark, .state, .name, .age, .reason, .label, #alarms li, #alarms b, h2, h3";

describe.skipIf(!executablePath)("the wall page (skipped where no Chromium is installed)", () => {
  it.each([
    ["wide", 1920, 1080],
    ["narrow", 390, 844],
  ])("shows real state %s, without an error or an outside request", async (name, width, height) => {
    await using api = await startApi(world.config, { ...world.deps, clock });
    const { page, troubles } = await open(`${api.url}/`, width, height);
    await page.waitForSelector(".factory");
    const text = await page.textContent("body");
    for (const word of [
      "模拟数据",
      "南海铝型材产业集群",
      "工厂连接数",
      "设备联网数",
      "4,812.4",
      "完整率 98.4%",
      "暂定",
      "数据时间",
      "秒前",
    ]) {
      expect(text).toContain(word);
    }
    for (const word of [
      "在线",
      "陈旧",
      "离线",
      "从未接入",
      "MODBUS_CONNECT_REFUSED",
      "积压 1284 条",
      "1 号挤压机 1800T",
      "无进线电表",
    ]) {
      expect(text).toContain(word);
    }
    expect(await page.locator("#alarms li").allTextContents()).toEqual([
      "报警 1 · 状态不明 1 · 未确认 3",
      expect.stringMatching(/^紧急 液压压力过低 · 1 号挤压机 1800T · 3 分钟前$/),
      expect.stringMatching(/^低 液压压力过低 · 2 号挤压机 2500T · 90 分钟前 · 读数中断$/),
    ]);
    const kpis = await page.locator(".kpi").allTextContents();
    for (const [i, word] of ["—未登记计划工时", "98.12%", "1.25%", "0.041kgce/pcs", "2,553.4kgCO2"].entries())
      expect(kpis[i]).toContain(word);
    expect(kpis[1]).toContain("完整率 87.3%");
    expect(kpis[2]).toContain("有计数未知");
    const ratios = await page.locator(".factory").first().locator(".ratio").allTextContents();
    expect(ratios.slice(0, 3)).toEqual(["OEE78.25%", "一次合格率99.00%", "报废率—未接入所需计数"]);
    expect(ratios.at(-1)).toMatch(/^完整率 最低 50%/);
    expect(await page.locator(".factory").last().locator(".ratio .none").count()).toBe(5);
    expect(await page.locator(".status-live").allTextContents()).toEqual(["实时", "实时"]);
    expect(await page.locator(".figure").count()).toBe(await page.locator(".figure .mark").count());
    expect(new Set(await page.locator(".device .shape").evaluateAll((all) => all.map((s) => s.innerHTML))).size).toBe(
      4,
    );
    expect(await page.locator(".factory").first().locator(".series rect").count()).toBe(30);
    expect(await page.locator(".factory").nth(2).locator(".series .gap").count()).toBe(8);
    expect(await leastContrast(page, judged)).toBeGreaterThanOrEqual(7);
    expect(await overflowing(page)).toEqual([]);
    await picture(page, name);
    expect(troubles).toEqual([]);
    await page.close();
  });

  it("lets ages grow and follows the state without a reload", async () => {
    await using api = await startApi(world.config, { ...world.deps, clock });
    const { page } = await open(`${api.url}/`, 1920, 1080);
    const age = page.locator(".factory", { hasText: "金铝二厂" }).locator(".device .age").first();
    await age.waitFor();
    const before = await age.textContent();
    await expect.poll(() => age.textContent(), { timeout: 5000 }).not.toBe(before);
    const known = world.live.devices.get("jinlv-2/gw-1/line-1");
    if (known) known.born = false;
    await page.locator(".factory", { hasText: "金铝二厂" }).locator(".device.offline").waitFor({ timeout: 5000 });
    if (known) known.born = true;
    await page.close();
  });

  it("speaks English on ?lang=en and at the press of the button", async () => {
    await using api = await startApi(world.config, { ...world.deps, clock });
    const { page, troubles } = await open(`${api.url}/?lang=en`, 1920, 1080);
    await page.waitForSelector(".factory");
    expect(await page.textContent("#demo")).toContain("SIMULATED DATA");
    expect(await page.getAttribute("html", "lang")).toBe("en");
    expect(await overflowing(page)).toEqual([]);
    await picture(page, "english");
    await page.click("#lang");
    expect(await page.textContent("#demo")).toContain("模拟数据");
    expect(page.url()).toContain("lang=zh");
    expect(troubles).toEqual([]);
    await page.close();
  });

  it("says at once that the platform is gone, greys everything, and comes back by itself", async () => {
    const api: Api = await startApi(world.config, { ...world.deps, clock });
    const { page } = await open(`${api.url}/`, 1920, 1080);
    await page.waitForSelector(".factory");
    const colour = () => colourOf(page, ".value");
    const alive = await colour();
    await api.close();
    await page.locator("#lost").waitFor({ timeout: 4000 });
    const told = await page.textContent("#lost");
    expect(told).toContain("连接中断");
    expect(await page.textContent("#link")).toBe("连接中断");
    expect(await page.locator(".status-live").count()).toBe(0);
    expect(await colour()).not.toBe(alive);
    expect(await page.textContent("#factories")).toContain("当时在线");
    expect(await page.title()).toContain("连接中断");
    await expect.poll(() => page.textContent("#lost"), { timeout: 5000 }).not.toBe(told);
    expect(await leastContrast(page, judged)).toBeGreaterThanOrEqual(7);
    await picture(page, "lost");
    await using _ = await startApi({ ...world.config, port: api.port }, { ...world.deps, clock });
    await page.locator("#lost").waitFor({ state: "hidden", timeout: 5000 });
    await expect.poll(colour, { timeout: 3000 }).toBe(alive);
    await page.close();
  });

  it("asks for a key where the wall is not public, and keeps it for this window only", async () => {
    const config = { ...world.config, wall: { public: false } };
    await using api = await startApi(config, { ...world.deps, clock });
    const { page } = await open(`${api.url}/`, 390, 844);
    await page.locator("#key").waitFor();
    expect(await page.locator(".figure").count()).toBe(0);
    await page.fill("#secret", "yanshi.not-the-secret");
    await page.click("#key-button");
    await expect.poll(() => page.textContent("#key-fault"), { timeout: 3000 }).toContain("密钥错误");
    await picture(page, "key");
    await page.fill("#secret", apiKey);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".factory");
    expect(await page.locator("#key").isVisible()).toBe(false);
    expect(await page.evaluate("[localStorage.length, document.cookie]")).toEqual([0, ""]);
    expect(page.url()).not.toContain("correct-horse");
    await page.reload();
    await page.waitForSelector(".factory");
    await page.close();
  });

  it("lives on the stream alone, and asks once a second where there is none", async () => {
    await using api = await startApi({ ...world.config, maxStreams: 1 }, { ...world.deps, clock });
    const { page, troubles } = await open(`${api.url}/`, 1920, 1080);
    const asked = (which: Page) => {
      let count = 0;
      which.on("request", (request) => {
        if (request.url().endsWith("/wall/state")) count += 1;
      });
      return () => count;
    };
    await page.waitForSelector(".factory");
    await expect.poll(() => api.apiStats().open.walls).toBe(1);
    const first = asked(page);
    const heard = await page.evaluate(`new Promise((resolve) => {
      const times = [];
      document.addEventListener("jilian:state", ({ detail }) => {
        times.push(detail.nowMs);
        if (times.length === 4) resolve(times);
      });
    })`);
    expect(new Set(heard as number[]).size).toBe(4);
    expect(first()).toBe(0);
    expect(troubles).toEqual([]);
    // The second display has no place on the stream.
    const second = await open(`${api.url}/`, 1920, 1080);
    await second.page.waitForSelector(".factory");
    const polled = asked(second.page);
    await expect.poll(polled, { timeout: 10_000 }).toBeGreaterThan(2);
    expect(await second.page.locator("#lost").isVisible()).toBe(false);
    await page.close();
    // When the place is free again it takes it, and stops asking.
    await expect.poll(() => api.apiStats().open.walls, { timeout: 30_000 }).toBe(1);
    await second.page.close();
  });

  it("says that it shows old data when the stream is silent and nothing answers", async () => {
    await using api = await startApi(world.config, { ...world.deps, clock });
    await using way = await openWay(api.port);
    const { page } = await open(`http://127.0.0.1:${way.port}/`, 1920, 1080);
    await page.waitForSelector(".factory");
    await expect.poll(() => api.apiStats().open.walls).toBe(1);
    // Every connection stays open, and nothing comes any more: what a pulled plug behind a switch looks like.
    way.freeze();
    await page.locator("#lost").waitFor({ timeout: 8000 });
    expect(await page.textContent("#link")).toBe("连接中断");
    way.thaw();
    await page.locator("#lost").waitFor({ state: "hidden", timeout: 8000 });
    await page.close();
  });

  it("keeps its memory flat", { timeout: 60_000 }, async () => {
    await using api = await startApi(world.config, { ...world.deps, clock });
    const { page } = await open(`${api.url}/`, 1920, 1080);
    await page.waitForSelector(".factory");
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable");
    await session.send("HeapProfiler.enable");
    const heap = async () => {
      for (let i = 0; i < 2; i += 1) await session.send("HeapProfiler.collectGarbage");
      const { metrics } = await session.send("Performance.getMetrics");
      const of = (name: string) => metrics.find((m) => m.name === name)?.value ?? Number.NaN;
      return { bytes: of("JSHeapUsedSize"), nodes: of("Nodes"), listeners: of("JSEventListeners") };
    };
    /** Renders many times what takes minutes otherwise: each resize shows all anew. */
    const render = (times: number) =>
      page.evaluate(`for (let i = 0; i < ${times}; i += 1) dispatchEvent(new Event("resize"))`);
    await render(30);
    const before = await heap();
    await render(120);
    // The last nodes are let go some time after they were dropped; what leaks stays.
    const flat = async () => {
      const after = await heap();
      return (
        after.bytes - before.bytes < 150_000 && after.nodes - before.nodes < 60 && after.listeners === before.listeners
      );
    };
    await expect.poll(flat, { timeout: 10_000 }).toBe(true);
    await page.close();
  });

  it("shows no band and no mark in a real pilot", async () => {
    const real = await openWorld({ demo: false, wallPublic: true });
    const api = await startApi(real.config, { ...real.deps, clock });
    const { page } = await open(`${api.url}/`, 1920, 1080);
    await page.waitForSelector(".factory");
    expect(await page.locator("#demo").isVisible()).toBe(false);
    expect(await page.locator(".mark").count()).toBe(0);
    await page.close();
    await api.close();
    await real.close();
  });
});
