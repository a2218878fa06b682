import { watermarkMs } from "@jilian/domain/periods.ts";
import { type Level, type Result, resultId, sameFigure } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { isLogged } from "@jilian/store/spans.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { nearEachOther } from "./runs.ts";

/**
 * Sets status and revision of a figure beside what was published before: provisional until the watermark, then final, then revised(n)
 * when late data changed it (CONTRACTS 4). @returns undefined when nothing is new
 */
export function nextRevision(result: Result, before: Result | undefined, nowMs: number): Result | undefined {
  const wasFinal = before !== undefined && before.status !== "provisional";
  if (!wasFinal && nowMs < result.endMs + watermarkMs) {
    return before && sameFigure(before, result) ? undefined : result;
  }
  if (!wasFinal) return { ...result, status: "final" };
  if (sameFigure(before, result)) return undefined;
  return { ...result, status: "revised", revision: before.revision + 1 };
}

/** The results to write, and all of them as they stand then. */
function revise(results: readonly Result[], published: (result: Result) => Result | undefined, nowMs: number) {
  const fresh: Result[] = [];
  const standing = results.map((result) => {
    const before = published(result);
    const next = nextRevision(result, before, nowMs);
    if (next) fresh.push(next);
    // Unchanged and still provisional: it was looked at again now, and says so.
    return next ?? (before && before.status !== "provisional" ? before : result);
  });
  return { fresh, standing };
}

/** Figures of the ledger that are kept in memory: those of running periods are compared again and again. */
const rememberedAtMost = 50_000;

/** The figures that the ledger has, some of them from memory; nobody but the engine writes them. */
function publishedIn(ledger: Ledger) {
  const known = new Map<string, Result>();
  function remember(id: string, result: Result): void {
    known.delete(id);
    known.set(id, result);
    for (const oldest of known.keys()) {
      if (known.size <= rememberedAtMost) break;
      known.delete(oldest);
    }
  }
  return {
    read: (result: Result): Result | undefined => {
      const id = resultId(result);
      const found = known.get(id) ?? ledger.readResult(result);
      if (found) remember(id, found);
      return found;
    },
    written: (results: readonly Result[]): void => {
      for (const result of results) remember(resultId(result), result);
    },
  };
}

/**
 * Publishes results in the ledger, as one transaction. What memory says is believed where nothing has changed; what is written follows the
 * ledger's own word. @returns those that are new, and all as they stand now
 */
function publishToLedger(
  ledger: Ledger,
  published: ReturnType<typeof publishedIn>,
  results: readonly Result[],
  nowMs: number,
) {
  if (results.length === 0) return { fresh: [], standing: [] };
  const revised = ledger.transaction(() => {
    const standing: Result[] = [];
    const changed: Result[] = [];
    for (const result of results) {
      const before = published.read(result);
      if (nextRevision(result, before, nowMs)) changed.push(result);
      else standing.push(before && before.status !== "provisional" ? before : result);
    }
    const found = revise(changed, ledger.readResult, nowMs);
    if (found.fresh.length > 0) ledger.writeResults(found.fresh);
    return { fresh: found.fresh, standing: [...standing, ...found.standing] };
  });
  published.written(revised.fresh);
  return revised;
}

/** Sites of a level that are asked for one by one; beyond it all of the level are. */
const sitesOneByOne = 2;

/** What to ask for to get the figures of the same sites. */
function questions(results: readonly Result[]): { level: Level; entity?: string }[] {
  const bySite = Map.groupBy(results, ({ level }) => level);
  return [...bySite].flatMap(([level, own]) => {
    const entities = [...new Set(own.map(({ entity }) => entity))];
    return entities.length > sitesOneByOne ? [{ level }] : entities.map((entity) => ({ level, entity }));
  });
}

/** Periods without results that do not part what is asked for together. */
const holes = 60;

/** Publishes results of ended minutes, and of ended periods of lines, in the telemetry store; open ones are only shown. */
async function publishToTelemetry(telemetry: Telemetry, results: readonly Result[], nowMs: number): Promise<Result[]> {
  const ended = results.filter((r) => r.endMs <= nowMs);
  const standing = [results.filter((r) => r.endMs > nowMs)];
  for (const [period, own] of Map.groupBy(ended, (result) => result.period))
    for (const part of nearEachOther(own, ({ startMs, endMs }) => holes * (endMs - startMs))) {
      const fromMs = part.reduce((low, { startMs }) => Math.min(low, startMs), Number.POSITIVE_INFINITY);
      const toMs = part.reduce((high, { startMs }) => Math.max(high, startMs), 0) + 1;
      const before = new Map<string, Result>();
      const query = { period, fromMs, toMs, limit: Number.MAX_SAFE_INTEGER } as const;
      const found = await Promise.all(
        questions(part).map((site) => telemetry.readMinuteResults({ ...query, ...site })),
      );
      for (const result of found.flat()) before.set(resultId(result), result);
      const revised = revise(part, (result) => before.get(resultId(result)), nowMs);
      if (revised.fresh.length > 0) await telemetry.writeMinuteResults(revised.fresh);
      standing.push(revised.standing);
    }
  return standing.flat();
}

/**
 * Publishes results where they are kept.
 * @param onFresh told of those that are new in the ledger as soon as they are
 * @returns the publishing of some results, which gives all as they stand then
 */
export function publisher(
  { ledger, telemetry }: { ledger: Ledger; telemetry: Telemetry },
  onFresh: (fresh: readonly Result[]) => void,
) {
  const published = publishedIn(ledger);
  return async (results: readonly Result[], nowMs: number): Promise<Result[]> => {
    const { fresh, standing } = publishToLedger(ledger, published, results.filter(isLogged), nowMs);
    onFresh(fresh);
    const rest = results.filter((result) => !isLogged(result));
    return [...standing, ...(await publishToTelemetry(telemetry, rest, nowMs))];
  };
}
