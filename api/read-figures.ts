import { dayMs, hourMs, minuteMs, type Period } from "@jilian/domain/periods.ts";
import { type Level, type Result, resultId, sameFigure } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { LiveState } from "@jilian/store/live.ts";
import { isLogged } from "@jilian/store/spans.ts";
import type { ResultQuery, Telemetry } from "@jilian/store/telemetry.ts";
import { type Static, Type } from "typebox";
import type { Directory } from "./directory.ts";
import { levelSchema, periodSchema } from "./figures.ts";

/** A question for figures, complete: what a cursor keeps. */
export const figureQuerySchema = Type.Object(
  {
    indicator: Type.Optional(Type.String()),
    level: levelSchema,
    entity: Type.Optional(Type.String()),
    period: periodSchema,
    fromMs: Type.Integer({ minimum: 0 }),
    toMs: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
);
export type FigureQuery = Static<typeof figureQuerySchema>;

/** Key of the last row of a page: start, entity, indicator. */
export const figureKeySchema = Type.Tuple([Type.Integer(), Type.String(), Type.String()]);
export type FigureKey = Static<typeof figureKeySchema>;

/** A figure, with its number in the change log where the ledger has it. */
export type FoundResult = Result & { change?: number };

export type FigurePage = { results: FoundResult[]; next: FigureKey | undefined };

export type FigureSources = { telemetry: Telemetry; ledger: Ledger; live: LiveState };

export function keyOf(result: Result): FigureKey {
  return [result.startMs, result.entity, result.indicator];
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The order of pages: by start, entity, indicator, as the stores give them. */
export function compareKeys(a: FigureKey, b: FigureKey): number {
  return a[0] - b[0] || compareText(a[1], b[1]) || compareText(a[2], b[2]);
}

/** Stored and live results as one map by resultId, the newer look at each. */
export function mergeResults(
  stored: readonly FoundResult[],
  live: LiveState,
  wanted: (result: Result) => boolean,
): Map<string, FoundResult> {
  const found = new Map<string, FoundResult>(stored.map((r) => [resultId(r), r]));
  for (const [id, result] of live.results) {
    if (!wanted(result)) continue;
    const known = found.get(id);
    found.set(id, known ? newer(known, result) : result);
  }
  return found;
}

/** Which of a stored and a live result counts: the later look at the world; the change number stays while the figure does. */
function newer(stored: FoundResult, live: Result): FoundResult {
  if (stored.revision > live.revision || stored.asOfMs > live.asOfMs) return stored;
  const same = stored.change !== undefined && sameFigure(stored, live) && stored.status === live.status;
  return same ? { ...live, change: stored.change as number } : live;
}

function matches(result: Result, query: FigureQuery): boolean {
  return (
    result.level === query.level &&
    result.period === query.period &&
    result.startMs >= query.fromMs &&
    result.startMs < query.toMs &&
    (query.indicator === undefined || result.indicator === query.indicator) &&
    (query.entity === undefined || result.entity === query.entity)
  );
}

async function readStored(query: ResultQuery, { telemetry, ledger }: FigureSources): Promise<FoundResult[]> {
  return isLogged(query) ? ledger.readResults(query) : await telemetry.readMinuteResults(query);
}

/**
 * Figures of factory level and above as they are now: minutes and lines from the telemetry store, the others from the ledger, the open periods
 * from live memory, where the newest look at them is. A period belongs to a range by its start.
 */
export async function readFigures(
  query: FigureQuery,
  after: FigureKey | undefined,
  limit: number,
  sources: FigureSources,
  directory: Directory,
): Promise<FigurePage> {
  const fromMs = Math.max(query.fromMs, after?.[0] ?? 0);
  // Rows of the cursor's own start come again and are skipped: read that many more.
  const perStart = after ? directory.entities[query.level].size * directory.indicators.size : 0;
  const stored = await readStored({ ...query, fromMs, limit: limit + 1 + perStart }, sources);
  const found = mergeResults(stored, sources.live, (result) => matches(result, query));
  const rows = [...found.values()]
    .filter((r) => !after || compareKeys(keyOf(r), after) > 0)
    .sort((a, b) => compareKeys(keyOf(a), keyOf(b)));
  const results = rows.slice(0, limit);
  const last = results.at(-1);
  return { results, next: rows.length > limit && last ? keyOf(last) : undefined };
}

/**
 * One page of hours or days of factory level and above as the change log had them at one of its numbers: pages of one question agree,
 * whatever was revised between them. Live memory has no part in it: it has no past.
 */
export function readPinnedFigures(
  query: FigureQuery,
  after: FigureKey | undefined,
  limit: number,
  ledger: Ledger,
  asOfChange: number,
): FigurePage {
  const rows = ledger.readResultsAsOf({ ...query, asOfChange, limit: limit + 1, ...(after && { after }) });
  const results = rows.slice(0, limit);
  const last = results.at(-1);
  return { results, next: rows.length > limit && last ? keyOf(last) : undefined };
}

/** How far back the newest stored figure is looked for when live memory has none: after a start, or when ingest stands still. */
const lookBackMs: Readonly<Record<Period, number>> = {
  minute: 15 * minuteMs,
  quarter_hour: 4 * hourMs,
  hour: dayMs,
  shift: 8 * dayMs,
  day: 8 * dayMs,
  month: 62 * dayMs,
  quarter: 184 * dayMs,
  year: 732 * dayMs,
  pilot: 732 * dayMs,
};

/** Periods of an entity that can begin in that time. */
const mostBack: Readonly<Record<Period, number>> = {
  ...{ minute: 15, quarter_hour: 16, hour: 24, shift: 8 * 50, day: 8 },
  ...{ month: 3, quarter: 3, year: 3, pilot: 50 },
};

/** The newest figure of each indicator and entity of a level and period, stored or live. */
export async function latestFigures(
  question: { level: Level; period: Period; indicator?: string | undefined; entity?: string | undefined },
  nowMs: number,
  sources: FigureSources,
  directory: Directory,
): Promise<FoundResult[]> {
  const { level, period, indicator, entity } = question;
  const fromMs = Math.max(0, nowMs - lookBackMs[period] + 1);
  const query = { level, period, fromMs, toMs: nowMs + 1, ...(indicator && { indicator }), ...(entity && { entity }) };
  const limit = mostBack[period] * directory.entities[level].size * directory.indicators.size;
  const { results } = await readFigures(query, undefined, limit, sources, directory);
  // Ordered by start: the last of each figure is its newest.
  return [...new Map(results.map((r) => [`${r.entity}|${r.indicator}`, r])).values()];
}
