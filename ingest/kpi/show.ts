import { dayMs, type Period } from "@jilian/domain/periods.ts";
import { levels, type Result, resultId } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";

/** Figures of one write, and those that wait at most; beyond it the oldest are let go: the ledger has them. */
const showAtOnce = 1000;
const mostWaiting = 20_000;

/** How far back figures are shown again at a start: what the last run could not show, as a rule. */
const againMs: Readonly<Partial<Record<Period, number>>> = {
  quarter_hour: dayMs,
  hour: dayMs,
  shift: 2 * dayMs,
  day: 2 * dayMs,
  month: 62 * dayMs,
  quarter: 184 * dayMs,
  year: 366 * dayMs,
  pilot: 366 * dayMs,
};

export type Showcase = {
  /** Notes figures of hours and days that have changed. */
  readonly add: (results: readonly Result[]) => void;
  /** Begins to show what waits, unless it is being shown. Never throws and never waits: figures do not depend on displays. */
  readonly begin: () => void;
  /** Resolves when what was begun has ended, well or not. */
  readonly idle: () => Promise<void>;
};

/**
 * Brings figures of hours and days to where displays read them (Telemetry.showResults), beside the engine's work. What fails waits for the
 * next `begin`; what waits is kept once, as it stands last.
 * @param onFailed told of a failure that follows no other
 */
export function showcase(telemetry: Pick<Telemetry, "showResults">, onFailed: (error: unknown) => void): Showcase {
  const waiting = new Map<string, Result>();
  let showing: Promise<void> | undefined;
  let failing = false;

  async function show(): Promise<void> {
    while (waiting.size > 0) {
      const batch = [...waiting].slice(0, showAtOnce);
      await telemetry.showResults(batch.map(([, result]) => result));
      failing = false;
      // What has changed meanwhile is shown again.
      for (const [id, result] of batch) if (waiting.get(id) === result) waiting.delete(id);
    }
  }

  return {
    add: (results) => {
      for (const result of results) {
        waiting.delete(resultId(result));
        waiting.set(resultId(result), result);
      }
      for (const id of waiting.keys()) {
        if (waiting.size <= mostWaiting) break;
        waiting.delete(id);
      }
    },
    begin: () => {
      if (showing || waiting.size === 0) return;
      showing = show()
        .catch((error: unknown) => {
          if (!failing) onFailed(error);
          failing = true;
        })
        .finally(() => {
          showing = undefined;
        });
    },
    idle: async () => {
      await showing;
    },
  };
}

/** The figures of the last day in the ledger. */
export function latelyPublished(ledger: Ledger, nowMs: number): Result[] {
  return (Object.keys(againMs) as Period[]).flatMap((period) => {
    const fromMs = Math.max(0, nowMs - (againMs[period] ?? 0));
    const query = { period, fromMs, toMs: nowMs + 1, limit: mostWaiting };
    return levels.flatMap((level) => ledger.readResults({ ...query, level }));
  });
}
