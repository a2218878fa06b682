/** Measures the KPI engine with one number of enterprises: the simulated cluster of the proof, polled every second. */

import { leafKeeper } from "@jilian/ingest/kpi/leaves.ts";
import { seriesIndex } from "@jilian/ingest/kpi/series-index.ts";
import { manualClock } from "@jilian/ingest/test-world.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import { onlyVersion } from "@jilian/store/registry-versions.ts";
import { feedOf, type Message } from "../kpi/feed.ts";
import { makePlant, type Plant, type PlantOptions } from "../kpi/plant.ts";
import { openPlatform, type Platform } from "../kpi/platform.ts";

/** Rates are for a second of processor time of all threads. */
export type KpiCosts = {
  series: number;
  samples: number;
  storedPerCoreS: number;
  foldedPerCoreS: number;
  figuresPerCoreS: number;
  latencyMedianMs: number;
  latencyMostMs: number;
  lateHourMs: number;
  lateHourCpuMs: number;
  recomputedHourS: number;
  recomputedMonthMin: number;
  leaves: number;
  bytesPerLeaf: number;
  rssMb: number;
};

const minuteMs = 60_000;
const hourMs = 3_600_000;
const quiet = { seed: 1, troubled: false, shuffledShare: 0 };
/** An hour before noon in Shanghai. */
const fromMs = Date.UTC(2026, 10, 30, 3, 0);

/** Processor time that some work takes, of all threads. */
export async function cpuSeconds(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

async function elapsedMs(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** The plant with every clock right: costs are to be those of ordinary days. */
export function plantOf(enterprises: number, more: Pick<PlantOptions, "fromMs" | "untilMs" | "pollMs">): Plant {
  const plant = makePlant({ seed: 3, enterprises, ...more });
  const gateways = plant.gateways.map((gateway) => ({ ...gateway, clock: "true" as const, accounts: false }));
  return { ...plant, gateways };
}

/** Messages by step, made before anything is measured, and how many samples there are at the end of each. */
function messagesOf(plant: Plant, stepMs: number): { steps: Message[][]; samples: number[] } {
  const feed = feedOf(plant, quiet);
  const steps: Message[][] = [];
  const samples: number[] = [];
  for (let at = plant.options.fromMs + stepMs; at <= plant.options.untilMs; at += stepMs) {
    steps.push(feed.until(at));
    samples.push(feed.book.samples());
  }
  return { steps, samples };
}

/**
 * Folding alone, then every figure of what was folded. The first half is folded unmeasured: what is compiled meanwhile, in this thread and the
 * store's, would else be most of what a few minutes cost.
 */
async function measureFolding(enterprises: number, minutes: number) {
  const plant = plantOf(enterprises, { fromMs, untilMs: fromMs + minutes * minuteMs, pollMs: 1000 });
  const { steps, samples } = messagesOf(plant, minuteMs);
  const clock = manualClock(fromMs);
  const platform = await openPlatform({ file: plant.file, clock });
  try {
    clock.set(plant.options.untilMs + 20 * minuteMs);
    const telemetry = platform.telemetry();
    const half = Math.floor(steps.length / 2);
    let halfTx = 0;
    const storedS = await cpuSeconds(async () => {
      for (const [i, step] of steps.entries()) {
        if (i === half) halfTx = await telemetry.lastTx();
        await platform.deliver(step);
      }
    });
    // Where figures are made, a thread of its own, no messages are kept.
    steps.length = 0;
    const versions = onlyVersion(indexRegistry(plant.file));
    const index = seriesIndex(telemetry, () => versions);
    await index.learn();
    const ignored = { onResets: () => undefined, onTouched: () => undefined };
    const keeper = leafKeeper({ telemetry, index, fromTx: 0, ...ignored });
    const fold = async (afterTx: number, upToTx: number) => {
      await keeper.fold(await telemetry.changedMinutes(afterTx, upToTx), upToTx, clock.now());
    };
    const sizeBefore = platform.storeBytes();
    await fold(0, halfTx);
    const lastTx = await telemetry.lastTx();
    const foldedS = await cpuSeconds(() => fold(halfTx, lastTx));
    const { series, leaves } = await countLeaves(platform);
    const bytes = platform.storeBytes() - sizeBefore;
    const figuresS = await cpuSeconds(() => platform.settle());
    const rssMb = process.memoryUsage.rss() / 1e6;
    const all = samples.at(-1) as number;
    const folded = all - (samples[half - 1] as number);
    return { samples: all, folded, storedS, foldedS, figuresS, series, leaves, bytes, rssMb };
  } finally {
    await platform.close();
  }
}

async function countLeaves(platform: Platform): Promise<{ series: number; leaves: number }> {
  const telemetry = platform.telemetry();
  const ids = (await telemetry.series()).map(({ id }) => id);
  const [counters, states, online] = await Promise.all([
    telemetry.readLeaves(ids, 0, 1e15),
    telemetry.readStates(ids, 0, 1e15),
    telemetry.readConnections([], 0, 1e15),
  ]);
  return { series: ids.length, leaves: counters.length + states.length + online.length };
}

/** Seconds that are not measured: the first ones bring births, and the first readings after a gap. */
const warmUpSeconds = 5;

/** A second's samples stored, until their figures are made; then an hour of one factory that comes late; then an hour computed again. */
async function measureLiving(enterprises: number, seconds: number) {
  const start = fromMs + hourMs;
  const history = plantOf(enterprises, { fromMs, untilMs: start, pollMs: 10_000 });
  const { steps } = messagesOf(history, 10 * minuteMs);
  const clock = manualClock(fromMs);
  const platform = await openPlatform({ file: history.file, clock, provisionalIntervalMs: 10_000 });
  try {
    for (const [i, step] of steps.entries()) {
      clock.set(fromMs + (i + 1) * 10 * minuteMs);
      await platform.deliver(step.filter(({ topic }) => !isLate(topic)));
      await platform.tick();
    }
    const untilMs = start + (warmUpSeconds + seconds) * 1000;
    const living = plantOf(enterprises, { fromMs: start, untilMs, pollMs: 1000 });
    const took: number[] = [];
    for (const [i, step] of messagesOf(living, 1000).steps.entries()) {
      clock.set(start + (i + 1) * 1000);
      await platform.deliver(step);
      const tookMs = await elapsedMs(() => platform.tick());
      if (i >= warmUpSeconds) took.push(tookMs);
    }
    took.sort((a, b) => a - b);
    clock.set(start + 30 * minuteMs);
    await platform.settle();
    // Sessions begin anew, since the messages of the living hour came in between.
    const late = messagesOf(history, hourMs).steps.flatMap((step) => step.filter(({ topic }) => isLate(topic)));
    await platform.deliver(late);
    let lateHourMs = 0;
    const lateHourS = await cpuSeconds(async () => {
      lateHourMs = await elapsedMs(() => platform.settle());
    });
    await platform.forgetFigures();
    const recomputedHourS = (await elapsedMs(() => platform.settle())) / 1000;
    const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))] as number;
    return {
      latencyMedianMs: at(0.5),
      latencyMostMs: at(0.99),
      lateHourMs,
      lateHourCpuMs: lateHourS * 1000,
      recomputedHourS,
    };
  } finally {
    await platform.close();
  }
}

/** The factory whose hour comes late. */
const isLate = (topic: string) => topic.startsWith("spBv1.0/e0-f0/");

/** @param full samples enough for a rate that stands on its own feet; else some seconds' worth */
export async function measureKpi(enterprises: number, full: boolean): Promise<KpiCosts> {
  const minutes = Math.max(2, Math.ceil((full ? 1920 : 480) / enterprises));
  const folding = await measureFolding(enterprises, Math.min(120, minutes));
  const living = await measureLiving(enterprises, full ? 120 : 40);
  const { samples } = folding;
  return {
    series: folding.series,
    samples,
    storedPerCoreS: samples / folding.storedS,
    foldedPerCoreS: folding.folded / folding.foldedS,
    // The engine folds all of it by itself.
    figuresPerCoreS: samples / folding.figuresS,
    ...living,
    recomputedMonthMin: (living.recomputedHourS * 24 * 30) / 60,
    leaves: folding.leaves,
    bytesPerLeaf: folding.bytes / folding.leaves,
    rssMb: folding.rssMb,
  };
}
