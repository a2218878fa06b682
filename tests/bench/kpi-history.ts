/** What the KPI engine costs after a day, ten days, a month: what should not grow with the history that lies in the store. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { dayMs, hourMs } from "@jilian/domain/periods.ts";
import { manualClock } from "@jilian/ingest/test-world.ts";
import type { Message } from "../kpi/feed.ts";
import { openPlatform, type Platform } from "../kpi/platform.ts";
import { cpuSeconds, plantOf } from "./kpi-size.ts";

/** What there is at the end of a day, and what its last day took. */
export type HistoryCosts = {
  days: number;
  samples: number;
  /** JavaScript heap of the engine's and ingest's thread after a collection, MB. */
  heapMb: number;
  /** Everything in the process, the embedded store's cache (bounded by its own limit) included. */
  rssMb: number;
  storeMb: number;
  /** Figures of the last day, tick by tick, and a late hour of a factory: processor time of all threads. */
  dayS: number;
  lateHourMs: number;
};

const pollMs = 60_000;
const stepMs = 15 * 60_000;
/** Noon in Shanghai. */
const fromMs = Date.UTC(2026, 9, 30, 4, 0);
const isLate = ({ topic }: Message) => topic.startsWith("spBv1.0/e0-f0/");

type Answer = { messages: Message[]; samples: number };

/** The plants, in a process of their own. */
function startFeed(enterprises: number, untilMs: number) {
  const words = [enterprises, fromMs, untilMs, pollMs].map(String);
  const child = fork(join(import.meta.dirname, "kpi-feed.ts"), words, { serialization: "advanced" });
  return {
    until: async (atMs: number): Promise<Answer> => {
      child.send(atMs);
      return ((await once(child, "message")) as [Answer])[0];
    },
    close: (): void => child.disconnect(),
  };
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** An hour of which the first factory's messages come after all the rest. */
async function lateHour(platform: Platform, hour: readonly Message[]): Promise<number> {
  await platform.deliver(hour.filter((message) => !isLate(message)));
  await platform.settle();
  await platform.deliver(hour.filter(isLate));
  return 1000 * (await cpuSeconds(() => platform.settle()));
}

/** @param at days after which is measured, rising */
export async function measureHistory(enterprises: number, at: readonly number[]): Promise<HistoryCosts[]> {
  const untilMs = fromMs + (at.at(-1) ?? 1) * dayMs;
  const { file } = plantOf(enterprises, { fromMs, untilMs, pollMs });
  const clock = manualClock(fromMs);
  const feed = startFeed(enterprises, untilMs);
  const platform = await openPlatform({ file, clock, provisionalIntervalMs: 10_000 });
  const found: HistoryCosts[] = [];
  let nowMs = fromMs;
  let samples = 0;
  async function next(): Promise<Message[]> {
    nowMs += stepMs;
    clock.set(nowMs);
    const answer = await feed.until(nowMs);
    samples = answer.samples;
    return answer.messages;
  }
  try {
    for (const days of at) {
      const endMs = fromMs + days * dayMs;
      let dayS = 0;
      while (nowMs < endMs - hourMs) {
        await platform.deliver(await next());
        const tookS = await cpuSeconds(() => platform.tick());
        if (nowMs > endMs - dayMs) dayS += tookS;
      }
      const hour: Message[] = [];
      while (nowMs < endMs) for (const message of await next()) hour.push(message);
      const lateHourMs = await lateHour(platform, hour);
      collectGarbage();
      const { heapUsed, rss } = process.memoryUsage();
      const sizes = { heapMb: heapUsed / 1e6, rssMb: rss / 1e6, storeMb: platform.storeBytes() / 1e6 };
      found.push({ days, samples, ...sizes, dayS, lateHourMs });
    }
    return found;
  } finally {
    feed.close();
    await platform.close();
  }
}
