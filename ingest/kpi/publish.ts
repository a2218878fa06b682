import { watermarkMs } from "@jilian/domain/periods.ts";
import { levels, type Result, resultId, sameFigure } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";

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

/** Publishes results of hours and days in the ledger, as one transaction. @returns those that are new, and all as they stand now */
export function publishToLedger(
  ledger: Ledger,
  results: readonly Result[],
  nowMs: number,
): { fresh: Result[]; standing: Result[] } {
  return ledger.transaction(() => {
    const revised = revise(results, ledger.readResult, nowMs);
    if (revised.fresh.length > 0) ledger.writeResults(revised.fresh);
    return revised;
  });
}

/** Publishes results of ended minutes in the telemetry store; open ones are only shown. @returns all of them as they stand now */
export async function publishMinutes(
  telemetry: Telemetry,
  results: readonly Result[],
  nowMs: number,
): Promise<Result[]> {
  const ended = results.filter((r) => r.endMs <= nowMs);
  if (ended.length === 0) return [...results];
  const fromMs = Math.min(...ended.map((r) => r.startMs));
  const toMs = Math.max(...ended.map((r) => r.endMs));
  const before = new Map<string, Result>();
  const query = { period: "minute", fromMs, toMs, limit: Number.MAX_SAFE_INTEGER } as const;
  const sites = levels.filter((level) => level !== "device");
  const found = await Promise.all(sites.map((level) => telemetry.readMinuteResults({ ...query, level })));
  for (const result of found.flat()) before.set(resultId(result), result);
  const { fresh, standing } = revise(ended, (result) => before.get(resultId(result)), nowMs);
  if (fresh.length > 0) await telemetry.writeMinuteResults(fresh);
  return [...standing, ...results.filter((r) => r.endMs > nowMs)];
}
