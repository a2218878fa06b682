import type { Clock } from "@jilian/domain/clock.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { minuteMs, type Period, periodLengthMs, periodStart, periods, watermarkMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { figures, type PeriodInput, sitesOf } from "./figures.ts";
import { type LeafKeeper, leafKeeper } from "./leaves.ts";
import { publishMinutes, publishToLedger } from "./publish.ts";
import { runsOf, steps } from "./runs.ts";

export type EngineParts = {
  telemetry: Telemetry;
  ledger: Ledger;
  registry: Registry;
  clock: Clock;
  provisionalIntervalMs: number;
};

export type Engine = {
  /** Brings leaves and results up to date with the store, or one bounded step nearer. @returns the figures it computed */
  readonly tick: (options?: { thorough?: boolean }) => Promise<{ results: Result[]; caughtUp: boolean }>;
};

/** Transactions folded in one tick at most: a long backlog is taken in steps, so that today's figures go on. */
const txPerTick = 2000;
/** Periods finalised in one tick at most. */
const finalsPerTick = 240;

const progressName = "kpi.foldedTx";
const finalName = (period: Period) => `kpi.final.${period}`;

/**
 * The KPI engine: pure functions of stored samples, brought up to date in steps (CONTRACTS 4). It keeps no truth: after a restart it
 * folds again what the ledger does not yet vouch for, to the same digits.
 */
export async function createEngine(parts: EngineParts): Promise<Engine> {
  const { telemetry, ledger, registry, clock } = parts;
  const sites = sitesOf(registry);
  const meterDevices = [...registry.devices].filter(
    ([, { device }]) => device.meteringPoint === "incoming" && (device.carrier ?? "electricity") === "electricity",
  );
  // A store that was replaced by a newer, shorter one is folded from its beginning.
  const stored = ledger.getNumber(progressName) ?? 0;
  const fromTx = stored <= (await telemetry.lastTx()) ? stored : 0;
  const keeper = await leafKeeper(telemetry, registry, fromTx);
  const dirty: Record<Period, Set<number>> = { minute: new Set(), hour: new Set(), day: new Set() };
  const startedMs = clock.now();
  let foldedTx = fromTx;
  let closedMs = periodStart("minute", startedMs);
  let provisionalAt = Number.NEGATIVE_INFINITY;
  for (const period of periods) {
    if (ledger.getNumber(finalName(period)) === undefined)
      ledger.setNumber(finalName(period), periodStart(period, startedMs));
    dirty[period].add(periodStart(period, startedMs));
  }

  function touch(minutes: Iterable<number>): void {
    for (const minute of minutes) for (const period of periods) dirty[period].add(periodStart(period, minute));
  }

  /** The register series of each incoming meter; simulated ones count only in a demo pilot (CONTRACTS 6). */
  function meters(): PeriodInput["meters"] {
    return new Map(
      meterDevices.map(([key]) => {
        const own = keeper
          .seriesOf("energy.import", key)
          .filter((s) => s.definition.unit === "kWh" && (registry.demo || !s.definition.simulated));
        return [key, own[0]?.id] as const;
      }),
    );
  }

  function firstBirths(): Map<string, number> {
    return new Map(ledger.firstBirths().map((b) => [deviceKey(b.group, b.node, b.device), b.firstBirthMs]));
  }

  async function compute(period: Period, starts: readonly number[], nowMs: number): Promise<Result[]> {
    const metered = meters();
    const ids = [...metered.values()].filter((id) => id !== undefined);
    const births = firstBirths();
    const found: Result[] = [];
    for (const startMs of starts) {
      const endMs = startMs + periodLengthMs(period);
      const [leaves, online] = await Promise.all([keeper.counters(ids, startMs, endMs), keeper.online(startMs, endMs)]);
      const input = {
        period,
        startMs,
        asOfMs: nowMs,
        watermarkTx: foldedTx,
        meters: metered,
        leaves,
        online,
        firstBirths: births,
      };
      found.push(...figures(registry, sites, input));
    }
    return found;
  }

  /** Publishes what may be published: open minutes are shown but not stored. */
  async function publish(period: Period, results: readonly Result[], nowMs: number): Promise<void> {
    if (period === "minute")
      await publishMinutes(
        telemetry,
        results.filter((r) => r.endMs <= nowMs),
        nowMs,
      );
    else publishToLedger(ledger, results, nowMs);
  }

  async function refresh(period: Period, nowMs: number): Promise<Result[]> {
    const found: Result[] = [];
    for (const { fromMs, toMs } of runsOf(dirty[period], periodLengthMs(period), 60)) {
      const results = await compute(period, [...steps(fromMs, toMs, periodLengthMs(period))], nowMs);
      await publish(period, results, nowMs);
      found.push(...results);
    }
    dirty[period].clear();
    return found;
  }

  /** Makes final what the watermark has passed: every figure of every period once, data or not. */
  async function finalise(period: Period, nowMs: number): Promise<Result[]> {
    const length = periodLengthMs(period);
    const fromMs = ledger.getNumber(finalName(period)) as number;
    const toMs = Math.min(periodStart(period, nowMs - watermarkMs), fromMs + finalsPerTick * length);
    if (toMs <= fromMs) return [];
    const results = await compute(period, [...steps(fromMs, toMs, length)], nowMs);
    await publish(period, results, nowMs);
    ledger.setNumber(finalName(period), toMs);
    return results;
  }

  async function tick({ thorough = false } = {}): Promise<{ results: Result[]; caughtUp: boolean }> {
    const nowMs = clock.now();
    await keeper.flush(nowMs);
    const lastTx = await telemetry.lastTx();
    const upToTx = Math.min(lastTx, foldedTx + txPerTick);
    if (upToTx > foldedTx) {
      touch(await keeper.fold(await telemetry.changedMinutes(foldedTx, upToTx), upToTx, nowMs));
      foldedTx = upToTx;
    }
    const nowMinute = periodStart("minute", nowMs);
    touch(steps(closedMs, nowMinute + 1, minuteMs));
    closedMs = nowMinute;
    const results = await refresh("minute", nowMs);
    const due = performance.now() - provisionalAt >= parts.provisionalIntervalMs;
    if (due || thorough) {
      provisionalAt = performance.now();
      results.push(...(await refresh("hour", nowMs)), ...(await refresh("day", nowMs)));
    }
    let finals = 0;
    for (const period of periods) {
      const made = await finalise(period, nowMs);
      finals += made.length;
      results.push(...made);
    }
    ledgerProgress(keeper);
    return { results, caughtUp: upToTx === lastTx && finals === 0 };
  }

  /** Hours and days that wait for their turn are not yet in the ledger: progress stays before what they need. */
  function ledgerProgress({ safeTx }: LeafKeeper): void {
    if (dirty.hour.size > 0 || dirty.day.size > 0) return;
    if (safeTx() > (ledger.getNumber(progressName) ?? 0)) ledger.setNumber(progressName, safeTx());
  }

  return { tick };
}
