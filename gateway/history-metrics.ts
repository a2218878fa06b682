import type { Clock } from "@jilian/domain/clock.ts";
import { counter, flag, gauge, type MetricRow } from "@jilian/domain/metric-rows.ts";
import type { HistoryStats } from "./history.ts";

const none: HistoryStats = {
  ...{ isWritable: false, bytes: 0, oldestMs: undefined, fitsDays: 0, waitingRows: 0, droppedRows: 0 },
  ...{ lateSamples: 0, olderSamples: 0, refusedRows: 0, errors: 0 },
};

/** What the history tells of itself; without one all of it is 0. */
export function historyRows(stats: () => { history: HistoryStats | undefined }, clock: Clock): MetricRow[] {
  const history = () => stats().history ?? none;
  const reach = (): number => {
    const { oldestMs } = history();
    return oldestMs === undefined ? 0 : Math.max(0, (clock.now() - oldestMs) / 1000);
  };
  const name = (what: string) => `jilian_gateway_history_${what}`;
  return [
    gauge(name("writable"), "1 while the last write of quarter hours reached the file.", () =>
      flag(history().isWritable),
    ),
    gauge(name("bytes"), "Size of what the file holds.", () => history().bytes),
    gauge(name("reach_seconds"), "How far back the oldest quarter hour in the file lies; 0 when there is none.", reach),
    gauge(
      name("fits_seconds"),
      "How far back the tags of now can reach by history.maxBytes and keepDays, reckoned.",
      () => 86_400 * history().fitsDays,
    ),
    gauge(name("waiting_rows"), "Quarter hours of single tags that wait to be written.", () => history().waitingRows),
    counter(
      name("dropped_rows_total"),
      "Those lost because the file could not be written.",
      () => history().droppedRows,
    ),
    counter(name("late_samples_total"), "Readings of a quarter hour that was closed.", () => history().lateSamples),
    counter(
      name("older_samples_total"),
      "Readings not later than what is written, after a clock that ran back.",
      () => history().olderSamples,
    ),
    counter(
      name("refused_rows_total"),
      "Quarter hours not written because the file holds later values of them.",
      () => history().refusedRows,
    ),
    counter(name("errors_total"), "Defects of the history that cost it samples.", () => history().errors),
  ];
}
