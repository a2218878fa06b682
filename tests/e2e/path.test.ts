import { afterEach, expect, it } from "vitest";
import { type Cluster, type ClusterSetting, startCluster } from "./cluster.ts";
import { until } from "./until.ts";
import { type Verdict, verify } from "./verify.ts";

/**
 * The path test: real plants' protocol, real gateways, broker, stores and interface as processes; every figure is computed again from what
 * the plants served. Plants run 60 times faster from 23:35 in Shanghai, so a run crosses an hour, a day and the watermark.
 */
const originMs = Date.parse("2026-03-09T23:35:00+08:00");
const minuteMs = 60_000;
const setting: ClusterSetting = { rate: 60, originMs, pollIntervalMs: 5000, heartbeatMs: 5000, separateBroker: false };

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function backlogIsDrained(own: Cluster): Promise<boolean> {
  const state = await own.get<{ factories: { gateways: { alive: boolean; pendingRecords: number | null }[] }[] }>(
    "/wall/state",
  );
  const gateways = state.factories.flatMap((f) => f.gateways);
  return gateways.length === 3 && gateways.every((g) => g.alive && (g.pendingRecords ?? 0) < 100);
}

function report(title: string, verdict: Verdict): void {
  const { series, served, stored, unexplained, missing, wrong, minutes, hours, days, finals } = verdict;
  process.stdout.write(
    `${title}: ${series} series, ${served} answers served, ${stored} readings stored, ${unexplained.length} unexplained, ${missing.length} missing; ${minutes} minute, ${hours} hour and ${days} day figures (${finals} final), ${wrong.length} wrong\n`,
  );
}

it("turns registers into figures, exact to the last digit", { timeout: 180_000 }, async () => {
  cluster = await startCluster(setting);
  const { now } = cluster;
  await until("52 minutes of plant time", 90_000, () => now() >= originMs + 52 * minuteMs);
  await until("no backlog", 20_000, () => backlogIsDrained(cluster as Cluster));
  const toMs = Math.floor(now() / minuteMs) * minuteMs - 3 * minuteMs;
  const verdict = await verify(cluster, { fromMs: originMs, toMs });
  report("path", verdict);
  expect(verdict.unexplained).toEqual([]);
  expect(verdict.missing).toEqual([]);
  expect(verdict.wrong).toEqual([]);
  expect(verdict.minutes).toBeGreaterThan(2000);
  expect(verdict.finals).toBeGreaterThan(1000);
  for (const plant of cluster.simulator.plants) expect(plant.stats().writesRefused).toBe(0);
  expect(cluster.complaints()).toEqual([]);
});

it("loses nothing and counts nothing twice while gateways, broker and ingest are killed", {
  timeout: 240_000,
}, async () => {
  cluster = await startCluster({ ...setting, separateBroker: true });
  const own = cluster;
  const { now } = own;
  const kills: { name: string; killedAtMs: number }[] = [];
  let nextMs = originMs + 6 * minuteMs;
  for (const name of ["gw-casting", "broker", "ingest", "gw-rolling", "ingest", "broker", "gw-extrusion", "ingest"]) {
    await until(`time to kill ${name}`, 60_000, () => now() >= nextMs);
    kills.push({ name, ...(await own.restart(name)) });
    nextMs = now() + 4 * minuteMs;
  }
  await until("recovery", 60_000, () => now() >= nextMs + 2 * minuteMs);
  await until("no backlog", 60_000, () => backlogIsDrained(own));
  const toMs = Math.floor(now() / minuteMs) * minuteMs - 3 * minuteMs;
  await until("three more minutes", 30_000, () => now() >= toMs + 6 * minuteMs);
  await until("no backlog at the end", 60_000, () => backlogIsDrained(own));
  const verdict = await verify(own, { fromMs: originMs, toMs });
  report("path with kills", verdict);
  expect(verdict.unexplained).toEqual([]);
  // An answer that a gateway had on its socket, but not yet in its hands, when it was killed was never read.
  const cut = verdict.missing.filter((m) =>
    kills.some((k) => k.name === m.gateway && Math.abs(m.timeMs - k.killedAtMs) < 12_000),
  );
  expect(verdict.missing.filter((m) => !cut.includes(m))).toEqual([]);
  expect(verdict.wrong).toEqual([]);
  for (const plant of own.simulator.plants) expect(plant.stats().writesRefused).toBe(0);
});
