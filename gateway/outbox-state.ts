import { randomBytes, randomInt } from "node:crypto";
import type { OutboxIdentity, OutboxStats, Pending, PreviousEpoch, StoredSample } from "./model.ts";
import { readJumps } from "./outbox-clock.ts";
import { type Counter, outboxCounts } from "./outbox-counts.ts";
import { deviceTable } from "./outbox-devices.ts";
import { metricTable } from "./outbox-metrics.ts";
import { newRecovering, type Recovering, readRecovering } from "./outbox-recover-list.ts";
import type { DeviceRow, LoadedOutbox, OutboxTables } from "./outbox-tables.ts";
import { outboxTally } from "./outbox-tally.ts";

type Epoch = { epoch: string; base: number };
type Text = "closed" | "bootId" | "clockJumps" | "previous" | "recovering";

const newEpoch = (): string => randomBytes(8).toString("hex");
const epochPattern = /^[0-9a-f]{16}$/;

export type StateOptions = {
  /** By how much the devices' source times are raised, for what a power cut may have taken; 0 otherwise. */
  raiseMs: number;
  /** False in memory: there is no file to name. */
  isFile: boolean;
};

/**
 * The epochs of an outbox, a new one for this opening last.
 * @param next the position of the next record
 * @param onBegun told of each that begins, or gets another name, from then on
 */
function epochTable(loaded: LoadedOutbox, next: () => number, onBegun: () => void) {
  const damaged = loaded.epochs.filter(({ epoch }) => !epochPattern.test(epoch));
  // Under its damaged name nothing could be sent. The platform may have some of it already: one key and one content, stored once.
  for (const epoch of damaged) epoch.epoch = newEpoch();
  const epochs: Epoch[] = [...loaded.epochs, { epoch: newEpoch(), base: loaded.lastPosition + 1 }];
  const dirty = new Set<Epoch>([...damaged, ...epochs.slice(-1)]);
  const current = (): Epoch => epochs.at(-1) as Epoch;

  /** Gives an epoch another name; pending records keep their offsets. An unknown one is left. */
  function rename(of: string): void {
    const found = epochs.find(({ epoch }) => epoch === of);
    if (!found) return;
    found.epoch = newEpoch();
    dirty.add(found);
    onBegun();
  }

  return {
    /** How many had a damaged name. */
    damaged: damaged.length,
    current,
    rename,
    /** Begins another epoch from the next record on; those before stay under theirs. */
    begin: (): void => {
      if (current().base === next()) {
        rename(current().epoch);
        return;
      }
      const epoch = { epoch: newEpoch(), base: next() };
      epochs.push(epoch);
      dirty.add(epoch);
      onBegun();
    },
    names: (): string[] => epochs.map(({ epoch: name }) => name),
    /** The epoch of a position: the last one that begins at or before it. */
    at: (position: number): Epoch | undefined => epochs.findLast(({ base }) => base <= position),
    /** First and last position that an epoch can have; undefined for an epoch of which nothing is here. */
    boundsOf: (wanted: string): { base: number; last: number } | undefined => {
      const i = epochs.findIndex(({ epoch: name }) => name === wanted);
      const found = epochs[i];
      return found && { base: found.base, last: (epochs[i + 1]?.base ?? next()) - 1 };
    },
    flush: (to: OutboxTables): void => {
      for (const { epoch, base } of dirty) to.saveEpoch(epoch, base);
    },
    flushed: (): void => {
      if (dirty.size > 0) dirty.clear();
    },
    restart: (): void => {
      epochs.splice(0, epochs.length - 1);
      dirty.clear();
      dirty.add(current());
    },
  };
}

/** Texts of the file: every one as it is, since a file that takes this one's place gets them all. */
function textTable(texts: Map<string, string | number>) {
  const dirty = new Map<string, string | number>();
  return {
    set: (key: Text, value: string | number): void => {
      texts.set(key, value);
      dirty.set(key, value);
    },
    flush: (to: OutboxTables): void => {
      for (const [key, text] of dirty) to.saveMeta(key, text);
    },
    flushed: (): void => {
      if (dirty.size > 0) dirty.clear();
    },
    restart: (): void => {
      for (const [key, text] of texts) dirty.set(key, text);
    },
  };
}

/** The last epoch that the file has records of, and the last one of them, as it was found; an older file does not tell. */
function lastRecordOf({ lastEpoch, devices }: LoadedOutbox): PreviousEpoch | undefined {
  const [last] = devices.toSorted((a, b) => b.lastPosition - a.lastPosition);
  if (!last || !lastEpoch || last.lastPosition < lastEpoch.base || !epochPattern.test(lastEpoch.epoch))
    return undefined;
  return { epoch: lastEpoch.epoch, offset: last.lastPosition - lastEpoch.base, writtenAtMs: last.lastWrittenMs };
}

/**
 * What an outbox keeps in memory: every question but "give me records" is answered from here. Changes are made here first and marked;
 * `flush` writes what is marked inside the caller's transaction, `flushed` clears the marks once that has committed. So a full disk
 * delays housekeeping and loses none of it.
 */
export function outboxState(loaded: LoadedOutbox, { raiseMs, isFile }: StateOptions) {
  const devices = deviceTable(loaded.devices, raiseMs);
  const counts = outboxCounts(loaded, isFile);
  const jumps = readJumps(String(loaded.meta.get("clockJumps") ?? "[]"));
  const box = String(loaded.meta.get("box") ?? "");
  const texts = textTable(new Map([["box", box], ...(jumps ? [["clockJumps", JSON.stringify(jumps)] as const] : [])]));
  let recovering = readRecovering(loaded.meta.get("recovering"));
  const setRecovering = (files: Recovering[]): void => {
    recovering = files;
    texts.set("recovering", JSON.stringify(files));
  };
  // As it was found: a file that takes this one's place gets it too.
  if (recovering.length > 0) setRecovering(recovering);
  const records = outboxTally(loaded, devices);
  const { tally } = records;
  const epochs = epochTable(
    loaded,
    () => tally.next,
    () => counts.add("starts", 1),
  );
  const metrics = metricTable(loaded, {
    lastPosition: () => tally.next - 1,
    oldestPosition: () => tally.oldest?.position,
    pendingOf: devices.pendingOf,
    lastSourceTimeMs: devices.lastSourceTimeMs,
    isComplete: () => isFile && tally.asideRecords === 0 && recovering.length === 0,
    onForgotten: (definitions) => counts.add("forgottenDefinitions", definitions),
  });
  counts.add("starts", 1 + epochs.damaged);
  if (!isFile) counts.show("bdSeq", randomInt(256));
  /** In the order in which they are written. */
  const parts = [devices, metrics, texts, epochs, counts];

  return {
    ...questions({ counts, devices, metrics, tally, isFile, box }),
    tally,
    counts,
    /** Steps of the clock as they were remembered, and what of the file could not be read: told where it is opened. */
    jumps: jumps ?? [],
    faults: [
      ...(jumps ? [] : ["steps of the clock"]),
      ...Array.from({ length: epochs.damaged }, () => "the name of an epoch"),
    ],
    lastRecord: lastRecordOf(loaded),
    current: epochs.current,
    rename: epochs.rename,
    begin: epochs.begin,
    epochAt: epochs.at,
    boundsOf: epochs.boundsOf,
    epochNames: epochs.names,
    aside: records.aside,
    declare: metrics.declare,
    know: metrics.know,
    deviceOf: devices.of,
    sourceTimes: records.sourceTimes,
    written: (device: DeviceRow, size: number, writtenAtMs: number, samples: readonly StoredSample[]): void => {
      metrics.held(tally.next, samples);
      records.written(device, size, writtenAtMs);
    },
    freed: records.freed,
    begun: records.begun,
    failed: records.failed,
    /** Adds to a counter, inside a transaction. */
    count: (key: Counter, by: number): void => {
      counts.add(key, by);
      records.undoBy(() => counts.add(key, -by));
    },
    clear: (to: OutboxTables): void => {
      if (tally.goneTo > 0) to.remove(0, tally.goneTo);
      if (tally.asidesGoneTo > 0) to.removeAsides(0, tally.asidesGoneTo);
    },
    flush: (to: OutboxTables): void => {
      for (const part of parts) part.flush(to);
    },
    flushed: (): void => {
      records.flushed();
      for (const part of parts) part.flushed();
    },
    /** Damaged files that records are being recovered of, in their order. */
    recovering: (): readonly Recovering[] => recovering,
    /** How far the first of them is, or undefined where it is done; inside a transaction. */
    recovered: (first: Recovering | undefined): void => {
      const before = recovering;
      setRecovering([...(first ? [first] : []), ...before.slice(1)]);
      records.undoBy(() => setRecovering(before));
    },
    /**
     * The file was replaced by an empty one: all but its records is to be written again, and those are to be recovered.
     * @param damaged its name now, beside the outbox
     */
    restart: (damaged: string): void => {
      // For the damage: what cannot be read is known, and counted, in the end.
      counts.add("setAsideRecords", 1);
      const known = { after: tally.goneTo, expected: tally.records, sameIds: true };
      setRecovering([...recovering, newRecovering(damaged, known)]);
      records.restart();
      for (const part of parts) part.restart();
    },
    text: texts.set,
    noteDevice: devices.note,
    noteOf: devices.noteOf,
    raiseSourceTime: devices.raiseSourceTime,
    /** The counter after the last one used; 0 in a new file. */
    nextBdSeq: (): number => {
      const { bdSeq } = counts.counts;
      counts.set("bdSeq", (bdSeq + 1) % 256);
      return bdSeq;
    },
  };
}

type Parts = {
  counts: ReturnType<typeof outboxCounts>;
  devices: ReturnType<typeof deviceTable>;
  metrics: ReturnType<typeof metricTable>;
  tally: ReturnType<typeof outboxTally>["tally"];
  isFile: boolean;
  box: string;
};

/** What can be asked of the state and changes nothing. */
function questions({ counts, devices, metrics, tally, isFile, box }: Parts) {
  return {
    isKnown: (metricId: number): boolean => metrics.byId.has(metricId),
    metricName: (metricId: number): string | undefined => metrics.byId.get(metricId)?.definition.name,
    deviceOfMetric: (metricId: number): string | undefined => metrics.byId.get(metricId)?.device,
    idOf: metrics.idOf,
    metrics: metrics.listed,
    allMetrics: metrics.all,
    /** Metrics that may have samples pending: where to stop looking for the newest of each. */
    metricsPending: (): number =>
      [...metrics.byId.values()].filter(({ device }) => devices.pendingOf(device) > 0).length,
    identity: (): OutboxIdentity => (isFile ? { box, starts: counts.counts.starts } : { box: "", starts: 0 }),
    deviceName: (id: number): string | undefined => devices.byId.get(id)?.name,
    pendingOf: devices.pendingOf,
    lastSourceTimeMs: devices.lastSourceTimeMs,
    lastSourceTimes: devices.lastSourceTimes,
    droppedByMetric: () => counts.droppedByMetric(metrics.byId),
    unsaved: () => counts.unsaved(metrics.byId),
    pending: (): Pending => ({
      pendingRecords: tally.records,
      pendingBytes: tally.bytes,
      oldestWrittenAtMs: tally.oldest?.writtenAtMs,
    }),
    counted: (): Omit<OutboxStats, keyof Pending> => ({
      droppedSamples: counts.counts.droppedSamples,
      droppedByReason: counts.droppedByReason(),
      setAsideRecords: counts.counts.setAsideRecords,
      asideRecords: tally.asideRecords,
      droppedAsideRecords: counts.counts.droppedAsideRecords,
      forgottenDefinitions: counts.counts.forgottenDefinitions,
    }),
  };
}

export type OutboxState = ReturnType<typeof outboxState>;
