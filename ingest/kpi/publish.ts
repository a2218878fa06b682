import { watermarkMs } from "@jilian/domain/periods.ts";
import { levels, type Result, resultId, sameFigure } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { isLogged } from "@jilian/store/spans.ts";
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

/** Publishes results in the ledger, as one transaction. @returns those that are new, and all as they stand now */
function publishToLedger(ledger: Ledger, results: readonly Result[], nowMs: number) {
  if (results.length === 0) return { fresh: [], standing: [] };
  return ledger.transaction(() => {
    const revised = revise(results, ledger.readResult, nowMs);
    if (revised.fresh.length > 0) ledger.writeResults(revised.fresh);
    return revised;
  });
}

/** Publishes results of ended minutes, and of ended periods of lines, in the telemetry store; open ones are only shown. */
async function publishToTelemetry(telemetry: Telemetry, results: readonly Result[], nowMs: number): Promise<Result[]> {
  const ended = results.filter((r) => r.endMs <= nowMs);
  const standing = results.filter((r) => r.endMs > nowMs);
  for (const [period, own] of Map.groupBy(ended, (result) => result.period)) {
    const fromMs = Math.min(...own.map((r) => r.startMs));
    const toMs = Math.max(...own.map((r) => r.startMs)) + 1;
    const before = new Map<string, Result>();
    const query = { period, fromMs, toMs, limit: Number.MAX_SAFE_INTEGER } as const;
    const sites = levels.filter((level) => own.some((result) => result.level === level));
    const found = await Promise.all(sites.map((level) => telemetry.readMinuteResults({ ...query, level })));
    for (const result of found.flat()) before.set(resultId(result), result);
    const revised = revise(own, (result) => before.get(resultId(result)), nowMs);
    if (revised.fresh.length > 0) await telemetry.writeMinuteResults(revised.fresh);
    standing.push(...revised.standing);
  }
  return standing;
}

/** Publishes results where they are kept. @returns those that are new in the ledger, and all as they stand now */
export async function publishResults(
  { ledger, telemetry }: { ledger: Ledger; telemetry: Telemetry },
  results: readonly Result[],
  nowMs: number,
): Promise<{ fresh: Result[]; standing: Result[] }> {
  const { fresh, standing } = publishToLedger(ledger, results.filter(isLogged), nowMs);
  const others = await publishToTelemetry(
    telemetry,
    results.filter((result) => !isLogged(result)),
    nowMs,
  );
  return { fresh, standing: [...standing, ...others] };
}
