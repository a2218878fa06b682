import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { DefinitionsInForce } from "@jilian/domain/indicators/in-force.ts";
import { lostTimes } from "@jilian/domain/lost-time.ts";
import type { PollSum, SiteSums } from "@jilian/domain/period-sums.ts";
import { dayMs, hourMs, minuteMs, periodStart, quarterHourMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { Rollup, RollupSource } from "@jilian/domain/rollup.ts";
import { siteFigures } from "@jilian/domain/site-figures.ts";
import type { RegistrySeries } from "@jilian/store/device-series.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import type { RollupReader } from "@jilian/store/rollups.ts";
import { type PeriodInput, type Site, siteSums } from "@jilian/store/site-sums.ts";
import { sitesOf } from "@jilian/store/sites.ts";
import { existsAt, type Span } from "@jilian/store/spans.ts";
import { nearEachOther, runsOf } from "./runs.ts";
import type { SeriesIndex } from "./series-index.ts";
import type { DueSpan } from "./span-book.ts";

export type ComputeParts = {
  ledger: Pick<Ledger, "lossyHours" | "polls" | "pollDays" | "alarmsOver" | "droppedAlarms">;
  index: SeriesIndex;
  reader: RollupReader;
  versions: () => RegistryVersions;
  definitions: DefinitionsInForce;
};

/** For when, and of what, figures are computed. */
export type Moment = {
  /** Platform time: provisional figures speak of the time until then. */
  readonly nowMs: number;
  /** Last store transaction that is in. */
  readonly watermarkTx: number;
  /** First birth, UTC ms, by device key. */
  readonly firstBirths: ReadonlyMap<string, number>;
};

/** The figures of one period, and the sums of its sites and the registry that they are made of. */
export type Computed = {
  readonly span: Span;
  readonly sites: readonly SiteSums[];
  readonly registryVersion: string;
  readonly results: Result[];
};

/** What is asked for once for some periods together: alarms may last over many of them. */
type Look = Moment & Pick<PeriodInput, "alarms" | "droppedAlarms">;

/** Periods further apart than this, or than they are long, have their alarms asked for apart. */
const alarmGapMs = ({ startMs, endMs }: Span) => Math.max(hourMs, endMs - startMs);

/** Minutes read together; late data touches scattered ones. */
const together = { most: 60, holes: 5 };

/** What minutes need: registers and online time. */
function minuteSource({ key, counters, channels }: RollupSource, register: number | undefined): RollupSource {
  const none = { gauges: [], states: [], plan: undefined, planned: [], bandAt: undefined, banded: [], demand: [] };
  const own = counters.filter((id) => id === register);
  return { key, counters: own, ...none, signature: "minute", ...(channels && { channels }) };
}

/** What a minute needs under either of two versions of the registry. */
function bothSources(a: RollupSource, b: RollupSource): RollupSource {
  const channels = new Map([...(a.channels ?? []), ...(b.channels ?? [])]);
  return { ...b, counters: [...new Set([...a.counters, ...b.counters])], channels };
}

/** Spans of a kind that lie in one hour and are of one version of the registry, in their order. */
function byHour(spans: readonly DueSpan[], registryOf: (span: DueSpan) => Registry): DueSpan[][] {
  const groups: DueSpan[][] = [];
  for (const span of spans) {
    const last = groups.at(-1)?.[0];
    const isSame =
      last &&
      periodStart("hour", last.startMs) === periodStart("hour", span.startMs) &&
      registryOf(last) === registryOf(span);
    if (isSame) groups.at(-1)?.push(span);
    else groups.push([span]);
  }
  return groups;
}

/** The sources of a span: those of its factory, or all. */
function sourcesOf({ factory }: Pick<Span, "factory">, { devices, demands }: RegistrySeries): RollupSource[] {
  const own = [...devices.values()].map(({ source }) => source);
  const all = [...own, ...demands.values()];
  return factory === undefined ? all : all.filter(({ key }) => key === factory || key.startsWith(`${factory}/`));
}

/**
 * Computes figures of periods, in the order given. Pure over what the stores hold: the same leaves, accounts and registry give the same
 * digits. A figure uses the version of the registry in force at the last moment of its period that has passed, and of its definition at its end.
 */
export function computer({ ledger, index, reader, versions, definitions }: ComputeParts) {
  const sites = new WeakMap<Registry, Site[]>();

  const registryOf = ({ endMs }: Pick<Span, "endMs">, nowMs: number) => versions().at(Math.min(endMs, nowMs) - 1);

  function accounts({ period, startMs, endMs }: Span, { thresholds }: Registry, nowMs: number) {
    const untilMs = Math.min(endMs, nowMs);
    if (period === "minute" || period === "quarter_hour") return { polls: [], days: [] };
    // Accounts are of hours: those that begin in the period.
    const polls = ledger.polls(Math.ceil(startMs / hourMs) * hourMs, untilMs);
    if (endMs - startMs <= dayMs) return { polls, days: [] };
    const lastDay = periodStart("day", untilMs - 1);
    const firstDay = Math.max(periodStart("day", startMs), lastDay - (thresholds.windowDays - 1) * dayMs);
    return { polls, days: ledger.pollDays(firstDay, lastDay + dayMs) };
  }

  function figuresOf(span: DueSpan, rollups: ReadonlyMap<string, Rollup>, moment: Look): Computed {
    const { period, startMs, endMs } = span;
    const { nowMs: asOfMs, watermarkTx: inputWatermark, firstBirths, alarms, droppedAlarms } = moment;
    const registry = registryOf(span, asOfMs);
    const losses = period === "minute" ? [] : ledger.lossyHours(periodStart("hour", startMs), endMs);
    const { polls, days } = accounts(span, registry, asOfMs);
    const sumsOf = siteSums(registry, index.under(registry), {
      ...{ span, asOfMs, rollups, firstBirths, alarms, droppedAlarms },
      lostMs: lostTimes(losses, startMs, Math.min(endMs, asOfMs)),
      polls: new Map(polls.map((sum): [string, PollSum] => [sum.device, sum])),
      days: Map.groupBy(days, ({ device }) => device),
    });
    const own = getOrMake(sites, registry, () => sitesOf(registry)).filter(
      ({ level, factories }) =>
        existsAt(level, period) &&
        (span.factory === undefined || factories.has(span.factory)) &&
        (span.factories === undefined || !span.factories.isDisjointFrom(factories)),
    );
    const sums = own.map(sumsOf);
    const stamp = { registryVersion: registry.version, inputWatermark, asOfMs, simulated: registry.demo };
    const catalogue = definitions.at(endMs - 1);
    const results = sums.flatMap((site) => siteFigures(site, stamp, catalogue));
    return { span, sites: sums, registryVersion: registry.version, results };
  }

  async function minutes(spans: readonly DueSpan[], moment: Look): Promise<Computed[]> {
    const { nowMs } = moment;
    const found: Computed[] = [];
    const byStart = new Map(spans.map((span) => [span.startMs, span]));
    for (const { fromMs, toMs, starts } of runsOf(byStart.keys(), minuteMs, together)) {
      // Whichever version a minute of the run has: all of their series are read.
      const registries = new Set(starts.map((at) => registryOf(byStart.get(at) as DueSpan, nowMs)));
      const sources = new Map<string, RollupSource>();
      for (const registry of registries)
        for (const [key, { source, register }] of index.under(registry).devices) {
          const own = minuteSource(source, register);
          const known = sources.get(key);
          sources.set(key, known ? bothSources(known, own) : own);
        }
      // The quarter hours and the hour of many minutes follow.
      const soon = () => [...registries].flatMap((registry) => sourcesOf({}, index.under(registry)));
      const rollups = await reader.readEach([...sources.values()], fromMs, toMs, minuteMs, nowMs, soon);
      for (const at of starts)
        found.push(figuresOf(byStart.get(at) as DueSpan, rollups.get(at) as Map<string, Rollup>, moment));
    }
    return found;
  }

  /** Quarter hours of one hour and version: their minutes are read once. */
  async function quarterHours(spans: readonly DueSpan[], moment: Look): Promise<Computed[]> {
    const [first, last] = [spans[0], spans.at(-1)];
    if (!first || !last || first === last) return first ? [await one(first, moment)] : [];
    const sources = sourcesOf(first, index.under(registryOf(first, moment.nowMs)));
    const rollups = await reader.readEach(sources, first.startMs, last.endMs, quarterHourMs, moment.nowMs);
    return spans.map((span) => figuresOf(span, rollups.get(span.startMs) as Map<string, Rollup>, moment));
  }

  async function one(span: DueSpan, moment: Look): Promise<Computed> {
    const registry = registryOf(span, moment.nowMs);
    const sources = sourcesOf(span, index.under(registry));
    const rollups = await reader.read(sources, span.startMs, span.endMs, moment.nowMs);
    return figuresOf(span, rollups, moment);
  }

  return {
    /** @param spans of one kind of period */
    compute: async (spans: readonly DueSpan[], moment: Moment): Promise<Computed[]> => {
      const found: Computed[][] = [];
      for (const some of nearEachOther(spans, alarmGapMs)) {
        const toMs = some.reduce((high, { endMs }) => Math.max(high, endMs), 0);
        const alarms = ledger.alarmsOver((some[0] as DueSpan).startMs, toMs);
        const look: Look = { ...moment, alarms, droppedAlarms: ledger.droppedAlarms() };
        if (some[0]?.period === "minute") found.push(await minutes(some, look));
        else if (some[0]?.period === "quarter_hour")
          for (const own of byHour(some, ({ endMs }) => registryOf({ endMs }, moment.nowMs)))
            found.push(await quarterHours(own, look));
        else for (const span of some) found.push([await one(span, look)]);
      }
      return found.flat();
    },
  };
}
export type Computer = ReturnType<typeof computer>;
