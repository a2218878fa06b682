import type { Clock } from "@jilian/domain/clock.ts";
import { deviceKeyOf } from "@jilian/domain/identity.ts";
import type { Indicator } from "@jilian/domain/indicators/definition.ts";
import { append } from "@jilian/domain/lists.ts";
import { dayMs, hourMs, minuteMs, type Period, periodStart, periods, watermarkMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { Span } from "@jilian/store/spans.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { batches } from "./batches.ts";
import { birthKeeper } from "./births.ts";
import type { CountOptions } from "./completeness.ts";
import type { Computed, Moment } from "./compute.ts";
import { finalsDue, isProgress } from "./finals.ts";
import { judgeSites, judgeWithdrawn } from "./findings.ts";
import { folder } from "./folding.ts";
import { longPeriods, lookPace } from "./looks.ts";
import { figuresWeight, finalName, progressName, resume, shares, sinceName, workPace } from "./progress.ts";
import { publisher } from "./publish.ts";
import { recomputer } from "./recompute.ts";
import { steps } from "./runs.ts";
import { latelyPublished, showcase } from "./show.ts";
import { figureStart } from "./since.ts";
import { spanBook } from "./span-book.ts";
import { withdrawer } from "./withdraw.ts";
import { workshop } from "./workshop.ts";

export type EngineParts = {
  telemetry: Telemetry;
  ledger: Ledger;
  /** The registry over time as it is now; asked again with every tick. */
  versions: () => RegistryVersions;
  clock: Clock;
  /** Indicators that are computed; those of this release if absent. */
  catalogue?: readonly Indicator[];
  provisionalIntervalMs: number;
  /** Transactions folded in one tick at most: a long backlog is taken in steps, so that today's figures go on. */
  txPerTick: number;
  /** Minutes of series that they change at most, about: of larger transactions fewer are folded in one tick. 200,000 if absent. */
  minutesPerTick?: number;
  /**
   * Rows of leaves, online time and states that are folded in one tick, about: readings an hour apart make sixty minutes of them each. If
   * absent 200,000, and at least what twenty minutes of all series make.
   */
  rowsPerTick?: number;
  /**
   * Factories whose minutes are computed in one tick at most, each counted once for each of its periods: the newest first, the others with
   * the next ticks, so that memory does not grow with a backlog. Longer periods together are as much again, by the figures that they have,
   * and so is what becomes final. What runs is always computed. If absent an hour of minutes of 60 factories, and at least four minutes of all.
   */
  factoriesPerTick?: number;
  /** Told when figures cannot be brought to displays (Telemetry.showResults); it is tried again with every tick. */
  onShowFailed?: (error: unknown) => void;
  /** Told when stored samples cannot be counted, once a minute at most: completeness stays as it is, and it is tried again. */
  onCountFailed?: (error: unknown) => void;
  /** How long figures wait for a count at most, machine time; 5 s if absent. */
  countPatienceMs?: number;
};

export type Engine = {
  /**
   * Brings leaves and results up to date with the store, or one bounded step nearer. Of thorough ticks the one that has nothing else left
   * computes all provisional figures too, whenever they were last, and has shown them when it ends; until then they have not caught up.
   * @returns the figures it computed, as they stand; minutes that a recompute makes only of the last day
   */
  readonly tick: (options?: { thorough?: boolean }) => Promise<{ results: Result[]; caughtUp: boolean }>;
  /** Transactions of the store that are not folded, as of the last tick. */
  readonly lagTx: () => number;
  /** Resolves when nothing of it is under way any more; no tick may follow. */
  readonly close: () => Promise<void>;
};

const longer = periods.filter((period) => period !== "minute");

/**
 * The KPI engine: pure functions of stored samples, brought up to date in steps (CONTRACTS 4). It keeps no truth: after a restart it
 * folds again what the ledger does not yet vouch for, to the same digits. What the watermark has passed is published only when
 * everything stored is folded: a figure must not be final and then revised only because the engine was behind.
 */
export async function createEngine(parts: EngineParts): Promise<Engine> {
  const { telemetry, ledger, clock } = parts;
  /** One version of the registry in each tick. */
  let knownVersions = parts.versions();
  const versions = () => knownVersions;
  /** False while the series are known as an earlier version makes them: the store did not answer. */
  let isLearned = true;
  const startedMs = clock.now();
  let foldedTx = await resume(parts, startedMs);
  const most = workPace(versions, parts.factoriesPerTick, parts.rowsPerTick);
  /** Last transaction of the store when it was last asked. */
  let seenTx = foldedTx;
  const shop = workshop({ ...parts, versions }, foldedTx);
  const { index, keeper, completeness } = shop;
  const folding = folder({ ...parts, keeper, mostRows: () => most.rows(index.presentRows()) });
  let seenMark = await telemetry.seriesChanges();
  const births = birthKeeper({ ledger, index, redefine: shop.redefine });
  await births.begin();
  const start = figureStart(ledger.getNumber(sinceName) ?? startedMs, shop.hours);
  const book = spanBook(versions, start, () => foldedTx);
  const dueFinals = finalsDue({ versions, start, finalMs, all: most.all, most: most.finals });
  // Periods that ended while no engine ran get their figures now; those past the watermark, when they are made final.
  let seenMinute = Math.max(finalMs("minute"), periodStart("minute", startedMs - watermarkMs));
  const pace = lookPace(parts.provisionalIntervalMs);
  /** The last tick left something for the next one, beside what was not folded and periods whose look was not due. */
  let wasLeft = false;
  /** Some of it was a backlog that is not final, or a recompute. */
  let goesOn = false;
  let knownSources = signature();
  let firstBirths = new Map<string, number>();
  const shown = showcase(telemetry, parts.onShowFailed ?? (() => undefined));
  shown.add(latelyPublished(ledger, startedMs));
  const publishAll = publisher(parts, shown.add);
  const withdraw = withdrawer({ telemetry, ledger, versions });

  function finalMs(period: Period): number {
    return ledger.getNumber(finalName(period)) as number;
  }

  /** Tells whether other series make the figures of now. */
  function signature(): string {
    const { devices, demands } = index.under(versions().at(clock.now()));
    const own = [...devices.values()].map(({ source, watched }) => `${source.signature}${watched ? " watched" : ""}`);
    return [...own, ...[...demands.values()].map((demand) => demand.signature)].join();
  }

  const touchAll = (touched: ReadonlyMap<string, Set<number>>, nowMs: number) => {
    for (const [factory, minutes] of touched) book.touch(minutes, nowMs, factory);
  };

  /** Takes notice of series that are new, and of births that changed what one says of itself. */
  async function learnNew(nowMs: number): Promise<void> {
    const mark = await telemetry.seriesChanges();
    if (mark === seenMark) return;
    await learn(nowMs);
    seenMark = mark;
  }

  const takeUpBirths = async (nowMs: number) => touchAll(await births.takeUp(nowMs, foldedTx), nowMs);

  async function learn(nowMs: number): Promise<void> {
    folding.again();
    await births.learn();
    await takeUpBirths(nowMs);
    const found = signature();
    if (found === knownSources) return;
    knownSources = found;
    // A counter that is new says why earlier figures of its machine were null; what is final stays.
    for (const period of longer) {
      const since = finalMs(period);
      book.touchRange([period], nowMs - dayMs, nowMs, nowMs, { wanted: ({ endMs }) => endMs > since });
    }
  }

  const moment = (nowMs: number): Moment => ({ nowMs, watermarkTx: foldedTx, firstBirths });

  /** Publishes figures, the ledger's in one transaction, and has final periods judged again. @returns the figures as they stand now */
  async function publish(
    computed: readonly Computed[],
    nowMs: number,
    withdrawn: readonly Result[] = [],
  ): Promise<Result[]> {
    const figures: Result[] = [];
    for (const one of computed) append(figures, one.results);
    append(figures, withdrawn);
    // First, since a figure is withdrawn once: a kill in between has it withdrawn again.
    judgeWithdrawn({ ledger, index, versions }, withdrawn, nowMs);
    const results = await publishAll(figures, nowMs);
    const finals = new Map(periods.map((period) => [period, finalMs(period)]));
    judge(
      computed.filter(({ span }) => span.endMs <= (finals.get(span.period) as number)),
      nowMs,
    );
    return results;
  }

  const judge = (computed: readonly Computed[], nowMs: number) => judgeSites(ledger, computed, foldedTx, nowMs);

  /** True for what the watermark has passed while the engine is behind. */
  const mustWait =
    (nowMs: number, behind: boolean) =>
    ({ endMs }: Pick<Span, "endMs">) =>
      behind && endMs + watermarkMs <= nowMs;

  /** Publishes what is noted of some kinds and need not wait, a bounded part of it. @returns also whether something is left */
  async function refresh(kinds: readonly Period[], nowMs: number, behind: boolean): Promise<[Result[], boolean]> {
    const waits = mustWait(nowMs, behind);
    const results: Result[] = [];
    // The kinds share what is done at once: after weeks each has a backlog, and a day's figures are as many as an hour's.
    const needs = new Map(kinds.map((period) => [period, figuresWeight[period] * book.owed(period, nowMs, waits)]));
    const share = shares(needs, most.factories(nowMs));
    const due = kinds.map((period) => {
      const own = share.get(period) ?? 0;
      const atMost = own < (needs.get(period) ?? 0) ? own / figuresWeight[period] : Number.POSITIVE_INFINITY;
      return [period, book.due(period, nowMs, waits, atMost)] as const;
    });
    const spansOf = due.map(([, spans]) => spans);
    for (const batch of batches(spansOf, most.all(nowMs), most.finals(nowMs))) {
      const computed: Computed[] = [];
      for (const spans of batch) append(computed, await shop.compute(spans, moment(nowMs)));
      append(results, await publish(computed, nowMs));
    }
    for (const [period, spans] of due) book.settled(period, spans, nowMs);
    return [results, kinds.some((period) => book.isDue(period, nowMs, waits))];
  }

  /** Makes final what the watermark has passed, a bounded part of it: every figure of every period that has any, once. */
  async function finalise(nowMs: number): Promise<{ finals: Result[]; finalsLeft: boolean }> {
    const computed: Computed[] = [];
    const withdrawn: Result[] = [];
    const { parts: due, isLeft: finalsLeft } = dueFinals(nowMs);
    for (const computing of due) {
      append(computed, await shop.compute(computing.spans, moment(nowMs)));
      append(withdrawn, await withdraw(computing, moment(nowMs)));
    }
    const reached = due.filter(isProgress);
    if (reached.length === 0) return { finals: [], finalsLeft };
    const finals = await publish(computed, nowMs, withdrawn);
    ledger.transaction(() => {
      judge(computed, nowMs);
      for (const { period, upToMs } of reached) ledger.setNumber(finalName(period), upToMs);
    });
    await shop.storeRollups(nowMs);
    return { finals, finalsLeft };
  }

  /** Folds what the store got since the last time, a bounded part of it. @returns true when something is left */
  async function fold(nowMs: number): Promise<boolean> {
    await keeper.flush(nowMs);
    const lastTx = await telemetry.lastTx();
    seenTx = lastTx;
    // The store knows what births say before it has a sample of them.
    const { touched, whole } = await folding.step(foldedTx, lastTx, nowMs, () => learnNew(nowMs));
    touchAll(touched, nowMs);
    shop.noteHours();
    if (!whole) return true;
    const { changed, upToTx } = whole;
    if (upToTx > foldedTx) {
      await completeness.fold(changed, nowMs);
      await shop.alarms.judge(changed, { upToTx, isBehind: upToTx < lastTx }, nowMs);
      foldedTx = upToTx;
    } else await shop.alarms.judge([], { upToTx, isBehind: false }, nowMs);
    for (const { fromMs, toMs, factory } of shop.alarms.differing())
      book.touchRange(periods, fromMs, toMs, nowMs, { factory });
    return upToTx < lastTx || shop.alarms.isBehind();
  }

  /**
   * Counts what is stored, before figures are made of it: readings, accounts and counts that belong together change a figure once. A loss
   * that differs changes the completeness of its hour and of what holds it.
   */
  async function countStored(options: CountOptions): Promise<void> {
    await completeness.count(options);
    for (const { hour, factory } of completeness.differing())
      book.touchRange(longer, hour, hour + hourMs, options.nowMs, { factory });
  }

  const recompute = recomputer({
    ledger,
    versions,
    hours: shop.hours,
    start,
    refold: shop.refold,
    minutesAtOnce: most.periods,
    publish: async (kinds, nowMs) => {
      const computed: Computed[] = [];
      const withdrawn: Result[] = [];
      for (const computing of kinds) {
        append(computed, await shop.compute(computing.spans, moment(nowMs)));
        append(withdrawn, await withdraw(computing, moment(nowMs)));
      }
      const own = await publish(computed, nowMs, withdrawn);
      // Nobody is told of older minutes: in the hour of a recompute they are most of what there is.
      const told = own.filter(({ period, endMs }) => period !== "minute" || endMs > nowMs - dayMs);
      append(pastResults, told);
    },
    store: (nowMs) => shop.storeRollups(nowMs),
  });
  let pastResults: Result[] = [];

  /** Takes notice of versions of the registry that were applied. */
  async function follow(nowMs: number): Promise<void> {
    const applied = parts.versions();
    if (applied !== knownVersions || !isLearned) {
      [knownVersions, isLearned] = [applied, false];
      await learn(nowMs);
      isLearned = true;
    }
    await takeUpBirths(nowMs);
    recompute.noteVersions(nowMs);
  }

  async function tick({ thorough: asked = false } = {}): Promise<{ results: Result[]; caughtUp: boolean }> {
    const nowMs = clock.now();
    await follow(nowMs);
    const behind = await fold(nowMs);
    if (!shop.alarms.isChanging()) births.noteKept();
    firstBirths = new Map(ledger.firstBirths().map((b) => [deviceKeyOf(b), b.firstBirthMs]));
    const nowMinute = periodStart("minute", nowMs);
    book.touch(steps(seenMinute, nowMinute + 1, minuteMs), nowMs);
    seenMinute = nowMinute;
    // Once, when all else is done: what runs would else be computed anew with every step through a backlog.
    const thorough = asked && !behind && !wasLeft;
    const looks = pace.due(thorough, behind || goesOn);
    await keeper.look(nowMs, looks.short);
    const [minutes, minutesLeft] = await refresh(["minute"], nowMs, behind);
    const ends = !behind && periodStart("hour", nowMs - watermarkMs) > finalMs("hour");
    const held = mustWait(nowMs, behind);
    const isHeld = (hour: number) => held({ endMs: hour + hourMs });
    if (looks.short || ends) await countStored({ nowMs, thorough: asked && !behind, urgent: ends, isHeld });
    const looked = longer.filter((period) => (longPeriods.includes(period) ? looks.long : looks.short));
    const [refreshed, left] = await (looks.short
      ? pace.took(() => refresh(looked, nowMs, behind))
      : ([[], false] as const));
    if (looks.long) await noteProgress(nowMs);
    const { finals, finalsLeft } = behind ? { finals: [], finalsLeft: false } : await finalise(nowMs);
    pastResults = [];
    const recomputes = !behind && (await recompute.step(nowMs));
    goesOn = finalsLeft || recomputes;
    shown.begin();
    if (thorough) await shown.idle();
    const counted = !asked || !(completeness.isBehind() || shop.alarms.isBusy());
    const results: Result[] = [];
    for (const some of [minutes, refreshed, finals, pastResults]) append(results, some);
    wasLeft = minutesLeft || left || goesOn;
    return { results, caughtUp: !behind && !wasLeft && finals.length === 0 && counted && asked === thorough };
  }

  /** The ledger vouches for what is folded once every figure that depends on it is published. */
  async function noteProgress(nowMs: number): Promise<void> {
    if (shop.alarms.isBusy()) return;
    // Leaves may be further: what else is made of their transactions can fail after them, and is tried again with the next steps.
    const safeTx = Math.min(foldedTx, keeper.safeTx(), book.safeTx());
    const isAll = book.isEmpty() && !folding.isUnderWay();
    if (isAll) {
      completeness.published();
      shop.alarms.noteProgress();
    }
    await shop.storeRollups(nowMs);
    if (isAll) births.note();
    if (safeTx > (ledger.getNumber(progressName) ?? 0)) ledger.setNumber(progressName, safeTx);
  }

  const close = async () => {
    await completeness.close();
    await shown.idle();
  };
  return { tick, close, lagTx: () => Math.max(0, seenTx - foldedTx) };
}
