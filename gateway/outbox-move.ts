import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { RecordId } from "@jilian/domain/commit.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import type { KnownMetric, Outbox, Pending, StoredSample } from "./model.ts";
import { addAsides, freeAsides, type NewAside } from "./outbox-asides.ts";
import type { Box, NewRecord } from "./outbox-box.ts";
import type { Counter, Unsaved } from "./outbox-counts.ts";
import { giveUpHeld, writeAll } from "./outbox-write.ts";

/** What of an outbox is in no file: handed to the one that takes its place. */
export type Remains = Unsaved & {
  lastSourceTimes: Map<string, number>;
  /** Every metric that it knows: what was dropped is counted by them. */
  metrics: readonly KnownMetric[];
  /** What stays where it is. */
  pending: Pending;
  /** The next one: no two sessions after each other may have the same. */
  bdSeq: number;
};

/** How one outbox takes another's place, when a medium fails and when it is back. */
export type Handover = {
  readonly remains: () => Remains;
  readonly take: (remains: Remains) => void;
  /** Writes records in one transaction; false: none of them, and none is dropped. */
  readonly writeAll: (records: readonly NewRecord[]) => boolean;
  /** What could not be written and is held, in order: the one that takes its place gets it. */
  readonly held: () => readonly NewRecord[];
  /** Counts what is still held as dropped: nobody takes it. */
  readonly giveUpHeld: () => void;
  /** Writes records as set aside, in one transaction; false: none of them. */
  readonly addAsides: (records: readonly NewAside[]) => boolean;
  /** Frees the oldest so many records set aside, which another outbox has taken. */
  readonly freeAsides: (count: number) => void;
  /** What is pending here. */
  readonly pending: () => Pending;
  /** In memory: what is pending in the file now, some of what was here among it. */
  readonly leave: (left: () => Pending) => void;
  /** Whether the file takes so many bytes now: writes them and takes them away again, where the medium says that it has them. */
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
  "forgottenDefinitions",
];

/** Room on the medium of a file, bytes; unlimited where it does not tell. */
export function mediumBytes(path: string): number {
  try {
    const { bavail, bsize } = statfsSync(dirname(path));
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

export function handover(box: Box): Handover {
  const { state, store, options } = box;
  return {
    remains: () => ({
      ...state.unsaved(),
      lastSourceTimes: state.lastSourceTimes(),
      metrics: state.allMetrics(),
      pending: state.pending(),
      bdSeq: state.counts.counts.bdSeq,
    }),
    take: ({ counts, saved, drops, notes, lastSourceTimes, metrics, pending, bdSeq }) => {
      if (options.path === undefined) {
        box.left = () => pending;
        for (const [key, value] of saved) state.counts.show(key, value);
      }
      for (const key of carried) state.counts.add(key, counts.get(key) ?? 0);
      for (const { device, definition, ...since } of metrics) state.know(device, definition, since);
      for (const { device, metric, samples, firstMs, lastMs } of drops) {
        const id = state.idOf(device, metric);
        if (id !== undefined) state.counts.dropMetric(id, samples, firstMs, lastMs);
      }
      for (const [key, value] of notes) state.counts.note(key, value);
      for (const [device, ms] of lastSourceTimes) state.raiseSourceTime(device, ms);
      state.counts.set("bdSeq", bdSeq);
      store.change("take over from the outbox before", () => undefined);
    },
    writeAll: (records) => writeAll(box, records),
    held: () => box.held,
    giveUpHeld: () => giveUpHeld(box),
    addAsides: (records) => addAsides(box, records),
    freeAsides: (count) => freeAsides(box, count),
    pending: state.pending,
    leave: (left) => {
      box.left = left;
    },
    hasRoom: (bytes) => {
      const { path } = options;
      const inFile = store.read((tables) => tables.freeBytes());
      if (path === undefined || inFile === undefined || inFile + mediumBytes(path) < bytes) return false;
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
  readonly metrics: () => KnownMetric[];
  readonly declare: Outbox["declare"];
  readonly pending: (after: number, limit: number) => { record: RecordId & NewRecord; position: number }[];
  readonly commit: (epoch: string, ranges: readonly Range[]) => number;
  readonly asides: (
    limit: number,
  ) => (RecordId & { device: string; reason: string; samples: readonly (StoredSample & { metric: string })[] })[];
  readonly handover: Handover;
};

/** Records in one transaction: some milliseconds, so that what else the gateway does goes on in between. */
const batchRecords = 300;

/** Declares in `to` what `from` knows. Returns the samples of `from` as `to` names them. */
function translation(from: Movable, to: Movable): (samples: readonly StoredSample[]) => StoredSample[] {
  const idThere = new Map<number, number>();
  /** All of what they were before, whatever is pending of it: `to` may have older readings. */
  const earlier = new Map(from.handover.remains().metrics.map((metric) => [metric.id, metric.earlier]));
  for (const [device, known] of Map.groupBy(from.metrics(), (metric) => metric.device)) {
    const ids = to.declare(
      device,
      known.map(({ definition }) => definition),
      // Of what was changed meanwhile: `to` has not seen the readings before that.
      { sinceMs: known.map(({ sinceMs }) => sinceMs), earlier: known.map(({ id }) => earlier.get(id) ?? []) },
    );
    for (const [i, { id }] of known.entries()) idThere.set(id, ids[i] as number);
  }
  return (samples) =>
    samples.flatMap((sample) => {
      const metricId = idThere.get(sample.metricId);
      return metricId === undefined ? [] : { ...sample, metricId };
    });
}

/** Moves what one outbox could not write to the one that takes its place. */
export function moveHeld(from: Movable, to: Movable): void {
  const held = from.handover.held();
  if (held.length === 0) return;
  const there = translation(from, to);
  const records = held.map(({ device, samples }) => ({ device, samples: there(samples) }));
  to.handover.writeAll(records.filter(({ samples }) => samples.length > 0));
}

/**
 * Moves everything from an outbox in memory to one with a file: what is pending as new records of the file's epoch, what was set aside,
 * counters, notes, source times. The platform may have some of it already; that is one key and one content, and stored once.
 */
export function outboxMove(from: Movable, to: Movable) {
  let moved = 0;

  async function asides(): Promise<boolean> {
    const there = translation(from, to);
    for (;;) {
      const found = from.asides(batchRecords);
      if (found.length === 0) return true;
      const batch = found.map(({ device, reason, samples }) => ({
        ...{ device, reason },
        samples: there(samples.map(({ metric: _name, ...sample }) => sample)),
      }));
      if (!to.handover.addAsides(batch)) return false;
      from.handover.freeAsides(found.length);
      await turn();
    }
  }

  /**
   * Moves what is pending and set aside, batch by batch, while `from` may still be written and sent.
   * @returns false when `to` failed: what was moved is there, the rest here
   */
  async function records(): Promise<boolean> {
    const there = translation(from, to);
    for (;;) {
      const found = from.pending(0, batchRecords);
      if (found.length === 0) return asides();
      const batch = found.map(({ record: { device, samples } }) => ({ device, samples: there(samples) }));
      if (!to.handover.writeAll(batch.filter(({ samples }) => samples.length > 0))) return false;
      moved += found.length;
      for (const [epoch, own] of Map.groupBy(found, ({ record }) => record.epoch)) {
        const [first, last] = [own.at(0), own.at(-1)];
        if (first && last) from.commit(epoch, [[first.record.offset, last.record.offset]]);
      }
      await turn();
    }
  }

  /**
   * Moves what came since, and all the rest; `from` is not written any more.
   * @returns false when `to` failed: what was not moved is still here
   */
  async function rest(): Promise<boolean> {
    if (!(await records())) return false;
    to.handover.take(from.handover.remains());
    return true;
  }

  return { records, rest, moved: (): number => moved };
}
