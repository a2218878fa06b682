import { setTimeout as sleep } from "node:timers/promises";
import { demoPlants } from "@jilian/deploy/demo/make-gateways.ts";
import type { Browser } from "playwright-core";
import { hasChromium, openChromium } from "../chromium.ts";
import { type Cluster, startCluster } from "../e2e/cluster.ts";
import { engineering, written } from "../e2e/oracle.ts";
import { quantile, type Usage, usageOf } from "./processes.ts";

export type ProcessLine = { name: string; rssMb: number; cpuPercent: number };
export type PathRates = { pollIntervalMs: number; offeredPerS: number; storedPerS: number; processes: ProcessLine[] };
export type Delays = {
  readings: number;
  storedMs: [number, number];
  pageMs: [number, number] | undefined;
  processes: ProcessLine[];
};

type Info = { counters: Record<string, number> };

function usages(cluster: Cluster): Map<string, Usage> {
  const found = new Map([...cluster.pids()].map(([name, pid]) => [name, usageOf(pid)]));
  return found;
}

function between(before: Map<string, Usage>, after: Map<string, Usage>, elapsedS: number): ProcessLine[] {
  return [...after].map(([name, { cpuS, rssBytes }]) => ({
    name,
    rssMb: rssBytes / 2 ** 20,
    cpuPercent: ((cpuS - (before.get(name)?.cpuS ?? 0)) / elapsedS) * 100,
  }));
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const endMs = Date.now() + 30_000; Date.now() < endMs; await sleep(200)) if (await holds()) return;
  throw new Error("the cluster did not come up within 30 s");
}

const clusterOf = (pollIntervalMs: number, heartbeatMs: number) =>
  startCluster({ rate: 1, originMs: Date.now(), pollIntervalMs, heartbeatMs, separateBroker: false });

/** Samples a second through the whole path: three gateways poll 21 devices and report every tag with every poll. */
export async function measurePath(pollIntervalMs: number, seconds: number): Promise<PathRates> {
  const cluster = await clusterOf(pollIntervalMs, pollIntervalMs);
  try {
    const stored = async () => (await cluster.get<Info>("/open/v1/info")).counters.storedSamples ?? 0;
    await until(async () => (await stored()) > 1000);
    await sleep(3000);
    const [before, startedMs, first] = [usages(cluster), performance.now(), await stored()];
    await sleep(seconds * 1000);
    const [last, elapsedS] = [await stored(), (performance.now() - startedMs) / 1000];
    const points = cluster.simulator.plants.reduce((sum, plant) => sum + plant.registerMap.points.length, 0);
    const processes = between(before, usages(cluster), elapsedS);
    return {
      pollIntervalMs,
      offeredPerS: (points * 1000) / pollIntervalMs,
      storedPerS: (last - first) / elapsedS,
      processes,
    };
  } finally {
    await cluster.close();
  }
}

/** When the page of a browser first held a device's reading that is not older than a time. */
async function watchPage(
  cluster: Cluster,
): Promise<{ seenAfter: (device: string, timeMs: number) => number | undefined; browser: Browser }> {
  const browser = await openChromium();
  const page = await browser.newPage();
  const seen: { device: string; lastGoodMs: number; atMs: number }[] = [];
  page.on("response", async (response) => {
    if (!response.url().endsWith("/wall/state")) return;
    const state = (await response.json().catch(() => undefined)) as
      | { factories: { id: string; devices: { id: string; lastGoodMs: number | null }[] }[] }
      | undefined;
    const atMs = Date.now();
    for (const factory of state?.factories ?? [])
      for (const d of factory.devices) seen.push({ device: d.id, lastGoodMs: d.lastGoodMs ?? 0, atMs });
  });
  await page.goto(cluster.apiUrl);
  return {
    browser,
    seenAfter: (device, timeMs) => seen.find((s) => s.device === device && s.lastGoodMs >= timeMs)?.atMs,
  };
}

type Visible = { device: string; plantMs: number; sourceMs: number; storedMs: number };

/** Follows one register of each plant: when did the plant make the value, when could the interface be asked for it. */
async function follow(cluster: Cluster, seconds: number): Promise<Visible[]> {
  const found: Visible[] = [];
  const metric = "energy-import";
  const name = `incoming-meter/${metric}`;
  const fromMs = cluster.now();
  const last = demoPlants.map(() => fromMs);
  for (const endMs = Date.now() + seconds * 1000; Date.now() < endMs; await sleep(5)) {
    for (const [i, { factory, gateway }] of demoPlants.entries()) {
      const device = `${factory}/${gateway}/incoming-meter`;
      const query = `device=${device}&metric=${metric}&from=${(last[i] as number) + 1}&to=${cluster.now() + 60_000}`;
      const page = await cluster.get<{ readings: { time: string; value: string }[] }>(`/open/v1/readings?${query}`);
      const visibleMs = Date.now();
      for (const { time, value } of page.readings) {
        const sourceMs = Date.parse(time);
        last[i] = Math.max(last[i] as number, sourceMs);
        const plant = cluster.simulator.plants[i];
        const point = plant?.registerMap.points.find((p) => p.name === name);
        const served = plant
          ?.served({ point: name })
          .findLast((s) => point && written(engineering(s.raw as bigint, point.scale)) === value);
        if (served) found.push({ device, plantMs: served.valuesTimeMs, sourceMs, storedMs: visibleMs });
      }
    }
  }
  return found;
}

/** Delay from the moment a register took its value to the moment it could be read, stored; and to the moment a browser's page held it. */
export async function measureDelay(seconds: number): Promise<Delays> {
  const cluster = await clusterOf(1000, 10_000);
  let browser: Browser | undefined;
  try {
    await until(async () => ((await cluster.get<Info>("/open/v1/info")).counters.storedSamples ?? 0) > 100);
    const page = hasChromium ? await watchPage(cluster) : undefined;
    browser = page?.browser;
    await sleep(5000);
    const before = usages(cluster);
    const startedMs = performance.now();
    // Nobody asks but the page: what the product itself takes at this pace.
    await sleep(15_000);
    const processes = between(before, usages(cluster), (performance.now() - startedMs) / 1000);
    const readings = await follow(cluster, seconds);
    await sleep(2000);
    const stored = readings.map((r) => r.storedMs - r.plantMs);
    const shown = readings.flatMap((r) => {
      const atMs = page?.seenAfter(r.device, r.sourceMs);
      return atMs === undefined ? [] : [atMs - r.plantMs];
    });
    const pair = (numbers: number[]): [number, number] => [quantile(numbers, 0.5), quantile(numbers, 0.99)];
    return {
      readings: readings.length,
      storedMs: pair(stored),
      pageMs: page && shown.length > 0 ? pair(shown) : undefined,
      processes,
    };
  } finally {
    await browser?.close();
    await cluster.close();
  }
}
