import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { DropReason, MetricDrops, StoredSample } from "./model.ts";
import type { DroppedRow, LoadedOutbox, OutboxTables } from "./outbox-tables.ts";

const counters = [
  "droppedSamples",
  "setAsideRecords",
  "droppedAsideRecords",
  "bdSeq",
  "starts",
  "droppedFull",
  "droppedAge",
  "droppedUnwritable",
  "forgottenDefinitions",
] as const;
export type Counter = (typeof counters)[number];

type KnownMetrics = ReadonlyMap<number, { device: string; definition: MetricDefinition }>;

const counterOf: Record<DropReason, Counter> = {
  full: "droppedFull",
  age: "droppedAge",
  unwritable: "droppedUnwritable",
};

/** What was counted and noted and is in no file yet: handed over when one outbox takes another's place. */
export type Unsaved = {
  counts: Map<Counter, number>;
  /** Counters as the file has them. */
  saved: Map<Counter, number>;
  drops: MetricDrops[];
  /** Undefined: deleted. */
  notes: Map<string, string | undefined>;
};

/**
 * Counters, drops by metric and notes of an outbox: changed in memory, marked, and written with the next transaction (`flush`; `flushed`
 * once that has committed).
 * @param isFile false in memory, where nothing is ever saved
 */
export function outboxCounts(loaded: Pick<LoadedOutbox, "meta" | "dropped" | "notes">, isFile: boolean) {
  /** What is no count, by damage, begins anew. */
  const countOf = (key: Counter): number => {
    const value = Number(loaded.meta.get(key) ?? 0);
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  const counts = Object.fromEntries(counters.map((key) => [key, countOf(key)])) as Record<Counter, number>;
  const drops = new Map<number, DroppedRow>(loaded.dropped.map((row) => [row.metric, row]));
  const notes = new Map(loaded.notes);
  const dirty = { counts: new Set<Counter>(), drops: new Set<DroppedRow>(), notes: new Set<string>() };
  const unsaved = {
    counts: new Map<Counter, number>(),
    drops: new Map<number, DroppedRow>(),
    notes: new Set<string>(),
  };

  function add(key: Counter, by: number): void {
    counts[key] += by;
    dirty.counts.add(key);
    unsaved.counts.set(key, (unsaved.counts.get(key) ?? 0) + by);
  }

  function addTo(rows: Map<number, DroppedRow>, { metric, samples, firstMs, lastMs }: DroppedRow): DroppedRow {
    const row = rows.get(metric) ?? { metric, samples: 0, firstMs, lastMs };
    rows.set(metric, row);
    row.samples += samples;
    row.firstMs = Math.min(row.firstMs, firstMs);
    row.lastMs = Math.max(row.lastMs, lastMs);
    return row;
  }

  function byName(rows: Map<number, DroppedRow>, known: KnownMetrics): MetricDrops[] {
    return [...rows.values()].flatMap(({ metric, ...rest }) => {
      const found = known.get(metric);
      return found ? [{ device: found.device, metric: found.definition.name, ...rest }] : [];
    });
  }

  function dropMetric(metric: number, samples: number, firstMs: number, lastMs: number): void {
    const added = { metric, samples, firstMs, lastMs };
    dirty.drops.add(addTo(drops, added));
    addTo(unsaved.drops, added);
  }

  return {
    counts: counts as Readonly<Record<Counter, number>>,
    add,
    /** Shows a counter greater than what is counted here: by what a file that is away has counted. */
    show: (key: Counter, by: number): void => {
      counts[key] += by;
    },
    set: (key: Counter, value: number): void => add(key, value - counts[key]),
    dropMetric,
    /**
     * Counts samples that are gone.
     * @param samples what could be read of them, for the counts by metric
     * @param count how many they were
     * @param isKnown whether a metric has a definition: the counts by metric are as many as there are metrics
     */
    dropped(
      reason: DropReason,
      samples: readonly StoredSample[],
      count: number,
      isKnown: (metricId: number) => boolean,
    ): void {
      add("droppedSamples", count);
      add(counterOf[reason], count);
      for (const { metricId, sourceTimeMs } of samples)
        if (isKnown(metricId)) dropMetric(metricId, 1, sourceTimeMs, sourceTimeMs);
    },
    droppedByReason: (): Record<DropReason, number> => ({
      full: counts.droppedFull,
      age: counts.droppedAge,
      unwritable: counts.droppedUnwritable,
    }),
    droppedByMetric: (known: KnownMetrics): MetricDrops[] => byName(drops, known),
    note(key: string, value: string | undefined): void {
      if (notes.get(key) === value) return;
      if (value === undefined) notes.delete(key);
      else notes.set(key, value);
      dirty.notes.add(key);
      unsaved.notes.add(key);
    },
    unsaved: (known: KnownMetrics): Unsaved => ({
      counts: new Map(unsaved.counts),
      saved: new Map(counters.map((key) => [key, counts[key] - (unsaved.counts.get(key) ?? 0)])),
      drops: byName(unsaved.drops, known),
      notes: new Map([...unsaved.notes].map((key) => [key, notes.get(key)])),
    }),
    notes: (prefix: string): Map<string, string> => new Map([...notes].filter(([key]) => key.startsWith(prefix))),
    flush(to: OutboxTables): void {
      for (const key of dirty.counts) to.saveMeta(key, counts[key]);
      for (const row of dirty.drops) to.saveDropped(row);
      for (const key of dirty.notes) to.saveNote(key, notes.get(key));
    },
    flushed(): void {
      dirty.counts.clear();
      dirty.drops.clear();
      dirty.notes.clear();
      if (!isFile) return;
      unsaved.counts.clear();
      unsaved.drops.clear();
      unsaved.notes.clear();
    },
    /** The file was replaced by an empty one: all of it is to be written again. */
    restart(): void {
      for (const key of counters) dirty.counts.add(key);
      for (const row of drops.values()) dirty.drops.add(row);
      for (const key of notes.keys()) dirty.notes.add(key);
    },
  };
}
