import { deviceFigure, statusOf } from "@jilian/domain/device-figures.ts";
import { alarmIndicators, indicators } from "@jilian/domain/indicators/catalogue.ts";
import type { Indicator } from "@jilian/domain/indicators/definition.ts";
import { type DefinitionsInForce, definitionsInForce } from "@jilian/domain/indicators/in-force.ts";
import { emptyLeaf, mergeLeaves } from "@jilian/domain/leaf.ts";
import { greatestOf, leastOf } from "@jilian/domain/lists.ts";
import { type Loss, lostTimes } from "@jilian/domain/lost-time.ts";
import { hourMs, isCalendarPeriod, minuteMs, periodEnd, periodStart } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { Role } from "@jilian/domain/roles.ts";
import { emptyRollup, type Rollup, type RollupSource } from "@jilian/domain/rollup.ts";
import { indicatorFigure, type Stamp } from "@jilian/domain/site-figures.ts";
import { byCounterSeries, deviceIn } from "@jilian/store/device-channels.ts";
import { type DeviceSeries, type RegistrySeries, registrySeries } from "@jilian/store/device-series.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { LiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { hourSet } from "@jilian/store/rollup-pieces.ts";
import { rollupReader } from "@jilian/store/rollups.ts";
import { type PeriodInput, siteSums } from "@jilian/store/site-sums.ts";
import { existsAt, type Span, spansOver } from "@jilian/store/spans.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { maxLeavesPerPage } from "./limits.ts";
import { compareKeys, type FigureKey, type FigurePage, type FigureQuery } from "./read-figures.ts";

export type DeviceSources = {
  telemetry: Telemetry;
  ledger: Pick<Ledger, "lossyHours" | "knownHours" | "definitionVersions" | "alarmsOver" | "droppedAlarms">;
  live: LiveState;
  versions: RegistryVersions;
  /** Indicators that are made; those of this release if absent. */
  catalogue?: readonly Indicator[];
};

/** One line of figures of a registered device: of a counter role, or an indicator of machines. */
type Line = { entity: string; factory: string; indicator: string; of: Role | Indicator };

/** A figure that is asked for. */
type Cell = { line: Line; span: Span };

/** The lines of one device: its counter roles, and the indicators of a machine that counts or tells its state. */
function linesOfDevice(
  entity: string,
  { placed, counters, states, watched }: DeviceSeries,
  query: FigureQuery,
  catalogue: readonly Indicator[],
): Line[] {
  const { factoryId: factory, device } = placed;
  const lines = [...new Set(counters.map(({ role }) => role))].map(
    (role): Line => ({ entity, factory, indicator: role, of: role }),
  );
  const isTelling = device.kind === "machine" && counters.length + states.length > 0;
  const ofAlarms = (one: Indicator) => alarmIndicators.some(({ id }) => id === one.id);
  const own = catalogue.filter(
    (one) =>
      one.levels.includes("device") && one.periods.includes(query.period) && (ofAlarms(one) ? watched : isTelling),
  );
  return [...lines, ...own.map((of): Line => ({ entity, factory, indicator: of.id, of }))];
}

/** The lines that a question asks for, by entity and indicator. A device has figures of what its births declared. */
function linesOf(query: FigureQuery, { devices }: RegistrySeries, catalogue: readonly Indicator[]): Line[] {
  return [...devices]
    .filter(([entity]) => query.entity === undefined || query.entity === entity)
    .flatMap(([entity, own]) => linesOfDevice(entity, own, query, catalogue))
    .filter(({ indicator }) => query.indicator === undefined || query.indicator === indicator)
    .sort((a, b) => compareKeys([0, a.entity, a.indicator], [0, b.entity, b.indicator]));
}

/** The periods of a question that begin in it and have begun, by their starts: each with those of the factories that share it. */
function* spansFrom(query: FigureQuery, fromMs: number, nowMs: number, versions: RegistryVersions): Generator<Span[]> {
  const { period } = query;
  const endMs = Math.min(query.toMs, nowMs);
  if (isCalendarPeriod(period)) {
    let startMs = periodStart(period, fromMs);
    if (startMs < fromMs) startMs = periodEnd(period, startMs);
    for (; startMs < endMs; startMs = periodEnd(period, startMs))
      yield [{ period, startMs, endMs: periodEnd(period, startMs) }];
    return;
  }
  const begun = spansOver(period, versions, fromMs, endMs, nowMs).filter(({ startMs }) => startMs >= fromMs);
  yield* Map.groupBy(begun, ({ startMs }) => startMs).values();
}

/** The next figures after a key, without reading any: every line has one for every period that has begun. */
function cellsAfter(
  query: FigureQuery,
  after: FigureKey | undefined,
  lines: readonly Line[],
  wanted: number,
  spans: Iterable<Span[]>,
): Cell[] {
  const cells: Cell[] = [];
  if (lines.length === 0 || !existsAt("device", query.period)) return cells;
  for (const together of spans)
    for (const line of lines) {
      const span = together.find(({ factory }) => factory === undefined || factory === line.factory);
      if (!span || (after && compareKeys([span.startMs, line.entity, line.indicator], after) <= 0)) continue;
      cells.push({ line, span });
      if (cells.length === wanted) return cells;
    }
  return cells;
}

/** As many cells as may be answered at once, by the leaves that they read; one at least. Long periods read rollups. */
function affordable(cells: readonly Cell[], limit: number, { devices }: RegistrySeries): readonly Cell[] {
  const read = new Map<string, number>();
  let leaves = 0;
  const size = cells.findIndex(({ line, span }, i) => {
    const key = `${line.entity}|${span.startMs}`;
    const source = devices.get(line.entity)?.source;
    const series = Math.max(1, (source?.counters.length ?? 0) + (source?.states.length ?? 0));
    if (!read.has(key)) leaves += series * (Math.min(span.endMs - span.startMs, hourMs) / minuteMs);
    read.set(key, leaves);
    return i > 0 && (i === limit || leaves > maxLeavesPerPage);
  });
  return size < 0 ? cells : cells.slice(0, size);
}

/** Transactions up to which leaves are folded, as the newest figure of the engine tells; 0 when none is known. */
function foldedTx(live: LiveState): number {
  let tx = 0;
  for (const result of live.results.values()) tx = Math.max(tx, result.inputWatermark);
  return tx;
}

/** Reads what the cells of a page need: rollups by period and device. Short periods that follow each other are read together. */
async function readRollups(
  cells: readonly Cell[],
  { telemetry, ledger }: DeviceSources,
  sourceOf: (entity: string, span: Span) => RollupSource | undefined,
  nowMs: number,
): Promise<(cell: Cell) => Rollup> {
  const found = new Map<string, Rollup>();
  const keyOf = (entity: string, { startMs }: Span) => `${startMs}|${entity}`;
  const spans = [
    ...new Map(cells.map(({ span, line }) => [`${span.startMs}|${span.endMs}|${line.factory}`, span])).values(),
  ];
  const fromMs = leastOf(spans.map((span) => span.startMs));
  const toMs = greatestOf(spans.map((span) => span.endMs));
  const hours = hourSet(ledger.knownHours(periodStart("hour", fromMs), toMs));
  const reader = rollupReader({ telemetry, hours });
  const byStart = Map.groupBy(cells, ({ span }) => `${span.startMs}|${span.endMs}`);
  const stepMs = (spans[0]?.endMs ?? 0) - (spans[0]?.startMs ?? 0);
  const isShort = cells[0]?.span.period === "minute" || cells[0]?.span.period === "quarter_hour";
  const sourcesOf = (some: readonly Cell[]) => {
    const own = new Map(some.map(({ line, span }) => [line.entity, sourceOf(line.entity, span)]));
    return [...own.values()].filter((source) => source !== undefined);
  };
  if (isShort) {
    const all = await reader.readEach(sourcesOf(cells), fromMs, toMs, stepMs, nowMs);
    for (const { line, span } of cells)
      found.set(keyOf(line.entity, span), all.get(span.startMs)?.get(line.entity) ?? emptyRollup);
  } else
    for (const some of byStart.values()) {
      const { span } = some[0] as Cell;
      const own = await reader.read(sourcesOf(some), span.startMs, span.endMs, nowMs);
      for (const [key, rollup] of own) found.set(keyOf(key, span), rollup);
    }
  return ({ line, span }) => found.get(keyOf(line.entity, span)) ?? emptyRollup;
}

/** What hours of a page's devices lack, by device. */
function lossesOf({ ledger }: DeviceSources, cells: readonly Cell[]): Map<string, Loss[]> {
  if (cells.length === 0 || cells[0]?.span.period === "minute") return new Map();
  const fromMs = leastOf(cells.map(({ span }) => periodStart("hour", span.startMs)));
  const toMs = greatestOf(cells.map(({ span }) => span.endMs));
  const devices = cells.map(({ line }) => line.entity);
  return Map.groupBy(ledger.lossyHours(fromMs, toMs, devices), ({ device }) => device);
}

/** The alarms that cells of a page may count. */
function alarmsOf({ ledger }: DeviceSources, cells: readonly Cell[]): Pick<PeriodInput, "alarms" | "droppedAlarms"> {
  const own = cells.filter(({ line }) => alarmIndicators.some((one) => one === line.of));
  const fromMs = leastOf(own.map(({ span }) => span.startMs));
  const toMs = greatestOf(own.map(({ span }) => span.endMs));
  return { alarms: own.length > 0 ? ledger.alarmsOver(fromMs, toMs) : [], droppedAlarms: ledger.droppedAlarms() };
}

/** The figure of a cell. */
function figureIn(
  { line, span }: Cell,
  rollup: Rollup,
  { registry, series }: { registry: Registry; series: RegistrySeries },
  lostMs: number,
  at: { asOfMs: number; inputWatermark: number },
  definitions: DefinitionsInForce,
  alarms: Pick<PeriodInput, "alarms" | "droppedAlarms">,
): Result {
  const { entity, factory, of } = line;
  const { period, startMs, endMs } = span;
  const overTime = series.devices.get(entity);
  const own = overTime && deviceIn(overTime, startMs, endMs);
  const stamp: Stamp = { ...at, registryVersion: registry.version, simulated: own?.simulated ?? false };
  if (typeof of === "string") {
    const each = (own?.counters ?? []).map(({ id, role }) => ({ role, leaf: rollup.counters.get(id) ?? emptyLeaf }));
    const bySeries = (own ? byCounterSeries(own, each) : []).filter(([one]) => one?.role === of);
    const leaves = bySeries.map((group) => group.map(({ leaf }) => leaf).reduce(mergeLeaves));
    return deviceFigure({ ...stamp, role: of, entity, period, startMs, endMs, lostMs, series: leaves });
  }
  const none = new Map<never, never>();
  const sums = siteSums(registry, series, {
    ...{ span, asOfMs: at.asOfMs, firstBirths: none, polls: none, days: none, ...alarms },
    rollups: new Map([[entity, rollup]]),
    lostMs: new Map([[entity, lostMs]]),
  })({ level: "device", entity, factories: new Map([[factory, [entity]]]) });
  const inForce = definitions.at(endMs - 1).find(({ id }) => id === of.id);
  const figure = indicatorFigure(inForce ?? of, sums, stamp);
  return { ...figure, status: statusOf(figure, at.asOfMs) };
}

/**
 * One page of figures of devices, made from their leaves and rollups on reading (CONTRACTS 4: they are too many to keep). The order is that
 * of the other levels. A page that would read too many leaves is shorter than asked and has a next one.
 */
export async function readDeviceFigures(
  query: FigureQuery,
  after: FigureKey | undefined,
  limit: number,
  nowMs: number,
  sources: DeviceSources,
): Promise<FigurePage> {
  const { telemetry, ledger, live, versions, catalogue = indicators } = sources;
  const definitions = definitionsInForce(catalogue, ledger.definitionVersions());
  const all = await telemetry.series();
  const known = new Map<Registry, RegistrySeries>();
  /** The version of the registry that a period's figures are of, and what it makes of the series. */
  const under = (span: Pick<Span, "endMs">) => {
    const registry = versions.at(Math.min(span.endMs, nowMs) - 1);
    const series = known.get(registry) ?? registrySeries(registry, all);
    known.set(registry, series);
    return { registry, series };
  };
  const present = under({ endMs: nowMs }).series;
  const spans = spansFrom(query, after?.[0] ?? query.fromMs, nowMs, versions);
  const ahead = cellsAfter(query, after, linesOf(query, present, catalogue), limit + 1, spans);
  const cells = affordable(ahead, limit, present);
  const sourceOf = (entity: string, span: Span) => under(span).series.devices.get(entity)?.source;
  const losses = lossesOf(sources, cells);
  const rollupOf = await readRollups(cells, sources, sourceOf, nowMs);
  const at = { asOfMs: nowMs, inputWatermark: foldedTx(live) };
  const alarms = alarmsOf(sources, cells);
  const results = cells.map((cell): Result => {
    const { line, span } = cell;
    const lost = lostTimes(losses.get(line.entity) ?? [], span.startMs, Math.min(span.endMs, nowMs));
    return figureIn(cell, rollupOf(cell), under(span), lost.get(line.entity) ?? 0, at, definitions, alarms);
  });
  const last = cells.at(-1);
  const next: FigureKey | undefined =
    last && ahead.length > cells.length ? [last.span.startMs, last.line.entity, last.line.indicator] : undefined;
  return { results, next };
}
