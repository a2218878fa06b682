import type { HistoryConfig, HistorySetting } from "./history-config.ts";

/** What is kept and where; undefined where no history is wanted. */
export function historySetting(config: {
  history: HistoryConfig;
  outbox: { path: string };
}): HistorySetting | undefined {
  const { history, outbox } = config;
  return history === false ? undefined : { ...history, path: history.path ?? `${outbox.path}.history` };
}
