import type { MetricDefinition, SeriesKey } from "@jilian/domain/sample.ts";

/** One string for a series' key, for maps. */
export function keyText({ group, node, device, metric }: SeriesKey): string {
  return JSON.stringify([group, node, device, metric]);
}

/** The same definition always gives the same text, whatever the order in which its fields were set. */
export function definitionText(definition: MetricDefinition): string {
  return JSON.stringify(Object.fromEntries(Object.entries(definition).sort(([a], [b]) => (a < b ? -1 : 1))));
}
