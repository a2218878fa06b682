import { hourMs } from "@jilian/domain/periods.ts";
import type { SeriesId, StoredRow, Telemetry, Window } from "@jilian/store/telemetry.ts";

/** Longer windows are read one by one: there the limit of rows is what bounds them. */
const longestMs = hourMs;

type Asked = {
  window: Window;
  limit: number;
  resolve: (rows: StoredRow[]) => void;
  reject: (error: unknown) => void;
};

/**
 * Reads that are asked for in one turn of the loop as one question to the store: hundreds of tracks whose readings came late would else
 * be hundreds of questions. @returns what `Telemetry.read` returns
 */
export function readTogether(telemetry: Pick<Telemetry, "read" | "readMany">): Telemetry["read"] {
  let asked: Asked[] = [];

  async function answer(): Promise<void> {
    const own = asked;
    asked = [];
    try {
      const found = await telemetry.readMany(own.map(({ window }) => window));
      for (const [i, { limit, resolve }] of own.entries()) resolve((found[i] ?? []).slice(0, limit));
    } catch (error) {
      for (const { reject } of own) reject(error);
    }
  }

  return (window, limit) => {
    if (window.toMs - window.fromMs > longestMs) return telemetry.read(window, limit);
    const { promise, resolve, reject } = Promise.withResolvers<StoredRow[]>();
    if (asked.length === 0) queueMicrotask(answer);
    asked.push({ window, limit, resolve, reject });
    return promise;
  };
}

/**
 * When the newest sample of each series is, as of the first question; asked of the store once, and only if at all.
 * @returns its source time, UTC ms; -Infinity for a series without any
 */
export function newestTimes(telemetry: Pick<Telemetry, "latest">): (series: SeriesId) => Promise<number> {
  let asked: Promise<Map<SeriesId, number>> | undefined;
  const ask = async () =>
    new Map((await telemetry.latest()).map(({ series, sourceTimeMs }): [SeriesId, number] => [series, sourceTimeMs]));
  return async (series) => {
    asked ??= ask();
    return (await asked).get(series) ?? Number.NEGATIVE_INFINITY;
  };
}
