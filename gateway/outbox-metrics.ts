import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { KnownMetric, KnownTimes, StoredSample } from "./model.ts";
import {
  boundedEarlier,
  type Earlier,
  type EarlierParts,
  earlierOf,
  earlierText,
  heldAt,
  isSameDefinition,
  openEarlier,
  readEarlier,
  toldEarlier,
} from "./outbox-earlier.ts";
import type { LoadedOutbox, OutboxTables } from "./outbox-tables.ts";

type Metric = Omit<KnownMetric, "earlier"> & { earlier: readonly Earlier[]; declared: boolean };
type Retold = Pick<KnownMetric, "sinceMs" | "earlier">;

/** What the metrics need to know of the records. */
export type PendingView = {
  /** Position of the last record that was written. */
  readonly lastPosition: () => number;
  /** Position of the oldest pending record; undefined when none is. */
  readonly oldestPosition: () => number | undefined;
  readonly pendingOf: (device: string) => number;
  /** Greatest source time that the device ever had, accounts of it included. */
  readonly lastSourceTimeMs: (device: string) => number;
  /** True where nothing but what is pending now can come back to the queue: what no record is pending of can be forgotten. */
  readonly isComplete: () => boolean;
  /** Told of definitions that were forgotten while records of their time were pending. */
  readonly onForgotten: (definitions: number) => void;
};

const keyOf = (device: string, metric: string): string => `${device}/${metric}`;

/** The metrics of an outbox with their stable ids: changed in memory, marked, and written with the next transaction. */
export function metricTable(loaded: Pick<LoadedOutbox, "metrics" | "lastPosition">, view: PendingView) {
  const metrics = new Map<number, Metric>();
  const idOf = new Map<string, number>();
  /** Metrics that are no longer declared, with the last position that can hold a sample of theirs. */
  const retired = new Map<number, number>();
  const dirty = new Set<Metric>();

  /** Whether records up to a position may be pending of a device. */
  function isOpen(device: string, position: number): boolean {
    const oldest = view.oldestPosition();
    return view.pendingOf(device) > 0 && oldest !== undefined && oldest <= position;
  }

  const openOf = (device: string, earlier: readonly Earlier[]): readonly Earlier[] =>
    openEarlier(earlier, ({ lastPosition }) => isOpen(device, lastPosition));

  const isForgetful = view.isComplete();
  for (const { earlier: text, ...metric } of loaded.metrics) {
    const known = readEarlier(metric.definition.name, text, loaded.lastPosition);
    const earlier = isForgetful ? openOf(metric.device, known) : known;
    metrics.set(metric.id, { ...metric, earlier, declared: false });
    idOf.set(keyOf(metric.device, metric.definition.name), metric.id);
    retired.set(metric.id, loaded.lastPosition);
  }
  let lastId = Math.max(0, ...metrics.keys());

  /** What a metric was before it is what it is now. */
  function earlierFor(known: Metric | undefined, now: Omit<Metric, "earlier">, of: Omit<EarlierParts, "lastPosition">) {
    const found = earlierOf(known, now, { ...of, lastPosition: view.lastPosition() });
    const { earlier, lost } = boundedEarlier(found, ({ lastPosition }) => isOpen(now.device, lastPosition));
    if (lost > 0) view.onForgotten(lost);
    return earlier;
  }

  /** Declares the metrics of a device; those of it that are missing are retired from here on. */
  function declare(device: string, definitions: readonly MetricDefinition[], of: KnownTimes = {}): number[] {
    const lastMs = of.lastReadingMs ?? view.lastSourceTimeMs(device);
    // Before its first reading nothing is known: the platform may have readings from an outbox before this one.
    const nextMs = lastMs > 0 ? lastMs + 1 : 0;
    const ids = definitions.map((definition, i) => {
      const key = keyOf(device, definition.name);
      const id = idOf.get(key) ?? ++lastId;
      const known = metrics.get(id);
      const isSame = known && isSameDefinition(known.definition, definition);
      // Source times of a device increase: what was read before has one up to its last, what is read from now on a later one.
      const changedMs = known ? nextMs : 0;
      const sinceMs = of.sinceMs?.[i] || (isSame ? known.sinceMs : changedMs);
      const now = { id, device, definition: { ...definition }, sinceMs, declared: true };
      const before = of.earlier?.[i] ?? [];
      const isAsBefore = isSame && sinceMs === known.sinceMs && before.length === 0;
      const earlier = isAsBefore ? known.earlier : earlierFor(known, now, { told: before, unseenMs: nextMs });
      const metric = { ...now, earlier };
      if (!isAsBefore) dirty.add(metric);
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
  function know(device: string, definition: MetricDefinition, of: Partial<Retold> = {}): void {
    const key = keyOf(device, definition.name);
    if (idOf.has(key)) return;
    const { sinceMs = 0, earlier: before = [] } = of;
    const earlier = before.map((one) => ({ ...one, lastPosition: 0 }));
    const metric = { id: ++lastId, device, definition: { ...definition }, sinceMs, earlier, declared: false };
    metrics.set(metric.id, metric);
    idOf.set(key, metric.id);
    retired.set(metric.id, view.lastPosition());
    dirty.add(metric);
  }

  const isListed = ({ id, device, declared }: Metric): boolean => declared || isOpen(device, retired.get(id) ?? 0);

  function listed({ declared: _, ...metric }: Metric): KnownMetric {
    const { device, definition, earlier } = metric;
    return { ...metric, earlier: earlier.length === 0 ? [] : toldEarlier(openOf(device, earlier), definition) };
  }

  /** A record at a position: one that comes back to the queue may hold samples of a metric that is no longer declared, or was another. */
  function held(position: number, samples: readonly StoredSample[]): void {
    for (let i = 0; i < samples.length; i += 1) {
      const { metricId, sourceTimeMs } = samples[i] as StoredSample;
      if (retired.size > 0 && retired.has(metricId)) retired.set(metricId, position);
      const metric = metrics.get(metricId);
      if (metric === undefined || metric.earlier.length === 0 || sourceTimeMs >= metric.sinceMs) continue;
      const earlier = heldAt(metric.earlier, sourceTimeMs, position);
      if (earlier === undefined) continue;
      metric.earlier = earlier;
      dirty.add(metric);
    }
  }

  return {
    byId: metrics as ReadonlyMap<number, Omit<KnownMetric, "earlier">>,
    declare,
    know,
    held,
    idOf: (device: string, metric: string): number | undefined => idOf.get(keyOf(device, metric)),
    /** Declared now, or with samples pending. */
    listed: (): KnownMetric[] => [...metrics.values()].filter(isListed).map(listed),
    all: (): KnownMetric[] => [...metrics.values()].map(({ declared: _, ...metric }) => metric),
    flush: (to: OutboxTables): void => {
      for (const { id, device, definition, sinceMs, earlier } of dirty) {
        const { name } = definition;
        to.saveMetric({
          id,
          device,
          name,
          definition: JSON.stringify(definition),
          sinceMs,
          earlier: earlierText(earlier),
        });
      }
    },
    flushed: (): void => {
      if (dirty.size > 0) dirty.clear();
    },
    /** The file was replaced by an empty one: all of it is to be written again. */
    restart: (): void => {
      for (const metric of metrics.values()) dirty.add(metric);
    },
  };
}
