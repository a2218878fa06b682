import type { Clock } from "@jilian/domain/clock.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { lostTimes } from "@jilian/domain/lost-time.ts";
import {
  dayMs,
  hourMs,
  isoTime,
  minuteMs,
  type Period,
  periodLengthMs,
  periodStart,
  periods,
  watermarkMs,
} from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { type CountOptions, completenessKeeper } from "./completeness.ts";
import type { Meters } from "./energy.ts";
import { fasterThanPlanned, figures, type PeriodInput } from "./figures.ts";
import type { Wanted } from "./leaf-reader.ts";
import { leafKeeper } from "./leaves.ts";
import { type Machine, machinesOf, wantedOf } from "./machines.ts";
import { publishMinutes, publishToLedger } from "./publish.ts";
import { runsOf, steps } from "./runs.ts";
import { seriesIndex } from "./series-index.ts";
import { latelyPublished, showcase } from "./show.ts";
import { sitesOf } from "./sites.ts";

export type EngineParts = {
  telemetry: Telemetry;
  ledger: Ledger;
  registry: Registry;
  clock: Clock;
  provisionalIntervalMs: number;
  /** Transactions folded in one tick at most: a long backlog is taken in steps, so that today's figures go on. */
  txPerTick: number;
  /** Told when figures cannot be brought to displays (Telemetry.showResults); it is tried again with every tick. */
  onShowFailed?: (error: unknown) => void;
  /** Told when stored samples cannot be counted, once a minute at most: completeness stays as it is, and it is tried again. */
  onCountFailed?: (error: unknown) => void;
  /** How long figures wait for a count at most, machine time; 5 s if absent. */
  countPatienceMs?: number;
};

export type Engine = {
  /**
   * Brings leaves and results up to date with the store, or one bounded step nearer. A thorough tick computes provisional hours and days
   * too, whenever they were last, and has shown them when it ends. @returns the figures it computed, as they stand
   */
  readonly tick: (options?: { thorough?: boolean }) => Promise<{ results: Result[]; caughtUp: boolean }>;
  /** Transactions of the store that are not folded, as of the last tick. */
  readonly lagTx: () => number;
  /** Resolves when nothing of it is under way any more; no tick may follow. */
  readonly close: () => Promise<void>;
};

/** Periods read and computed together; late data touches scattered ones. */
const together = { most: 60, holes: 15 };
/** Periods finalised in one tick at most. */
const finalsPerTick = 240;

/** What figures are made of. */
type Sources = {
  meters: Meters;
  machines: Machine[];
  /** What to read for minutes, and for hours and days. */
  minutes: Wanted;
  hours: Wanted;
  /** Tells two of them apart. */
  signature: string;
};

const progressName = "kpi.foldedTx";
const finalName = (period: Period) => `kpi.final.${period}`;

/**
 * The KPI engine: pure functions of stored samples, brought up to date in steps (CONTRACTS 4). It keeps no truth: after a restart it
 * folds again what the ledger does not yet vouch for, to the same digits. What the watermark has passed is published only when
 * everything stored is folded: a figure must not be final and then revised only because the engine was behind.
 */
export async function createEngine(parts: EngineParts): Promise<Engine> {
  const { telemetry, ledger, registry, clock } = parts;
  const sites = sitesOf(registry);
  const meterDevices = [...registry.devices].filter(
    ([, { device }]) => device.meteringPoint === "incoming" && (device.carrier ?? "electricity") === "electricity",
  );
  const index = seriesIndex(telemetry, registry);
  await index.learn();
  // A store that was replaced by a newer, shorter one is folded from its beginning.
  if ((ledger.getNumber(progressName) ?? 0) > (await telemetry.lastTx())) ledger.setNumber(progressName, 0);
  let foldedTx = ledger.getNumber(progressName) ?? 0;
  /** Last transaction of the store when it was last asked. */
  let seenTx = foldedTx;
  const keeper = leafKeeper(telemetry, index, foldedTx, (series) => {
    const subject = deviceKey(series.group, series.node, series.device);
    const detail = `${series.metric} fell, or rose faster than its meter can: the increase is unknown, figures are lower bounds`;
    ledger.noteFinding({ code: "UNEXPLAINED_RESET", subject, detail }, clock.now());
  });
  const completeness = completenessKeeper({
    telemetry,
    ledger,
    index,
    onInvalid: (series, error) => {
      const subject = deviceKey(series.group, series.node, series.device);
      ledger.noteFinding({ code: "ACCOUNT_INVALID", subject, detail: messageOf(error) }, clock.now());
    },
    onFailed: parts.onCountFailed ?? (() => undefined),
    patienceMs: parts.countPatienceMs,
  });
  const dirty: Record<Period, Set<number>> = { minute: new Set(), hour: new Set(), day: new Set() };
  const startedMs = clock.now();
  for (const period of periods) {
    if (ledger.getNumber(finalName(period)) === undefined)
      ledger.setNumber(finalName(period), periodStart(period, startedMs));
  }
  // Periods that ended while no engine ran get their figures now; those past the watermark, when they are made final.
  let seenMinute = Math.max(finalMs("minute"), periodStart("minute", startedMs - watermarkMs));
  let learntMinute = periodStart("minute", startedMs);
  let provisionalAt = Number.NEGATIVE_INFINITY;
  let known = sources();
  const shown = showcase(telemetry, parts.onShowFailed ?? (() => undefined));
  shown.add(latelyPublished(ledger, startedMs));

  function finalMs(period: Period): number {
    return ledger.getNumber(finalName(period)) as number;
  }

  function touch(minutes: Iterable<number>): void {
    for (const minute of minutes) for (const period of periods) dirty[period].add(periodStart(period, minute));
  }

  /** What figures are made of, as the index knows it now. */
  function sources(): Sources {
    const meters: Meters = new Map(
      meterDevices.map(([key]) => {
        const own = index.ofRole("energy.import", key).find((s) => s.definition.unit === "kWh");
        return [key, own?.id] as const;
      }),
    );
    const metered = [...meters.values()].filter((id) => id !== undefined);
    const machines = machinesOf(registry, index);
    return {
      meters,
      machines,
      minutes: { counters: metered, machines: [] },
      hours: wantedOf(machines, metered),
      signature: JSON.stringify([metered, machines.map(({ counters, states }) => [counters, states])]),
    };
  }

  async function learn(nowMs: number): Promise<void> {
    await index.learn();
    const found = sources();
    // The same sources keep their identity, and with it what is cached of them.
    if (found.signature === known.signature) return;
    known = found;
    // A counter that is new says why earlier figures of its machine were null; what is final stays.
    for (const period of ["hour", "day"] as const)
      for (const at of steps(
        Math.max(finalMs(period), periodStart(period, nowMs - dayMs)),
        nowMs,
        periodLengthMs(period),
      ))
        dirty[period].add(at);
  }

  function noteFaster(input: PeriodInput): void {
    for (const { key, effectiveness } of fasterThanPlanned(input)) {
      const detail = `effectiveness ${effectiveness} in the hour from ${isoTime(input.startMs)}: check plannedRunTimePerItemMs and states of the machine in the registry`;
      ledger.noteFinding({ code: "FASTER_THAN_PLANNED", subject: key, detail }, clock.now());
    }
  }

  /** Computes and publishes periods, given by their starts, in order. @returns their figures as they stand now */
  async function publish(period: Period, starts: readonly number[], nowMs: number, final = false): Promise<Result[]> {
    const length = periodLengthMs(period);
    const wanted = new Set(starts);
    const [fromMs, toMs] = [starts[0] as number, (starts.at(-1) as number) + length];
    const { meters, machines, minutes, hours } = known;
    const firstBirths = new Map(
      ledger.firstBirths().map((b) => [deviceKey(b.group, b.node, b.device), b.firstBirthMs]),
    );
    const losses = period === "minute" ? [] : ledger.lossyHours(fromMs, toMs);
    const found = await keeper.read(period === "minute" ? minutes : hours, fromMs, toMs, length, nowMs);
    const inputs = found
      .filter(({ startMs }) => wanted.has(startMs))
      .map(({ startMs, leaves }): PeriodInput => {
        const asked = { period, startMs, asOfMs: nowMs, watermarkTx: foldedTx };
        const lostMs = lostTimes(losses, startMs, Math.min(startMs + length, nowMs));
        return { ...asked, meters, machines, leaves, lostMs, firstBirths };
      });
    const results = inputs.flatMap((input) => figures(registry, sites, input));
    if (period === "minute") return await publishMinutes(telemetry, results, nowMs);
    const { fresh, standing } = publishToLedger(ledger, results, nowMs);
    shown.add(fresh);
    if (period === "hour" && final) inputs.forEach(noteFaster);
    return standing;
  }

  /** True for what the watermark has passed while the engine is behind. */
  const mustWait = (length: number, nowMs: number, behind: boolean) => (startMs: number) =>
    behind && startMs + length + watermarkMs <= nowMs;

  /** Publishes what is dirty and need not wait. */
  async function refresh(period: Period, nowMs: number, behind: boolean): Promise<Result[]> {
    const length = periodLengthMs(period);
    const waits = mustWait(length, nowMs, behind);
    // A period that has not begun is touched again when it does.
    const due = [...dirty[period]].filter((startMs) => startMs <= nowMs && !waits(startMs));
    const results: Result[] = [];
    for (const { starts } of runsOf(due, length, together)) results.push(...(await publish(period, starts, nowMs)));
    dirty[period] = new Set([...dirty[period]].filter(waits));
    return results;
  }

  /** Makes final what the watermark has passed: every figure of every period once, data or not. */
  async function finalise(period: Period, nowMs: number): Promise<Result[]> {
    const length = periodLengthMs(period);
    const fromMs = finalMs(period);
    const toMs = Math.min(periodStart(period, nowMs - watermarkMs), fromMs + finalsPerTick * length);
    const results: Result[] = [];
    for (const run of runsOf(steps(fromMs, toMs, length), length, together)) {
      results.push(...(await publish(period, run.starts, nowMs, true)));
      ledger.setNumber(finalName(period), run.toMs);
    }
    return results;
  }

  /** Folds what the store got since the last time, a bounded part of it. @returns true when something is left */
  async function fold(nowMs: number): Promise<boolean> {
    await keeper.flush(nowMs);
    const lastTx = await telemetry.lastTx();
    seenTx = lastTx;
    const upToTx = Math.min(lastTx, foldedTx + parts.txPerTick);
    if (upToTx > foldedTx) {
      const changed = await telemetry.changedMinutes(foldedTx, upToTx);
      // A birth can change what a known series says of itself; that is noticed within a minute.
      const nowMinute = periodStart("minute", nowMs);
      if (nowMinute > learntMinute || changed.some((c) => !index.knows(c.series))) {
        await learn(nowMs);
        learntMinute = nowMinute;
      }
      touch(await keeper.fold(changed, upToTx, nowMs));
      await completeness.fold(changed, nowMs);
      foldedTx = upToTx;
    }
    return upToTx < lastTx;
  }

  /**
   * Counts what is stored, before figures are made of it: readings, accounts and counts that belong together change a figure once. A loss
   * that differs changes the completeness of its hour and day.
   */
  async function countStored(options: CountOptions): Promise<void> {
    await completeness.count(options);
    for (const at of completeness.differing())
      for (const period of ["hour", "day"] as const) dirty[period].add(periodStart(period, at));
  }

  async function tick({ thorough = false } = {}): Promise<{ results: Result[]; caughtUp: boolean }> {
    const nowMs = clock.now();
    const behind = await fold(nowMs);
    const nowMinute = periodStart("minute", nowMs);
    touch(steps(seenMinute, nowMinute + 1, minuteMs));
    keeper.passed(steps(seenMinute, nowMinute, minuteMs));
    seenMinute = nowMinute;
    const results = await refresh("minute", nowMs, behind);
    const ends = !behind && periodStart("hour", nowMs - watermarkMs) > finalMs("hour");
    const looks = thorough || performance.now() - provisionalAt >= parts.provisionalIntervalMs;
    const isHeld = mustWait(hourMs, nowMs, behind);
    if (looks || ends) await countStored({ nowMs, thorough: thorough && !behind, urgent: ends, isHeld });
    if (looks) {
      provisionalAt = performance.now();
      results.push(...(await refresh("hour", nowMs, behind)), ...(await refresh("day", nowMs, behind)));
      noteProgress();
    }
    let finals = 0;
    for (const period of behind ? [] : periods) {
      const made = await finalise(period, nowMs);
      finals += made.length;
      results.push(...made);
    }
    shown.begin();
    if (thorough) await shown.idle();
    const counted = !thorough || !completeness.isBehind();
    return { results, caughtUp: !behind && finals === 0 && counted };
  }

  /** The ledger vouches for what is folded once every figure that depends on it is published. */
  function noteProgress(): void {
    if (periods.some((period) => dirty[period].size > 0)) return;
    completeness.published();
    const safeTx = keeper.safeTx();
    if (safeTx > (ledger.getNumber(progressName) ?? 0)) ledger.setNumber(progressName, safeTx);
  }

  const close = async () => {
    await completeness.close();
    await shown.idle();
  };
  return { tick, close, lagTx: () => Math.max(0, seenTx - foldedTx) };
}
