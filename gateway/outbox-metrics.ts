import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { KnownMetric, KnownTimes, StoredSample } from "./model.ts";
import type { LoadedOutbox, OutboxTables } from "./outbox-tables.ts";

type Metric = KnownMetric & { declared: boolean };

/** What the metrics need to know of the records. */
export type PendingView = {
  /** Position of the last record that was written. */
  readonly lastPosition: () => number;
  /** Position of the oldest pending record; undefined when none is. */
  readonly oldestPosition: () => number | undefined;
  readonly pendingOf: (device: string) => number;
  /** Greatest source time that the device ever had, accounts of it included. */
  readonly lastSourceTimeMs: (device: string) => number;
};

const plain = ({ declared: _, ...metric }: Metric): KnownMetric => metric;
const keyOf = (device: string, metric: string): string => `${device}/${metric}`;

/** The metrics of an outbox with their stable ids: changed in memory, marked, and written with the next transaction. */
export function metricTable(loaded: Pick<LoadedOutbox, "metrics" | "lastPosition">, view: PendingView) {
  const metrics = new Map<number, Metric>();
  const idOf = new Map<string, number>();
  /** Metrics that are no longer declared, with the last position that can hold a sample of theirs. */
  const retired = new Map<number, number>();
  const dirty = new Set<Metric>();
  for (const metric of loaded.metrics) {
    metrics.set(metric.id, { ...metric, declared: false });
    idOf.set(keyOf(metric.device, metric.definition.name), metric.id);
    retired.set(metric.id, loaded.lastPosition);
  }
  let lastId = Math.max(0, ...metrics.keys());

  /** Declares the metrics of a device; those of it that are missing are retired from here on. */
  function declare(device: string, definitions: readonly MetricDefinition[], told: KnownTimes = {}): number[] {
    const lastMs = told.lastReadingMs ?? view.lastSourceTimeMs(device);
    // Before its first reading nothing is known: the platform may have readings from an outbox before this one.
    const nextMs = lastMs > 0 ? lastMs + 1 : 0;
    const ids = definitions.map((definition, i) => {
      const key = keyOf(device, definition.name);
      const id = idOf.get(key) ?? ++lastId;
      const known = metrics.get(id);
      const isSame = known && JSON.stringify(known.definition) === JSON.stringify(definition);
      // Source times of a device increase: what was read before has one up to its last, what is read from now on a later one.
      const changedMs = known ? nextMs : 0;
      const sinceMs = told.sinceMs?.[i] || (isSame ? known.sinceMs : changedMs);
      const metric = { id, device, definition: { ...definition }, sinceMs, declared: true };
      if (!isSame || sinceMs !== known.sinceMs) dirty.add(metric);
      metrics.set(id, metric);
      idOf.set(key, id);
      retired.delete(id);
      return id;
    });
    const now = new Set(ids);
    for (const metric of metrics.values()) {
      if (metric.device !== device || !metric.declared || now.has(metric.id)) continue;
      metric.declared = false;
      retired.set(metric.id, view.lastPosition());
    }
    return ids;
  }

  /** Takes in a metric that is not declared here: to count what was dropped of it. */
  function know(device: string, definition: MetricDefinition, sinceMs = 0): void {
    const key = keyOf(device, definition.name);
    if (idOf.has(key)) return;
    const metric = { id: ++lastId, device, definition: { ...definition }, sinceMs, declared: false };
    metrics.set(metric.id, metric);
    idOf.set(key, metric.id);
    retired.set(metric.id, view.lastPosition());
    dirty.add(metric);
  }

  function isListed({ id, device, declared }: Metric): boolean {
    if (declared) return true;
    const oldest = view.oldestPosition();
    return view.pendingOf(device) > 0 && oldest !== undefined && oldest <= (retired.get(id) ?? 0);
  }

  return {
    byId: metrics as ReadonlyMap<number, KnownMetric>,
    declare,
    know,
    /** A record at a position: one that comes back to the queue may hold samples of a metric that is no longer declared. */
    held: (position: number, samples: readonly StoredSample[]): void => {
      if (retired.size === 0) return;
      for (const { metricId } of samples) if (retired.has(metricId)) retired.set(metricId, position);
    },
    idOf: (device: string, metric: string): number | undefined => idOf.get(keyOf(device, metric)),
    /** Declared now, or with samples pending. */
    listed: (): KnownMetric[] => [...metrics.values()].filter(isListed).map(plain),
    all: (): KnownMetric[] => [...metrics.values()].map(plain),
    flush: (to: OutboxTables): void => {
      for (const { id, device, definition, sinceMs } of dirty)
        to.saveMetric({ id, device, name: definition.name, definition: JSON.stringify(definition), sinceMs });
    },
    flushed: (): void => dirty.clear(),
    /** The file was replaced by an empty one: all of it is to be written again. */
    restart: (): void => {
      for (const metric of metrics.values()) dirty.add(metric);
    },
  };
}
