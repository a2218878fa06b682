import type { RecordId } from "@jilian/domain/commit.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { StoredSample } from "./model.ts";
import type { Box } from "./outbox-box.ts";
import type { Counter, Unsaved } from "./outbox-counts.ts";

/** What of an outbox is in no file: handed to the one that takes its place. */
export type Remains = Unsaved & { lastSourceTimes: Map<string, number> };

/** How one outbox takes another's place, when a medium fails and when it is back. */
export type Handover = {
  readonly remains: () => Remains;
  readonly take: (remains: Remains) => void;
  /** Whether the file takes so many bytes now: writes them and takes them away again. */
  readonly hasRoom: (bytes: number) => boolean;
};

/** Counters that go on in the next outbox; the others are its own. */
const carried: readonly Counter[] = [
  "droppedSamples",
  "setAsideRecords",
  "droppedAsideRecords",
  "droppedFull",
  "droppedAge",
  "droppedUnwritable",
];

export function handover({ state, store, options }: Box): Handover {
  return {
    remains: () => ({ ...state.unsaved(), lastSourceTimes: state.lastSourceTimes() }),
    take: ({ counts, saved, drops, notes, lastSourceTimes }) => {
      if (options.path === undefined) for (const [key, value] of saved) state.counts.show(key, value);
      for (const key of carried) state.counts.add(key, counts.get(key) ?? 0);
      for (const { device, metric, samples, firstMs, lastMs } of drops) {
        const id = state.idOf(device, metric);
        if (id !== undefined) state.counts.dropMetric(id, samples, firstMs, lastMs);
      }
      for (const [key, value] of notes) state.counts.note(key, value);
      for (const [device, ms] of lastSourceTimes) state.raiseSourceTime(device, ms);
      store.change("take over from the outbox before", () => undefined);
    },
    hasRoom: (bytes) => {
      const taken = store.change("try the medium", (tables) => {
        tables.fill(bytes);
        return true;
      });
      return store.change("try the medium", (tables) => tables.fill(0) === undefined) === true && taken === true;
    },
  };
}

/** What is moved from one outbox to another: both as they are open. */
type Movable = {
  readonly metrics: () => { id: number; device: string; definition: MetricDefinition }[];
  readonly declare: (device: string, definitions: readonly MetricDefinition[]) => number[];
  readonly pending: (
    after: number,
    limit: number,
  ) => { record: { device: string; samples: readonly StoredSample[] }; position: number }[];
  readonly asides: (
    limit: number,
  ) => (RecordId & { device: string; reason: string; samples: readonly (StoredSample & { metric: string })[] })[];
  readonly write: (device: string, samples: readonly StoredSample[]) => RecordId | undefined;
  readonly setAside: (id: RecordId, reason: string) => void;
  readonly handover: Handover;
};

/** Declares in `to` what `from` knows. Returns the ids there by the ids here. */
function declareAll(from: Movable, to: Movable): Map<number, number> {
  const idThere = new Map<number, number>();
  for (const [device, known] of Map.groupBy(from.metrics(), (metric) => metric.device)) {
    const ids = to.declare(
      device,
      known.map(({ definition }) => definition),
    );
    for (const [i, { id }] of known.entries()) idThere.set(id, ids[i] as number);
  }
  return idThere;
}

/**
 * Moves everything from an outbox in memory to one with a file: what is pending as new records of the file's epoch, what was set aside,
 * counters, notes, source times. The platform may have some of it already; that is one key and one content, and stored once.
 * @returns how many records were moved
 */
export function moveOutbox(from: Movable, to: Movable): number {
  const idThere = declareAll(from, to);
  const there = (samples: readonly StoredSample[]): StoredSample[] =>
    samples.flatMap((sample) => {
      const metricId = idThere.get(sample.metricId);
      return metricId === undefined ? [] : { ...sample, metricId };
    });
  const asides = from.asides(Number.MAX_SAFE_INTEGER);
  const remains = from.handover.remains();
  // Those that are still here are counted again where they are set aside again.
  remains.counts.set("setAsideRecords", (remains.counts.get("setAsideRecords") ?? 0) - asides.length);
  to.handover.take(remains);
  let moved = 0;
  for (const { device, reason, samples } of asides) {
    const id = to.write(device, there(samples.map(({ metric: _name, ...sample }) => sample)));
    if (id) to.setAside(id, reason);
  }
  for (let after = 0; ; ) {
    const found = from.pending(after, 100);
    for (const { record, position } of found) {
      if (to.write(record.device, there(record.samples))) moved += 1;
      after = position;
    }
    if (found.length === 0) return moved;
  }
}
