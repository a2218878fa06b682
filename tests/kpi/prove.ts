/** One proof: a simulated cluster through the product, on a clock that is set, and every figure of it against the oracle. */
import { random } from "@jilian/ingest/test-random.ts";
import { manualClock } from "@jilian/ingest/test-world.ts";
import type { Book } from "./book.ts";
import { type Comparison, compareAll } from "./compare.ts";
import { type Feed, feedOf, type Manner } from "./feed.ts";
import { type Oracle, oracleOf } from "./oracle.ts";
import { makePlant, type Plant } from "./plant.ts";
import { openPlatform, type Platform } from "./platform.ts";

export type Setting = {
  enterprises: number;
  /** When the platform starts, UTC ms. */
  fromMs: number;
  hours: number;
  pollMs: number;
  seed: number;
  /** How far apart the engine's ticks lie on average. */
  tickMs: number;
  /** Readings are late, shuffled and repeated. */
  troubled: boolean;
  /** Ingest, store and engine are started again in between, by chance. */
  restarts: boolean;
  /** Everything is computed again from the store in the end, and compared again. */
  recompute: boolean;
  influxUrl?: string;
  /** Transactions folded in a tick at most: with few the engine is always behind, until the end. */
  txPerTick?: number;
  /** Factories whose figures are computed in a tick at most: with few a tick leaves most of them to the next ones. */
  factoriesPerTick?: number;
  /** Rows that are folded in a tick, about: with few a fold takes many ticks, with whatever happens between them. */
  rowsPerTick?: number;
  onProgress?: (text: string) => void;
  /** Told at once: hours may lie between the first comparison and the end. */
  onCompared?: (comparison: Comparison) => void;
};

/** A run that can still be asked. */
export type Run = {
  readonly plant: Plant;
  readonly platform: Platform;
  readonly book: Book;
  readonly oracle: Oracle;
  readonly fromMs: number;
  readonly asOfMs: number;
  readonly restarts: number;
  /** Ticks after which the engine had not caught up. */
  readonly behind: number;
  /** Machine time, s. */
  readonly seconds: { feed: number; ingest: number; engine: number; settle: number };
  readonly close: () => Promise<void>;
};

export type Proof = { comparisons: Comparison[]; samples: number; compareSeconds: number; rssMb: number };

const hourMs = 3_600_000;
const deliveryMs = hourMs / 2;
/** Hours of which accounts are sent, before the start as well: clocks are wrong. */
const accountsReachMs = 24 * hourMs;

/** Adds the machine time of some work. */
async function timed<T>(seconds: Run["seconds"], part: keyof Run["seconds"], work: () => Promise<T>): Promise<T> {
  const from = performance.now();
  const found = await work();
  seconds[part] += (performance.now() - from) / 1000;
  return found;
}

/** Starts some of it again, by chance. @returns whether it did */
async function perhapsRestart(platform: Platform, feed: Feed, { chance }: ReturnType<typeof random>): Promise<boolean> {
  const engine = chance(0.2);
  const ingest = !engine && chance(0.2);
  if (engine) await platform.restartEngine();
  if (ingest) {
    await platform.restartIngest(chance(0.4));
    feed.forgotten();
  }
  return engine || ingest;
}

/** Runs a setting to its end: everything delivered and every figure up to date. */
export async function runPlant(setting: Setting): Promise<Run> {
  const { enterprises, fromMs, hours, pollMs, seed, troubled } = setting;
  const untilMs = fromMs + hours * hourMs;
  const plant = makePlant({ seed, enterprises, fromMs, untilMs, pollMs });
  const clock = manualClock(fromMs);
  const { influxUrl, txPerTick, factoriesPerTick, rowsPerTick } = setting;
  const platform = await openPlatform({
    ...{ file: plant.file, clock },
    ...(influxUrl !== undefined && { influxUrl }),
    ...(txPerTick !== undefined && { txPerTick }),
    ...(factoriesPerTick !== undefined && { factoriesPerTick }),
    ...(rowsPerTick !== undefined && { rowsPerTick }),
  });
  const manner: Manner = { seed: seed + 1, troubled, shuffledShare: troubled ? 0.03 : 0 };
  const feed = feedOf(plant, manner);
  const dice = random(seed + 2);
  const seconds = { feed: 0, ingest: 0, engine: 0, settle: 0 };
  let [restarts, behind] = [0, 0];
  let fedMs = fromMs;
  /** However seldom the engine ticks, births are heard in time: ingest does not believe one that is more than an hour from its own clock. */
  async function deliverUntil(toMs: number): Promise<void> {
    do {
      fedMs = Math.min(toMs, fedMs + deliveryMs);
      clock.set(fedMs);
      const messages = await timed(seconds, "feed", async () => feed.until(fedMs));
      await timed(seconds, "ingest", () => platform.deliver(messages));
    } while (fedMs < toMs);
  }
  for (let at = fromMs; at < untilMs; at += 1 + dice.whole(2 * setting.tickMs)) {
    await deliverUntil(at);
    if (setting.restarts && (await perhapsRestart(platform, feed, dice))) restarts += 1;
    const { caughtUp } = await timed(seconds, "engine", () => platform.tick());
    if (!caughtUp) behind += 1;
    setting.onProgress?.(
      `${((100 * (at - fromMs)) / (untilMs - fromMs)).toFixed(0)} %, ${feed.book.samples()} samples`,
    );
  }
  await deliverUntil(untilMs);
  // In the midst of a minute: the last readings hold on, clocks that are ahead say what has not come, and every kind of period is open.
  const asOfMs = untilMs + 20_345;
  clock.set(asOfMs);
  const rest = await timed(seconds, "feed", async () => feed.rest(asOfMs));
  await timed(seconds, "ingest", () => platform.deliver(rest));
  await timed(seconds, "settle", () => platform.settle());
  const oracle = oracleOf(plant.file, feed.book, fromMs - accountsReachMs);
  const told = { plant, platform, book: feed.book, oracle, fromMs, asOfMs, restarts, behind, seconds };
  return { ...told, close: platform.close };
}

/** Runs a setting and compares every figure; with `recompute` twice. */
export async function prove(setting: Setting): Promise<Proof & Pick<Run, "restarts" | "behind" | "seconds">> {
  const run = await runPlant(setting);
  try {
    const { platform, oracle, book, restarts, behind, seconds } = run;
    const from = performance.now();
    const comparisons: Comparison[] = [];
    const compare = async () => {
      const comparison = await compareAll(platform, oracle, run);
      comparisons.push(comparison);
      setting.onCompared?.(comparison);
    };
    await compare();
    if (setting.recompute) {
      await platform.forgetFigures();
      await timed(seconds, "settle", () => platform.settle());
      await compare();
    }
    const compareSeconds = (performance.now() - from) / 1000;
    const rssMb = process.memoryUsage.rss() / 1e6;
    return { comparisons, samples: book.samples(), compareSeconds, rssMb, restarts, behind, seconds };
  } finally {
    await run.close();
  }
}
