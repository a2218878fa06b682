import type { CollectorEvents } from "./model.ts";

/** For tests: what a collector tells, told to nobody. */
export const noEvents: CollectorEvents = {
  onDefinitions: () => undefined,
  onConnection: () => undefined,
  onSamples: () => undefined,
};
