import { setTimeout as sleep } from "node:timers/promises";
import { demoPlants } from "@jilian/deploy/demo/make-gateways.ts";
import type { Browser } from "playwright-core";
import { hasChromium, openChromium } from "../chromium.ts";
import { type Cluster, startCluster } from "../e2e/cluster.ts";
import { engineering, written } from "../e2e/oracle.ts";
import { quantile, type Usage, usageOf } from "./processes.ts";

export type ProcessLine = { name: string; rssMb: number; cpuPercent: number };
export type PathRates = {
  pollIntervalMs: number;
  /** Points polled over Modbus, times the polls that are due. */
  polledPerS: number;
  /** Changes that OPC UA servers told; those within a deadband are not reported further. */
  toldPerS: number;
  storedPerS: number;
  processes: ProcessLine[];
};
/** Milliseconds, median and 99 %. */
type Pair = [number, number];
export type Delays = {
  readings: number;
  storedMs: Record<"modbus" | "opcua", Pair>;
  pageMs: Pair | undefined;
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

const clusterOf = (pollIntervalMs: number, heartbeatMs: number, influxUrl?: string) => {
  const setting = { rate: 1, originMs: Date.now(), pollIntervalMs, heartbeatMs, separateBroker: false };
  return startCluster({ ...setting, ...(influxUrl === undefined ? {} : { influxUrl }) });
};

/** Values that OPC UA servers have told. */
function toldValues({ simulator }: Cluster): number {
  return simulator.plants.reduce((sum, plant) => sum + (plant.opcua?.stats().valuesServed ?? 0), 0);
}

/** Points that are polled over Modbus. */
function polledPoints({ simulator }: Cluster): number {
  const polled = simulator.plants.map((plant, i) => {
    const { reads } = demoPlants[i] as (typeof demoPlants)[number];
    const driverOf = (device: string) => (device.startsWith("machine") ? reads.machines : reads.meters);
    return plant.registerMap.points.filter(({ device }) => driverOf(device) === "modbus-tcp").length;
  });
  return polled.reduce((sum, points) => sum + points, 0);
}

/**
 * Samples a second through the whole path: three gateways report every tag of the devices that they poll over Modbus with every poll, and
 * every change that OPC UA servers tell.
 */
export async function measurePath(pollIntervalMs: number, seconds: number, influxUrl?: string): Promise<PathRates> {
  const cluster = await clusterOf(pollIntervalMs, pollIntervalMs, influxUrl);
  try {
    const stored = async () => (await cluster.get<Info>("/open/v1/info")).counters.storedSamples ?? 0;
    await until(async () => (await stored()) > 1000);
    await sleep(3000);
    const [before, startedMs, first] = [usages(cluster), performance.now(), await stored()];
    const toldBefore = toldValues(cluster);
    await sleep(seconds * 1000);
    const [last, elapsedS] = [await stored(), (performance.now() - startedMs) / 1000];
    const processes = between(before, usages(cluster), elapsedS);
    return {
      pollIntervalMs,
      polledPerS: (polledPoints(cluster) * 1000) / pollIntervalMs,
      toldPerS: (toldValues(cluster) - toldBefore) / elapsedS,
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
  await page.exposeFunction("jilianSeen", (atMs: number, devices: [string, number | null][]) => {
    for (const [device, lastGoodMs] of devices) seen.push({ device, lastGoodMs: lastGoodMs ?? 0, atMs });
  });
  await page.addInitScript(`document.addEventListener("jilian:state", ({ detail }) =>
    jilianSeen(Date.now(), detail.factories.flatMap((f) => f.devices.map((d) => [d.id, d.lastGoodMs]))))`);
  await page.goto(cluster.apiUrl);
  return {
    browser,
    seenAfter: (device, timeMs) => seen.find((s) => s.device === device && s.lastGoodMs >= timeMs)?.atMs,
  };
}

type Visible = { device: string; protocol: "modbus" | "opcua"; plantMs: number; sourceMs: number; storedMs: number };

/** Follows one register of each plant: when did the plant make the value, when could the interface be asked for it. */
async function follow(cluster: Cluster, seconds: number): Promise<Visible[]> {
  const found: Visible[] = [];
  const metric = "energy-import";
  const name = `incoming-meter/${metric}`;
  const fromMs = cluster.now();
  const last = demoPlants.map(() => fromMs);
  for (const endMs = Date.now() + seconds * 1000; Date.now() < endMs; await sleep(5)) {
    for (const [i, { factory, gateway, reads }] of demoPlants.entries()) {
      const device = `${factory}/${gateway}/incoming-meter`;
      const query = `device=${device}&metric=${metric}&from=${(last[i] as number) + 1}&to=${cluster.now() + 60_000}`;
      const page = await cluster.get<{ readings: { time: string; value: string }[] }>(`/open/v1/readings?${query}`);
      const visibleMs = Date.now();
      for (const { time, value } of page.readings) {
        const sourceMs = Date.parse(time);
        last[i] = Math.max(last[i] as number, sourceMs);
        const plant = cluster.simulator.plants[i];
        const protocol = reads.meters === "opcua" ? "opcua" : "modbus";
        const source = protocol === "opcua" ? plant?.opcua : plant;
        const map = protocol === "opcua" ? plant?.opcua?.map : plant?.registerMap;
        const scale = map?.points.find((p) => p.name === name)?.scale;
        const served = source
          ?.served({ point: name })
          .findLast((s) => scale && written(engineering(s.raw as bigint, scale)) === value);
        if (served) found.push({ device, protocol, plantMs: served.valuesTimeMs, sourceMs, storedMs: visibleMs });
      }
    }
  }
  return found;
}

const pair = (numbers: readonly number[]): Pair => [quantile(numbers, 0.5), quantile(numbers, 0.99)];

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
    const storedBy = (protocol: Visible["protocol"]) =>
      pair(readings.filter((r) => r.protocol === protocol).map((r) => r.storedMs - r.plantMs));
    const shown = readings.flatMap((r) => {
      const atMs = page?.seenAfter(r.device, r.sourceMs);
      return atMs === undefined ? [] : [atMs - r.plantMs];
    });
    return {
      readings: readings.length,
      storedMs: { modbus: storedBy("modbus"), opcua: storedBy("opcua") },
      pageMs: page && shown.length > 0 ? pair(shown) : undefined,
      processes,
    };
  } finally {
    await browser?.close();
    await cluster.close();
  }
}
