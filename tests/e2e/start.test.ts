import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";
import { hasChromium, openChromium } from "../chromium.ts";
import { until } from "./until.ts";

const root = resolve(fileURLToPath(import.meta.url), "../../..");
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Command lines of the processes that work on a folder; Linux only. */
function processesOf(dir: string): string[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
        return environment.includes(`JILIAN_DATA=${dir}`) ? [line] : [];
      } catch {
        return [];
      }
    });
}

/** Starts the whole product, by npm or as npm does, without what makes the other tests' processes start faster; collects what it prints. */
function startAll(dir: string, byNpm = false) {
  const [program, args] = byNpm ? ["npm", ["start"]] : [process.execPath, [join(root, "deploy/start.ts")]];
  const env = { ...process.env, NODE_OPTIONS: "", JILIAN_DATA: dir };
  const child = spawn(program, args, { cwd: root, env });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += String(chunk)));
  const ended = new Promise<number | null>((done) => child.once("exit", (code) => done(code)));
  cleanups.push(async () => {
    child.kill("SIGKILL");
    await ended;
    await until("children end with their parent", 10_000, () => processesOf(dir).length === 0);
  });
  return { child, ended, text: () => text };
}

it.skipIf(!hasChromium)(
  "shows three factories and all devices online within 30 s, and ends within 3 s leaving nothing",
  { timeout: 90_000 },
  async () => {
    const base = mkdtempSync(join(tmpdir(), "jilian-start-"));
    cleanups.push(() => rmSync(base, { recursive: true, force: true }));
    const dir = join(base, "demo");
    const startedMs = Date.now();
    const product = startAll(dir);
    await until("the address is printed", 30_000, () => /http:\/\/localhost:\d+/.test(product.text()));
    const url = /http:\/\/localhost:\d+/.exec(product.text())?.[0] as string;
    const browser = await openChromium();
    cleanups.push(() => browser.close());
    const page = await browser.newPage();
    await page.setViewportSize({ width: 1920, height: 1080 });
    const outside: string[] = [];
    const errors: string[] = [];
    page.on("request", (request) => !request.url().startsWith(url) && outside.push(request.url()));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(url);
    const text = () => page.evaluate<string>("document.body.innerText");
    const online = async () => (await text()).match(/设备在线\s*7\s*\/\s*7/g)?.length === 3;
    await until("three factories with seven devices online", startedMs + 30_000 - Date.now(), online);
    expect(await text()).toContain("模拟数据");
    expect({ outside, errors }).toEqual({ outside: [], errors: [] });
    // Nothing of a card is cut off where it meets its edge.
    const cut = `[...document.querySelectorAll(".factory, .factory *")]
      .filter((e) => e.closest(".factory").getBoundingClientRect().bottom < e.getBoundingClientRect().bottom - 1)
      .map((e) => e.className + " " + e.textContent)`;
    expect(await page.evaluate(cut)).toEqual([]);

    // The printed line works as it stands.
    const curl = /curl -H '([^:]+): ([^']+)' '([^']+)'/.exec(product.text());
    const answer = await fetch(String(curl?.[3]), { headers: { [String(curl?.[1])]: String(curl?.[2]) } });
    expect(answer.status).toBe(200);
    expect(product.text()).not.toMatch(/ERROR|FATAL|\bwarn\b/);

    const endingMs = Date.now();
    product.child.kill("SIGINT");
    expect(await product.ended).toBe(0);
    expect(Date.now() - endingMs).toBeLessThan(3000);
    expect(processesOf(dir)).toEqual([]);
  },
);

it("ends with npm, refuses a folder in use and one that is not its own", { timeout: 90_000 }, async () => {
  const base = mkdtempSync(join(tmpdir(), "jilian-start-"));
  cleanups.push(() => rmSync(base, { recursive: true, force: true }));
  const dir = join(base, "demo");
  const product = startAll(dir, true);
  await until("the address is printed", 40_000, () => /http:\/\/localhost:\d+/.test(product.text()));
  const second = startAll(dir);
  expect(await second.ended).toBe(1);
  expect(second.text()).toMatch(/DEMO_FOLDER: process \d+ runs a demonstration in [\s\S]*remedy: .*JILIAN_DATA/);
  const foreign = startAll(base);
  expect(await foreign.ended).toBe(1);
  expect(foreign.text()).toMatch(/DEMO_FOLDER: .* is not a demonstration's folder\n {2}remedy: move it away/);

  // npm dies of SIGTERM and tells nobody: everything ends all the same.
  product.child.kill("SIGTERM");
  await until("nothing is left", 3000, () => processesOf(dir).length === 0);
});
