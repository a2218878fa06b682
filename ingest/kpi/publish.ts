import { greatestOf, leastOf } from "@jilian/domain/lists.ts";
import { watermarkMs } from "@jilian/domain/periods.ts";
import { type Result, resultId, sameFigure } from "@jilian/domain/result.ts";
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

/** A result as it stands beside what was published before, where that says the same: still provisional, it was looked at again now. */
const standingBeside = (result: Result, before: Result): Result => (before.status === "provisional" ? result : before);

/** The results to write, and all of them as they stand then. */
function revise(results: readonly Result[], published: (result: Result) => Result | undefined, nowMs: number) {
  const fresh: Result[] = [];
  const standing = results.map((result) => {
    const before = published(result);
    const next = nextRevision(result, before, nowMs);
    if (next) fresh.push(next);
    return next ?? standingBeside(result, before as Result);
  });
  return { fresh, standing };
}

/**
 * Figures of a store that are kept in memory: those of running periods and of the last minutes are compared again and again. Two generations
 * of so many, or of as many as are published together: of hundreds of factories those of running periods are more.
 */
const generation = 10_000;
/** What a large publication makes room for is given back little by little: short periods are looked at more often than all together. */
const shrinks = 0.98;

/** What the engine has published last. It is believed where nothing has changed; what is written follows the store's own word. */
function memory() {
  // Two generations: what was put since the younger one began outlives the elder. Moving each figure to the end of one map leaves holes at
  // its beginning, over which every look for the oldest steps.
  let [young, elder] = [new Map<string, Result>(), new Map<string, Result>()];
  let room = generation;
  function put(id: string, result: Result): void {
    if (young.size >= room) [young, elder] = [new Map(), young];
    young.set(id, result);
  }
  return {
    put: (results: readonly Result[]): void => {
      for (const result of results) put(resultId(result), result);
    },
    /** Those that say what was published, as they stand, and those about which the store has to be asked. */
    compare: (results: readonly Result[], nowMs: number): { same: Result[]; asked: Result[] } => {
      // Where only minutes were published the ledger has nothing to compare.
      if (results.length > 0) room = Math.max(generation, results.length, Math.floor(room * shrinks));
      const same: Result[] = [];
      const asked: Result[] = [];
      for (const result of results) {
        const id = resultId(result);
        const before = young.get(id) ?? elder.get(id);
        if (!before || nextRevision(result, before, nowMs)) asked.push(result);
        else {
          const standing = standingBeside(result, before);
          put(id, standing);
          same.push(standing);
        }
      }
      return { same, asked };
    },
  };
}

type Memory = ReturnType<typeof memory>;

/** Publishes results in the ledger, as one transaction. @returns those that are new, and all as they stand now */
function publishToLedger(ledger: Ledger, known: Memory, results: readonly Result[], nowMs: number) {
  const { same, asked } = known.compare(results, nowMs);
  if (asked.length === 0) return { fresh: [], standing: same };
  const { fresh, standing } = ledger.transaction(() => {
    const revised = revise(asked, ledger.readResult, nowMs);
    if (revised.fresh.length > 0) ledger.writeResults(revised.fresh);
    return revised;
  });
  known.put(standing);
  return { fresh, standing: [...same, ...standing] };
}

/** Periods without results that do not part what is asked for together: so many periods' figures are read as fast as a question is asked. */
const holes = 5;
/** Sites that are asked for by name; beyond it all are. */
const sitesByName = 50;

/** Names of the sites of some results; undefined for too many. */
function sitesOf(results: readonly Result[]): { entities?: string[] } {
  const entities = new Set(results.map(({ entity }) => entity));
  return entities.size > sitesByName ? {} : { entities: [...entities] };
}

/** Publishes results of ended minutes, and of ended periods of lines, in the telemetry store; open ones are only shown. */
async function publishToTelemetry(
  telemetry: Telemetry,
  known: Memory,
  results: readonly Result[],
  nowMs: number,
): Promise<Result[]> {
  const ended = known.compare(
    results.filter((r) => r.endMs <= nowMs),
    nowMs,
  );
  const standing = [results.filter((r) => r.endMs > nowMs), ended.same];
  for (const [period, own] of Map.groupBy(ended.asked, (result) => result.period))
    for (const part of nearEachOther(own, ({ startMs, endMs }) => holes * (endMs - startMs))) {
      const fromMs = leastOf(part.map(({ startMs }) => startMs));
      const toMs = greatestOf(part.map(({ startMs }) => startMs)) + 1;
      const before = new Map<string, Result>();
      const query = { period, fromMs, toMs, limit: Number.MAX_SAFE_INTEGER, ...sitesOf(part) };
      for (const result of await telemetry.readMinuteResults(query)) before.set(resultId(result), result);
      const revised = revise(part, (result) => before.get(resultId(result)), nowMs);
      if (revised.fresh.length > 0) await telemetry.writeMinuteResults(revised.fresh);
      known.put(revised.standing);
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
  const [inLedger, inTelemetry] = [memory(), memory()];
  return async (results: readonly Result[], nowMs: number): Promise<Result[]> => {
    const { fresh, standing } = publishToLedger(ledger, inLedger, results.filter(isLogged), nowMs);
    onFresh(fresh);
    const rest = results.filter((result) => !isLogged(result));
    return [...standing, ...(await publishToTelemetry(telemetry, inTelemetry, rest, nowMs))];
  };
}
